"""Names that two plugins, or a plugin and the host, cannot both have (TN-P030)."""

from __future__ import annotations

import importlib.util
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from thenodes_plugin_api import MANIFEST_NAME, Manifest

from .claims import overlap
from .source import Content
from .verdict import Fault

__all__ = ["Names", "is_same_code"]

_CACHED = "sha256-"


class Names:
    """What is taken so far.

    Args:
        reserved: words that no plugin may have as its prompt prefix or command.
        taken: manifests of the plugins that are there.
    """

    def __init__(self, reserved: Iterable[str], taken: Iterable[Manifest]) -> None:
        self._reserved = frozenset(reserved)
        self._taken = [(manifest, "") for manifest in taken]

    def take(self, content: Content) -> None:
        """Give a plugin its names."""
        if content.manifest is not None:
            self._taken.append((content.manifest, content.package.name))

    def faults(self, content: Content) -> list[Fault]:
        """What of a plugin's names is taken."""
        if content.manifest is None:
            return []
        modules = self._module_faults(content.package.name, content.manifest)
        return [*modules, *self.manifest_faults(content.manifest)]

    def manifest_faults(self, manifest: Manifest) -> list[Fault]:
        """What of the names in a manifest is taken."""
        faults = []
        if manifest.prompt.prefix in self._reserved:
            faults.append(_taken(f"the prompt prefix {manifest.prompt.prefix!r}", "the node's own"))
        for command in _commands(manifest):
            if command in self._reserved:
                faults.append(_taken(f"the command {command!r}", "the node's own"))
            if command == manifest.prompt.prefix:
                faults.append(_taken(f"the command {command!r}", "its own prompt prefix"))
        for other, _ in self._taken:
            faults += _clashes(manifest, other)
        return faults

    def _module_faults(self, name: str, manifest: Manifest) -> Iterator[Fault]:
        what = f"the module name {name!r}"
        for other, package in self._taken:
            if package == name:
                yield _taken(what, f"taken by {other.plugin.id}")
        if name in sys.stdlib_module_names:
            yield _taken(what, "taken by the standard library")
            return
        folder = _folder_of(name)
        if folder is not None and not _is_of_plugin(folder, manifest.plugin.id):
            yield _taken(what, f"taken by {folder}")


def is_same_code(one: Path, other: Path) -> bool:
    """True where two folders are the same, or the same wheel in two caches."""
    if one.resolve() == other.resolve():
        return True
    address = one.parent.name
    return address.startswith(_CACHED) and address == other.parent.name and one.name == other.name


def _clashes(manifest: Manifest, other: Manifest) -> Iterator[Fault]:
    if other.plugin.id == manifest.plugin.id:
        yield _taken(f"the id {manifest.plugin.id!r}", "taken")
    prefix = manifest.prompt.prefix
    if prefix is not None and other.prompt.prefix == prefix:
        yield _taken(f"the prompt prefix {prefix!r}", f"taken by {other.plugin.id}")
    for claim in manifest.messages.handles:
        if any(overlap(claim, taken) for taken in other.messages.handles):
            yield _taken(f"the message claim {claim!r}", f"taken by {other.plugin.id}")
    yield from _service_clashes(manifest, other)


def _service_clashes(manifest: Manifest, other: Manifest) -> Iterator[Fault]:
    by = f"taken by {other.plugin.id}"
    prefix, prefix_there = manifest.prompt.prefix, other.prompt.prefix
    if prefix is not None and prefix in _commands(other):
        yield _taken(f"the prompt prefix {prefix!r}", f"a command of {other.plugin.id}")
    for command in _commands(manifest):
        if command == prefix_there or command in _commands(other):
            yield _taken(f"the command {command!r}", by)
    if manifest.service is not None and other.service is not None:
        for kind in manifest.service.kinds:
            if kind in other.service.kinds:
                yield _taken(f"the kind {kind}", by)


def _commands(manifest: Manifest) -> tuple[str, ...]:
    return () if manifest.service is None else manifest.service.commands


def _taken(what: str, by: str) -> Fault:
    return Fault(
        "TN-P030",
        "names that nobody else has",
        f"{what} is {by}",
        "leave one of the two out, or let the plugin choose another name",
    )


def _folder_of(name: str) -> Path | None:
    """Where the host would import a top-level module from; nothing is imported."""
    try:
        spec = importlib.util.find_spec(name)
    except (ValueError, ImportError):
        # It is there, but says nothing of where it came from.
        return Path(name)
    if spec is None:
        return None
    locations = list(spec.submodule_search_locations or ())
    if locations:
        return Path(locations[0])
    return Path(spec.origin or name)


def _is_of_plugin(folder: Path, plugin_id: str) -> bool:
    """True where that module is this plugin itself: installed, or loaded by another node."""
    try:
        table = tomllib.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
        return bool(table["plugin"]["id"] == plugin_id)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False
