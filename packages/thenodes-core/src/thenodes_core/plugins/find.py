"""Where plugins may be: files, folders, and what is installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from msgspec import structs

from .source import Candidate, Kind
from .tree import find_manifests
from .verdict import Fault

__all__ = ["ENTRY_POINTS", "candidates"]

ENTRY_POINTS = "thenodes.plugins"
"""The group of entry points of installed plugins."""

_WHEEL = ".whl"


def candidates(
    paths: Iterable[Path],
    directory: Path | None,
    installed: Iterable[str],
    defaults: Iterable[str] = (),
) -> Sequence[Candidate]:
    """Everything that the operator named, each that cannot be read with its fault.

    Args:
        paths: wheels, source trees, or directories of both.
        directory: the plugins directory: every wheel and every folder in it. Names
            that begin with `.` or `_` are passed over.
        installed: names of entry points.
        defaults: names of entry points, each a candidate where none else has its id.
    """
    installed = list(installed)
    found = [candidate for path in paths for candidate in _at(path)]
    found += [_installed(name) for name in installed]
    if directory is not None:
        found += _in_directory(directory, directory)
    found += [
        structs.replace(_installed(name), is_default=True)
        for name in defaults
        if name not in installed
    ]
    return found


def _at(path: Path) -> Iterator[Candidate]:
    origin = str(path)
    if path.is_dir():
        if _holds_plugins(path):
            yield from _in_directory(path, None)
        else:
            yield Candidate(origin, path.absolute(), Kind.TREE)
    elif path.suffix == _WHEEL and path.is_file():
        yield Candidate(origin, path.absolute(), Kind.WHEEL)
    else:
        received = f"{path}: " + ("neither" if path.exists() else "not there")
        fault = Fault(
            "TN-P010", "a wheel (*.whl), a source tree, or a directory of them", received, _CHECK
        )
        yield Candidate(origin, path.absolute(), Kind.UNKNOWN, fault=fault)


def _holds_plugins(path: Path) -> bool:
    """True of a directory of plugins, False of one plugin's source tree."""
    try:
        if any((path / name).exists() for name in _MARKS_OF_A_TREE):
            return False
        return any(path.glob(f"*{_WHEEL}")) or len(find_manifests(path)) > 1
    except OSError:
        return False


def _in_directory(path: Path, directory: Path | None) -> list[Candidate]:
    try:
        entries = sorted(entry for entry in path.iterdir() if entry.name[0] not in "._")
    except OSError as error:
        fault = Fault(
            "TN-P010", "a directory of plugins", f"{path}: {error.strerror or error}", _CHECK
        )
        return [Candidate(str(path), path.absolute(), Kind.UNKNOWN, directory, fault=fault)]
    return [
        Candidate(str(entry), entry.absolute(), kind, directory)
        for entry in entries
        if (kind := _kind(entry)) is not None
    ]


def _kind(entry: Path) -> Kind | None:
    if entry.is_dir():
        return Kind.TREE
    return Kind.WHEEL if entry.suffix == _WHEEL else None


def _installed(name: str) -> Candidate:
    found = importlib.metadata.entry_points(group=ENTRY_POINTS)
    expected = "the entry point of an installed plugin"
    if name not in found.names:
        known = ", ".join(sorted(found.names)) or "none"
        fault = Fault(
            "TN-P010", expected, f"no plugin {name!r} is installed; installed: {known}", _INSTALL
        )
        return Candidate(name, Path(name), Kind.UNKNOWN, entry_point=name, fault=fault)
    top = found[name].module.partition(".")[0]
    try:
        # Of a module without dots this imports nothing.
        spec = importlib.util.find_spec(top)
    except (ValueError, ImportError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        fault = Fault("TN-P010", expected, f"{name!r}: {top} is not a package", _INSTALL)
        return Candidate(name, Path(name), Kind.UNKNOWN, entry_point=name, fault=fault)
    package = Path(next(iter(spec.submodule_search_locations)))
    return Candidate(name, package, Kind.INSTALLED, entry_point=name)


_MARKS_OF_A_TREE = ("pyproject.toml", "src", "thenodes-plugin.toml")
_CHECK = "check the path"
_INSTALL = "install the plugin into the node's environment, or check its name"
