"""Unpacked wheels, by the hash of the wheel.

`<cache>/sha256-<hex>/` holds the files of one wheel. It is made beside its place, written
to disk, and renamed: it is there whole or not at all. What was changed since is made anew.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path

from ..errors import PluginLoadError
from .archive import Archive

__all__ = ["cache_directory", "unpack"]

_FILE_MODE = 0o400
_FOLDER_MODE = 0o500


def cache_directory(state_dir: Path | None) -> Path:
    """Where a node unpacks wheels: in its state directory, or the user's cache."""
    if state_dir is not None:
        return state_dir.absolute() / "plugins"
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "thenodes" / "plugins"


def unpack(wheel: bytes, cache: Path) -> Path:
    """Return the folder with the files of a wheel.

    Args:
        wheel: its bytes, which passed the gates.
        cache: created where missing, 0700.

    Raises:
        PluginLoadError: TN-P002: the files cannot be written; TN-P001: others can
            write there, and so change what was unpacked before it is imported.
    """
    archive = Archive(wheel)
    if archive.faults:
        raise archive.faults[0].error()
    folder = cache / f"sha256-{hashlib.sha256(wheel).hexdigest()}"
    try:
        for above in (cache.parent, cache):
            above.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_owner(cache)
        if not _is_intact(folder, archive):
            _make(folder, archive)
    except OSError as error:
        raise PluginLoadError(
            "TN-P002",
            f"{error.filename or folder}: {error.strerror or error}",
            expected="a cache that can be written",
            fix=f"check the mode of {cache}, and the room on its disk",
        ) from error
    return folder


def _check_owner(cache: Path) -> None:
    found = cache.stat()
    is_ours = os.name != "posix" or found.st_uid in (0, os.geteuid())
    if not is_ours or (os.name == "posix" and found.st_mode & 0o022):
        raise PluginLoadError(
            "TN-P001",
            f"{cache}: others can write there (mode {stat.S_IMODE(found.st_mode):04o})",
            expected="a cache that only its owner can write",
            fix=f"remove what is in it, then chmod go-w {cache}",
        )


def _is_intact(folder: Path, archive: Archive) -> bool:
    """True where a folder holds the archive's files and nothing else that can be imported."""
    names = set(archive.names)
    found = {
        (Path(parent) / name).relative_to(folder).as_posix()
        for parent, _, files in os.walk(folder)
        for name in files
    }
    try:
        for extra in found - names:
            if "__pycache__" not in extra.split("/"):
                return False
            # Written by a Python that may write everywhere; it would be believed unseen.
            (folder / extra).unlink()
        return names <= found and all(_is_file(folder / n, archive.read(n)) for n in names)
    except OSError:
        return False


def _is_file(path: Path, content: bytes) -> bool:
    return not path.is_symlink() and path.read_bytes() == content


def _make(folder: Path, archive: Archive) -> None:
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=folder.parent))
    try:
        for name in archive.names:
            _write(staging / name, archive.read(name))
        folders = [Path(parent) for parent, _, _ in os.walk(staging)]
        for made in folders:
            _sync(made)
            made.chmod(_FOLDER_MODE)
        if folder.exists() or folder.is_symlink():
            _remove(folder)
        # A folder may only be renamed by whoever can write it.
        staging.chmod(0o700)
        _rename(staging, folder, archive)
        folder.chmod(_FOLDER_MODE)
        _sync(folder.parent)
    except BaseException:
        _remove(staging)
        raise


def _rename(staging: Path, folder: Path, archive: Archive) -> None:
    try:
        staging.rename(folder)
    except OSError:
        # Another node of this cache was faster.
        if not _is_intact(folder, archive):
            raise
        _remove(staging)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
        return
    for parent, _, _ in os.walk(path):
        Path(parent).chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)
