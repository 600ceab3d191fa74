"""What a plugin needs of Python, of the platform and of the host's packages."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import sys_tags
from packaging.utils import canonicalize_name

from thenodes_plugin_api import Manifest

from .source import Content, Metadata
from .verdict import Fault

__all__ = ["Requirements"]

_API = "thenodes-plugin-api"
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
        try:
            requirement = Requirement(line)
        except InvalidRequirement as error:
            yield Fault("TN-P020", "a requirement", f"{line!r}: {error}", "mend the metadata")
            return
        name = canonicalize_name(requirement.name)
        if not _applies(requirement) or name == _API:
            return
        if name in _NOT_FOR_PLUGINS:
            received = f"it requires {requirement.name}"
            yield Fault("TN-P020", f"{_API} alone", received, f"depend on {_API} alone")
            return
        version = self._version(name)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
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
            suits = version is not None and wanted.contains(version, prereleases=True)
            if other != own and (suits or specifier.is_disjoint(wanted)):
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
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if _applies(requirement):
            yield requirement


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def _python_faults(metadata: Metadata) -> Iterator[Fault]:
    here, wanted = platform.python_version(), metadata.requires_python
    if wanted is None:
        return
    try:
        if SpecifierSet(wanted).contains(here, prereleases=True):
            return
    except InvalidSpecifier:
        received = f"Requires-Python {wanted!r}"
        yield Fault("TN-P014", "version specifiers", received, "mend the metadata")
        return
    fix = "run the node with such a Python, or get another version of the plugin"
    yield Fault("TN-P014", f"Python {wanted}", f"Python {here}", fix)


def _abi_faults(manifest: Manifest, metadata: Metadata) -> Iterator[Fault]:
    """TN-P012: pip and the host have to be told the same."""
    abi, revision = manifest.plugin.abi, manifest.plugin.abi_revision
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
    if min(abi, revision) < 0:
        return False
    refused = [f"{abi + 1}.0.0"]
    refused += [f"{abi}.{revision - 1}.0"] if revision else []
    refused += [f"{abi - 1}.0.0"] if abi else []
    return specifier.contains(f"{abi}.{revision}.0") and not any(map(specifier.contains, refused))
