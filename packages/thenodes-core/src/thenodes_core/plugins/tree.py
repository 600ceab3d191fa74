"""Plugins in folders: source trees, import packages, installed distributions."""

from __future__ import annotations

import importlib.metadata
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

from thenodes_plugin_api import MANIFEST_NAME, Manifest, ManifestError, parse_manifest

from ..errors import PluginLoadError
from .abi import later_abi_faults
from .source import Candidate, Content, Metadata
from .verdict import Fault

__all__ = ["MANIFEST_BYTES", "find_manifests", "manifest_faults", "read_installed", "read_tree"]

MANIFEST_BYTES = 64 * 1024
"""The largest manifest that is read."""

_DEPTH = 3
_SKIPPED = frozenset({"__pycache__", "build", "dist", "node_modules", "test", "tests", "venv"})
_OURS = frozenset({"thenodes_plugin_api", "thenodes_core", "thenodes_relay", "thenodes_cli"})
_MAKE_ONE = "start from the output of: thenodes new-plugin my"
_MEND = "mend the manifest; docs/plugins/manifest.md describes it"


def read_tree(candidate: Candidate) -> Content:
    """Read a source tree, or an import package alone."""
    root = candidate.path
    faults: list[Fault] = []
    try:
        found = find_manifests(root)
        metadata = _read_pyproject(root / "pyproject.toml")
    except OSError as error:
        fault = Fault("TN-P010", "a readable folder", f"{root}: {error.strerror}", "check its mode")
        return Content(package=root, faults=(fault,))
    except PluginLoadError as error:
        found, metadata = find_manifests(root), None
        faults.append(Fault.of(error))
    if len(found) != 1:
        names = ", ".join(str(file.relative_to(root)) for file in found)
        received = f"more than one: {names}" if found else f"no {MANIFEST_NAME} in it"
        fix = "name the folder of one plugin" if found else _MAKE_ONE
        faults.append(
            Fault("TN-P010", f"one {MANIFEST_NAME}", f"{candidate.origin}: {received}", fix)
        )
        return Content(package=root, metadata=metadata, faults=tuple(faults))
    return _read_package(found[0], metadata, faults)


def read_installed(candidate: Candidate) -> Content:
    """Read an installed plugin: the package that its entry point names."""
    points = importlib.metadata.entry_points(group="thenodes.plugins")
    point = points[candidate.entry_point or candidate.origin]
    metadata = None
    if point.dist is not None:
        metadata = Metadata(
            file=f"the metadata of {point.dist.name}",
            name=point.dist.name,
            version=point.dist.version,
            requires_python=point.dist.metadata["Requires-Python"],
            requires=tuple(point.dist.requires or ()),
            entry_points={point.name: point.value},
        )
    file = candidate.path / MANIFEST_NAME
    if not file.is_file():
        received = f"installed plugin {point.name!r}: no {MANIFEST_NAME} in {candidate.path}"
        fault = Fault("TN-P010", f"one {MANIFEST_NAME}", received, _MAKE_ONE)
        return Content(package=candidate.path, metadata=metadata, faults=(fault,))
    return _read_package(file, metadata, [])


def _read_package(file: Path, metadata: Metadata | None, faults: list[Fault]) -> Content:
    package = file.parent
    manifest = None
    try:
        with file.open("rb") as opened:
            manifest = manifest_of(opened.read(MANIFEST_BYTES + 1), str(file))
    except OSError as error:
        faults.append(Fault("TN-P010", "a readable file", f"{file}: {error.strerror}", _MEND))
    except PluginLoadError as error:
        faults.append(Fault.of(error))
    if manifest is not None:
        faults += manifest_faults(manifest, metadata, package.name, str(file))
    return Content(
        package=package,
        manifest=manifest,
        metadata=metadata,
        modules=(package.name,),
        bundled=_bundled(package),
        faults=tuple(faults),
    )


def manifest_of(content: bytes, file: str) -> Manifest:
    """Parse a manifest's bytes.

    Raises:
        PluginLoadError: TN-P010; TN-P011 where it is of an ABI that is not served.
    """
    if len(content) > MANIFEST_BYTES:
        raise PluginLoadError(
            "TN-P010",
            f"{file}: larger than {MANIFEST_BYTES} bytes",
            expected=f"at most {MANIFEST_BYTES} bytes",
            fix=_MEND,
        )
    try:
        return parse_manifest(content.decode(), source=file)
    except UnicodeDecodeError as error:
        raise PluginLoadError(
            "TN-P010", f"{file}: not UTF-8: {error}", expected="a manifest", fix=_MEND
        ) from error
    except ManifestError as error:
        for fault in later_abi_faults(content.decode()):
            raise fault.error() from error
        raise PluginLoadError(
            "TN-P010", str(error), expected="a valid manifest", fix=_MEND
        ) from error


def manifest_faults(
    manifest: Manifest, metadata: Metadata | None, package: str, file: str
) -> list[Fault]:
    """TN-P010: where manifest, package and distribution disagree."""
    faults = []
    plugin = manifest.plugin
    top = plugin.entry.partition(":")[0].partition(".")[0]
    if top != package:
        received = f"{file}: entry {plugin.entry!r} is in package {top!r}"
        expected = f"an entry in {package!r}, where the manifest lies"
        faults.append(Fault("TN-P010", expected, received, _MEND))
    if metadata is None:
        return faults
    if metadata.version is not None and metadata.version != plugin.version:
        received = f"{file}: version {plugin.version!r}"
        expected = f"{metadata.version!r}, as in {metadata.file}"
        faults.append(Fault("TN-P010", expected, received, "write the same version in both"))
    points = metadata.entry_points
    if points is not None and plugin.entry not in points.values():
        received = f"{file}: entry {plugin.entry!r}"
        shown = " or ".join(repr(value) for value in points.values()) or "an entry point"
        expected = f"{shown}, as in the entry points of {metadata.file}"
        faults.append(Fault("TN-P010", expected, received, "write the same entry in both"))
    return faults


def find_manifests(root: Path) -> list[Path]:
    """The manifests in a folder, in order; build products and tests are passed over.

    Raises:
        OSError: the folder cannot be read.
    """
    found = []
    for folder, names, files in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        names[:] = [] if depth >= _DEPTH else [n for n in names if _is_searched(n)]
        if MANIFEST_NAME in files:
            found.append((Path(folder) / MANIFEST_NAME).absolute())
    return sorted(found)


def _is_searched(name: str) -> bool:
    return not name.startswith(".") and name not in _SKIPPED and not name.endswith(".egg-info")


def _bundled(package: Path) -> tuple[str, ...]:
    found = {name for _, names, _ in os.walk(package) for name in names if name in _OURS}
    return tuple(sorted(found))


def _read_pyproject(file: Path) -> Metadata | None:
    try:
        with file.open("rb") as opened:
            table = tomllib.load(opened)
        project = table["project"]
        dynamic = project.get("dynamic", [])
        points = project.get("entry-points", {}).get("thenodes.plugins")
        return Metadata(
            file=str(file),
            name=str(project.get("name", "")),
            version=None if "version" in dynamic else str(project["version"]),
            requires_python=_text(project.get("requires-python")),
            requires=(
                None
                if "dependencies" in dynamic
                else tuple(str(line) for line in project.get("dependencies", ()))
            ),
            entry_points=None if points is None else _texts(points),
        )
    except FileNotFoundError:
        return None
    except KeyError:
        # Without [project], or without a version: another tool's, or unfinished.
        return None
    except (ValueError, RecursionError, AttributeError, TypeError) as error:
        raise PluginLoadError(
            "TN-P010", f"{file}: {error}", expected="a valid pyproject.toml", fix="mend it"
        ) from error


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _texts(table: Mapping[str, object]) -> dict[str, str]:
    return {str(name): str(value) for name, value in table.items()}
