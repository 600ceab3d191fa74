"""The packages of the workspace: where they are, their versions, what each needs of the others."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import msgspec
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

__all__ = ["Package", "ReleaseError", "parse_version", "read_workspace"]

_VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)
_PREFIX = "thenodes-"


class ReleaseError(Exception):
    """What keeps a package from being released, for the person who releases it."""


class Package(msgspec.Struct, frozen=True):
    """A package of the workspace.

    Attributes:
        name: of the distribution.
        folder: where it is.
        version: what `_version.py` says.
        siblings: packages of the workspace that it needs, each with the versions it takes.
    """

    name: str
    folder: Path
    version: Version
    siblings: Mapping[str, SpecifierSet]

    @property
    def module(self) -> str:
        """The name that it is imported by."""
        return self.name.replace("-", "_")

    @property
    def version_file(self) -> Path:
        """The one place that says its version."""
        return self.folder / "src" / self.module / "_version.py"

    @property
    def manifest(self) -> Path:
        """The manifest of a package that is a plugin; of others there is none."""
        return self.folder / "src" / self.module / "thenodes-plugin.toml"

    @property
    def changelog(self) -> Path:
        """Its changelog."""
        return self.folder / "CHANGELOG.md"

    @property
    def tag(self) -> str:
        """The tag of a release of this version."""
        return f"{self.name}-v{self.version}"


def read_workspace(root: Path) -> Mapping[str, Package]:
    """Read the packages below `root`, by name, each after those that it needs.

    Raises:
        ReleaseError: one of them does not say what it has to.
    """
    folders = {path.parent.name: path.parent for path in root.glob("packages/*/pyproject.toml")}
    if not folders:
        raise ReleaseError(f"{root}: no packages/*/pyproject.toml; run this in the repository")
    packages = {name: _read(folder, folders) for name, folder in sorted(folders.items())}
    needs = TopologicalSorter({name: sorted(one.siblings) for name, one in packages.items()})
    try:
        return {name: packages[name] for name in needs.static_order()}
    except CycleError as error:
        raise ReleaseError(
            f"packages that need each other: {' -> '.join(error.args[1])}"
        ) from error


def parse_version(text: str) -> Version:
    """Parse a version that a release may have.

    Raises:
        ReleaseError: it is none.
    """
    try:
        version = Version(text)
    except InvalidVersion as error:
        raise ReleaseError(f"{text!r} is no version; expected one such as 0.2.0") from error
    if version.local or str(version) != text:
        raise ReleaseError(f"{text!r} is not written as a release is; expected {version.public}")
    return version


def _read(folder: Path, known: Mapping[str, Path]) -> Package:
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        name = project["name"]
        needed = [Requirement(text) for text in project.get("dependencies", ())]
    except KeyError as error:
        raise ReleaseError(f"{folder}/pyproject.toml: there is no {error}") from error
    except ValueError as error:
        # What is not TOML, not UTF-8, or no requirement.
        raise ReleaseError(f"{folder}/pyproject.toml: {error}") from error
    if name != folder.name or not name.startswith(_PREFIX):
        raise ReleaseError(f"{folder}/pyproject.toml: expected the name {folder.name}, got {name}")
    file = folder / "src" / name.replace("-", "_") / "_version.py"
    found = _VERSION.findall(file.read_text()) if file.is_file() else []
    if len(found) != 1:
        raise ReleaseError(f'{file}: expected one line __version__ = "…"')
    named: dict[str, SpecifierSet] = {canonicalize_name(n.name): n.specifier for n in needed}
    siblings = {name: named[name] for name in named if name in known}
    return Package(name, folder, parse_version(found[0]), siblings)
