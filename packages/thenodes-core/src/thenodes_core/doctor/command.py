"""`doctor` of a running node."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from ..control.commands import CommandTable, Reply
from ..errors import CommandError
from .examination import Patient, examine
from .finding import Finding, Outcome, render

__all__ = ["add_doctor_command", "summary"]


def summary(found: Sequence[Finding]) -> str:
    """How many there are of what, in one line."""
    problems = sum(one.outcome is Outcome.PROBLEM for one in found)
    warnings = sum(one.outcome is Outcome.WARNING for one in found)
    if not problems and not warnings:
        return f"nothing is wrong, as far as {len(found)} checks tell"
    return f"{_count(problems, 'problem')}, {_count(warnings, 'warning')}"


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def add_doctor_command(table: CommandTable, patient: Callable[[], Patient]) -> None:
    """Add the command, which tells each finding as it is known."""

    async def answers() -> AsyncGenerator[Reply, None]:
        found: list[Finding] = []
        async with aclosing(examine(patient())) as findings:
            async for finding in findings:
                found.append(finding)
                yield Reply(render(finding), finding)
        yield Reply(summary(found))

    def follow(words: Sequence[str]) -> AsyncGenerator[Reply, None]:
        if words:
            raise CommandError(f"doctor takes no words, got {len(words)}")
        return answers()

    async def run(words: Sequence[str]) -> Reply:
        found = []
        async with aclosing(follow(words)) as replies:
            found = [reply async for reply in replies]
        return Reply("\n".join(one.text for one in found), [one.data for one in found[:-1]])

    table.define("doctor", run, follow=follow)
