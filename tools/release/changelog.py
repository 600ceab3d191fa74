"""A package's changelog: the section that gathers what is not released, and those of releases."""

from __future__ import annotations

import datetime
import re

from packaging.version import Version

from .workspace import Package, ReleaseError

__all__ = ["close_section", "notes"]

_HEADING = re.compile(r"^## (?P<version>\S+) \((?P<when>[^)]+)\)$", re.MULTILINE)
_OPEN = "unreleased"


def notes(package: Package, text: str) -> str:
    """What the changelog says of the package's version, for the release.

    Raises:
        ReleaseError: there is nothing, or the section is not closed.
    """
    for heading, body in _sections(text):
        if heading["version"] != str(package.version):
            continue
        if heading["when"] == _OPEN:
            raise ReleaseError(
                f"{package.changelog}: {package.version} is still called unreleased; close it with "
                f"python -m tools.release bump {package.name} {package.version}"
            )
        if not body.strip():
            raise ReleaseError(f"{package.changelog}: nothing is said of {package.version}")
        return body.strip() + "\n"
    raise ReleaseError(f"{package.changelog}: expected a section for {package.version}")


def close_section(package: Package, text: str, version: Version, today: datetime.date) -> str:
    """The changelog with its unreleased section as that of `version`.

    Raises:
        ReleaseError: nothing is unreleased, or the version is in it already.
    """
    headings = [heading for heading, _ in _sections(text)]
    if any(h["version"] == str(version) and h["when"] != _OPEN for h in headings):
        raise ReleaseError(f"{package.changelog}: {version} is released already")
    opened = [heading for heading in headings if heading["when"] == _OPEN]
    if not opened or opened[0] is not headings[0]:
        raise ReleaseError(
            f"{package.changelog}: expected to begin with a section such as "
            f"'## {version} ({_OPEN})' that says what is new"
        )
    start, end = opened[0].span()
    return f"{text[:start]}## {version} ({today.isoformat()}){text[end:]}"


def _sections(text: str) -> list[tuple[re.Match[str], str]]:
    headings = list(_HEADING.finditer(text))
    ends = [heading.start() for heading in headings[1:]] + [len(text)]
    return [(h, text[h.end() : end]) for h, end in zip(headings, ends, strict=True)]
