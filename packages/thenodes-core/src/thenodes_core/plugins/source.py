"""Where plugins come from: source trees, found and read without running anything."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from pathlib import Path

import msgspec

from thenodes_plugin_api import (
    MANIFEST_NAME,
    PLUGIN_ABI_MIN,
    PLUGIN_ABI_REVISION,
    PLUGIN_ABI_VERSION,
    Manifest,
    ManifestError,
    parse_manifest,
)

from ..errors import PluginLoadError

__all__ = ["Source", "find_in_directory", "find_installed", "read_source"]

_ENTRY_POINTS = "thenodes.plugins"
_MANIFEST_BYTES = 64 * 1024
_DEPTH = 3
_SKIPPED = frozenset({"__pycache__", "build", "dist", "node_modules", "test", "tests", "venv"})


class Source(msgspec.Struct, frozen=True):
    """A plugin that was found and whose manifest is sound.

    Attributes:
        origin: the path or name that the operator gave.
        package: the folder of its import package.
        manifest: what it says about itself.
    """

    origin: str
    package: Path
    manifest: Manifest


def find_in_directory(directory: Path) -> list[Path]:
    """Return the source trees in a plugins directory: each folder in it, by name.

    Folders whose name begins with `.` or `_` are passed over.

    Raises:
        PluginLoadError: the directory cannot be read.
    """
    try:
        return sorted(
            path for path in directory.iterdir() if path.is_dir() and path.name[0] not in "._"
        )
    except OSError as error:
        raise PluginLoadError("TN-P010", f"{directory}: {error.strerror}") from error


def find_installed(name: str) -> Path:
    """Return the package folder of an installed plugin, by its entry point's name.

    Raises:
        PluginLoadError: no such plugin is installed.
    """
    found = importlib.metadata.entry_points(group=_ENTRY_POINTS)
    if name not in found.names:
        known = ", ".join(sorted(found.names)) or "none"
        raise PluginLoadError("TN-P010", f"no plugin {name!r} is installed; installed: {known}")
    top = found[name].module.partition(".")[0]
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        raise PluginLoadError("TN-P010", f"installed plugin {name!r}: {top} is not a package")
    return Path(next(iter(spec.submodule_search_locations)))


def read_source(path: Path, *, origin: str | None = None) -> Source:
    """Find and check the manifest of one plugin; none of its code is run.

    Args:
        path: the plugin's source tree, or its import package.
        origin: what the operator called it.

    Raises:
        PluginLoadError: no manifest or more than one, a wrong one, or an ABI
            that this host does not serve.
    """
    origin = origin or str(path)
    file = _find_manifest(path)
    try:
        if file.stat().st_size > _MANIFEST_BYTES:
            raise PluginLoadError("TN-P010", f"{file}: larger than {_MANIFEST_BYTES} bytes")
        manifest = parse_manifest(file.read_text(encoding="utf-8"), source=str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise PluginLoadError("TN-P010", f"{file}: cannot be read: {error}") from error
    except ManifestError as error:
        raise PluginLoadError("TN-P010", str(error)) from error
    package = file.parent
    top = manifest.plugin.entry.partition(":")[0].partition(".")[0]
    if top != package.name:
        raise PluginLoadError(
            "TN-P010",
            f"{file}: entry {manifest.plugin.entry!r} is in package {top!r}, "
            f"but the manifest lies in {package.name!r}",
        )
    _check_abi(manifest)
    return Source(origin, package, manifest)


def _find_manifest(path: Path) -> Path:
    if not path.is_dir():
        kind = "a file; a source tree is expected" if path.exists() else "not there"
        raise PluginLoadError("TN-P010", f"{path}: {kind}")
    found = []
    for folder, names, files in os.walk(path):
        depth = len(Path(folder).relative_to(path).parts)
        names[:] = [] if depth >= _DEPTH else [n for n in names if _is_searched(n)]
        if MANIFEST_NAME in files:
            found.append(Path(folder) / MANIFEST_NAME)
    if not found:
        raise PluginLoadError("TN-P010", f"{path}: no {MANIFEST_NAME} in it")
    if len(found) > 1:
        names_found = ", ".join(str(file.relative_to(path)) for file in sorted(found))
        raise PluginLoadError("TN-P010", f"{path}: more than one {MANIFEST_NAME}: {names_found}")
    return found[0].absolute()


def _is_searched(name: str) -> bool:
    return not name.startswith(".") and name not in _SKIPPED and not name.endswith(".egg-info")


def _check_abi(manifest: Manifest) -> None:
    plugin = manifest.plugin
    wanted = f"ABI {plugin.abi} revision {plugin.abi_revision}"
    served = f"this host serves {PLUGIN_ABI_VERSION}"
    if PLUGIN_ABI_MIN < PLUGIN_ABI_VERSION:
        served = f"this host serves {PLUGIN_ABI_MIN} to {PLUGIN_ABI_VERSION}"
    if not PLUGIN_ABI_MIN <= plugin.abi <= PLUGIN_ABI_VERSION:
        way_out = "newer TheNodes" if plugin.abi > PLUGIN_ABI_VERSION else "newer plugin"
        raise PluginLoadError("TN-P011", f"{plugin.id} needs {wanted}; {served}. Get a {way_out}.")
    if plugin.abi == PLUGIN_ABI_VERSION and plugin.abi_revision > PLUGIN_ABI_REVISION:
        raise PluginLoadError(
            "TN-P011",
            f"{plugin.id} needs {wanted}; {served}, revision {PLUGIN_ABI_REVISION}. "
            "Get a newer TheNodes.",
        )
