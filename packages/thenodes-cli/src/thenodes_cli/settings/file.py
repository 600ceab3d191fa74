"""The file on disk: read, made, and replaced whole, with its mode and its owner."""

from __future__ import annotations

import fcntl
import os
import shlex
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from thenodes_core import ConfigError

__all__ = ["create", "rewrite"]

_PRIVATE = 0o600


def create(path: Path, content: bytes, *, force: bool) -> None:
    """Make the file, 0600; one that is there is replaced only with `force`, and keeps its mode.

    Raises:
        ConfigError: it is there, or cannot be written.
    """
    if force and path.exists():
        rewrite(path, lambda _: content)
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    except FileExistsError as error:
        raise ConfigError(
            f"{path} is there already, and stays as it is; choose another name, or --force"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Replace the file by what `change` makes of it: readers see the old or the new, whole.

    A symbolic link goes on leading to it. Where `change` raises, or what it makes is the
    same, nothing is written.

    Raises:
        ConfigError: it cannot be read or written, or another program wrote it meanwhile.
    """
    target = Path(os.path.realpath(path))
    try:
        if not stat.S_ISREG(target.stat().st_mode):
            raise ConfigError(f"{path}: expected a regular file")
        with _Locked(target.parent, path):
            before = target.stat()
            old = target.read_bytes()
            new = change(old)
            if new != old:
                _replace(path, target, old, new, before)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: no such file; to make one: thenodes config init {shlex.quote(str(path))}"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


class _Locked:
    """Keeps other commands of ours from changing files of a folder at the same time."""

    def __init__(self, folder: Path, path: Path) -> None:
        self._folder = folder
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> None:
        self._descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise ConfigError(
                f"{self._path}: another command is changing it; try again in a moment"
            ) from error

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _replace(path: Path, target: Path, old: bytes, new: bytes, before: os.stat_result) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    staged = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            made = os.fstat(file.fileno())
            if (made.st_uid, made.st_gid) != (before.st_uid, before.st_gid):
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
            file.write(new)
            file.flush()
            os.fsync(file.fileno())
        now = target.stat()
        is_same = (now.st_ino, now.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        if not is_same or target.read_bytes() != old:
            raise ConfigError(
                f"{path}: another program wrote it meanwhile, and what it wrote stays; try again"
            )
        staged.replace(target)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
