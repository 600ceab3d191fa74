"""What a plugin needs of Python, of the platform and of the host's packages."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import sys_tags
from packaging.utils import canonicalize_name

from thenodes_plugin_api import Manifest

from .abi import LARGEST_ABI
from .source import Content, Metadata
from .verdict import Fault

__all__ = ["Requirements"]

_API = "thenodes-plugin-api"
_SHOWN = 200
_NOT_FOR_PLUGINS = frozenset({"thenodes", "thenodes-core", "thenodes-relay", "thenodes-cli"})


class Requirements:
    """Judges requirements of several plugins in one host; what is installed is looked up once."""

    def __init__(self) -> None:
        self._versions: dict[str, str | None] = {}
        self._wanted: dict[str, list[tuple[str, SpecifierSet]]] = {}
        self._tags: frozenset[str] | None = None

    def add(self, plugin_id: str, metadata: Metadata | None) -> None:
        """Take note of what a plugin needs, before any is judged."""
        for requirement in _requirements(metadata):
            name = canonicalize_name(requirement.name)
            self._wanted.setdefault(name, []).append((plugin_id, requirement.specifier))

    def faults(self, content: Content) -> Iterator[Fault]:
        """TN-P012, TN-P014 and TN-P020 of one plugin."""
        metadata, manifest = content.metadata, content.manifest
        if content.bundled:
            yield Fault(
                "TN-P020",
                "a plugin without packages of TheNodes",
                f"{', '.join(content.bundled)} inside it",
                f"take them out, and depend on {_API}",
            )
        if content.tags:
            yield from self._tag_faults(content.tags)
        if metadata is None:
            return
        yield from _python_faults(metadata)
        for line in metadata.requires or ():
            yield from self._requirement_faults(line, content)
        if manifest is not None and metadata.requires is not None:
            yield from _abi_faults(manifest, metadata)

    def _tag_faults(self, tags: frozenset[str]) -> Iterator[Fault]:
        if "py3-none-any" in tags:
            return
        if self._tags is None:
            self._tags = frozenset(str(tag) for tag in sys_tags())
        if not tags & self._tags:
            here = str(next(iter(sys_tags())))
            received = f"a wheel for {', '.join(sorted(tags)[:4])}"
            yield Fault("TN-P014", f"one for {here}", received, "get the wheel for this platform")

    def _requirement_faults(self, line: str, content: Content) -> Iterator[Fault]:
        requirement = _parse(line)
        if requirement is None:
            yield Fault("TN-P020", "a requirement", repr(line[:_SHOWN]), "mend the metadata")
            return
        name = canonicalize_name(requirement.name)
        if not _applies(requirement) or name == _API:
            return
        if name in _NOT_FOR_PLUGINS:
            received = f"it requires {requirement.name}"
            yield Fault("TN-P020", f"{_API} alone", received, f"depend on {_API} alone")
            return
        version = self._version(name)
        if version is None or not _suits(requirement.specifier, version):
            there = f"{name} {version}" if version else f"no {name}"
            asked = f"{name}{requirement.specifier}"
            fix = f"install it into the node's environment: pip install '{asked}'"
            fix = self._contradiction(name, requirement.specifier, content, version) or fix
            yield Fault("TN-P020", asked, f"{there} in the node's environment", fix)

    def _contradiction(
        self, name: str, specifier: SpecifierSet, content: Content, version: str | None
    ) -> str | None:
        own = content.manifest.plugin.id if content.manifest else None
        for other, wanted in self._wanted.get(name, ()):
            suits = version is not None and _suits(wanted, version)
            if other != own and (suits or _exclude_each_other(specifier, wanted)):
                return (
                    f"plugin {other} needs {name}{wanted}: if no version suits both, "
                    "run them in two nodes with environments of their own"
                )
        return None

    def _version(self, name: str) -> str | None:
        if name not in self._versions:
            try:
                self._versions[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                self._versions[name] = None
        return self._versions[name]


def _requirements(metadata: Metadata | None) -> Iterator[Requirement]:
    for line in (metadata.requires if metadata else None) or ():
        requirement = _parse(line)
        if requirement is not None and _applies(requirement):
            yield requirement


# Metadata is anybody's: numbers of thousands of digits and endless nesting included, for
# which packaging raises more than it says.


def _parse(line: str) -> Requirement | None:
    try:
        return Requirement(line)
    except (ValueError, RecursionError):
        return None


def _applies(requirement: Requirement) -> bool:
    try:
        return requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    except (ValueError, RecursionError):
        return True


def _suits(specifier: SpecifierSet, version: str, *, prereleases: bool | None = True) -> bool:
    try:
        return specifier.contains(version, prereleases=prereleases)
    except ValueError:
        return False


def _exclude_each_other(one: SpecifierSet, other: SpecifierSet) -> bool:
    try:
        return one.is_disjoint(other)
    except ValueError:
        return False


def _python_faults(metadata: Metadata) -> Iterator[Fault]:
    here, wanted = platform.python_version(), metadata.requires_python
    if wanted is None:
        return
    try:
        if SpecifierSet(wanted).contains(here, prereleases=True):
            return
    except ValueError:
        received = f"Requires-Python {wanted[:_SHOWN]!r}"
        yield Fault("TN-P014", "version specifiers", received, "mend the metadata")
        return
    fix = "run the node with such a Python, or get another version of the plugin"
    yield Fault("TN-P014", f"Python {wanted}", f"Python {here}", fix)


def _abi_faults(manifest: Manifest, metadata: Metadata) -> Iterator[Fault]:
    """TN-P012: pip and the host have to be told the same."""
    abi, revision = manifest.plugin.abi, manifest.plugin.abi_revision
    if not (0 <= abi <= LARGEST_ABI and 0 <= revision <= LARGEST_ABI):
        return
    told = [r for r in _requirements(metadata) if canonicalize_name(r.name) == _API]
    expected = f"{_API}>={abi}.{revision},<{abi + 1}, as the manifest says"
    fix = "write the same generation and revision into both"
    if not told:
        yield Fault("TN-P012", expected, f"no {_API} in {metadata.file}", fix)
        return
    specifier = told[0].specifier
    for one in told[1:]:
        specifier &= one.specifier
    if not _says(specifier, abi, revision):
        yield Fault("TN-P012", expected, f"{_API}{specifier} in {metadata.file}", fix)


def _says(specifier: SpecifierSet, abi: int, revision: int) -> bool:
    refused = [f"{abi + 1}.0.0"]
    refused += [f"{abi}.{revision - 1}.0"] if revision else []
    refused += [f"{abi - 1}.0.0"] if abi else []
    wanted = f"{abi}.{revision}.0"
    return _suits(specifier, wanted, prereleases=None) and not any(
        _suits(specifier, version, prereleases=None) for version in refused
    )
