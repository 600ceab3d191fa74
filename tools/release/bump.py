"""Gives one package another version, and closes its changelog."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from pathlib import Path

from packaging.version import Version

from .changelog import close_section
from .workspace import Package, ReleaseError

__all__ = ["bump", "too_narrow"]


def bump(package: Package, version: Version, today: datetime.date) -> list[Path]:
    """Write the version everywhere it is said; returns the files that changed.

    Nothing is written unless everything can be.

    Raises:
        ReleaseError: the version is older than the present one, or the changelog has nothing new.
    """
    if version < package.version:
        raise ReleaseError(f"{package.name} is at {package.version}; {version} is older")
    old, new = str(package.version), str(version)
    texts = {
        package.changelog: close_section(package, package.changelog.read_text(), version, today),
        package.version_file: f'__version__ = "{new}"\n',
    }
    if package.manifest.exists():
        # A plugin's host compares the manifest's version with the distribution's.
        line = re.compile(rf'^version = "{re.escape(old)}"$', re.MULTILINE)
        text, count = line.subn(f'version = "{new}"', package.manifest.read_text())
        if count != 1:
            raise ReleaseError(f'{package.manifest}: expected one line version = "{old}"')
        texts[package.manifest] = text
    changed = {path: text for path, text in texts.items() if path.read_text() != text}
    for path, text in changed.items():
        path.write_text(text)
    return list(changed)


def too_narrow(packages: Mapping[str, Package], name: str, version: Version) -> list[str]:
    """Which packages do not take that version of a sibling."""
    return [
        f"{other.name} takes {name}{other.siblings[name]} only"
        for other in packages.values()
        if name in other.siblings and not other.siblings[name].contains(version, prereleases=True)
    ]
