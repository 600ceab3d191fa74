"""What a check found."""

from __future__ import annotations

import enum

import msgspec

from ..text import printable

__all__ = ["Finding", "Outcome", "ok", "problem", "render", "warning"]


class Outcome(enum.StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Finding(msgspec.Struct, frozen=True):
    """One line of a report.

    Attributes:
        check: what was looked at, one word.
        outcome: how bad it is.
        text: what is so.
        fix: what to do about it; empty where nothing has to be done.
        subject: of several, which one, such as an address.
        seconds: how long it took, where that says something.
    """

    check: str
    outcome: Outcome
    text: str
    fix: str = ""
    subject: str = ""
    seconds: float | None = None


def ok(check: str, text: str, *, subject: str = "", seconds: float | None = None) -> Finding:
    """Nothing is wrong."""
    return Finding(check, Outcome.OK, text, "", subject, seconds)


def warning(check: str, text: str, fix: str, *, subject: str = "") -> Finding:
    """The node works, but not as well, or not for long."""
    return Finding(check, Outcome.WARNING, text, fix, subject)


def problem(check: str, text: str, fix: str, *, subject: str = "") -> Finding:
    """The node does not do what it is to do."""
    return Finding(check, Outcome.PROBLEM, text, fix, subject)


_FOUND_CHARACTERS = 500
_TEXT_CHARACTERS = 1000


def render(finding: Finding) -> str:
    """One line for people."""
    subject = f"{finding.subject}: " if finding.subject else ""
    took = "" if finding.seconds is None else f" ({finding.seconds * 1000:.0f} ms)"
    fix = f"; {finding.fix}" if finding.fix else ""
    text = finding.text
    if len(text) > _FOUND_CHARACTERS:
        # What to do is told, too, however much a peer says.
        text = f"{text[:_FOUND_CHARACTERS]}…"
    line = f"{finding.outcome.value:<8}{finding.check:<13}{subject}{text}{took}{fix}"
    return printable(line.replace("\n", " "), most=_TEXT_CHARACTERS)
