"""The state directory: one node at a time, 0700."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from thenodes_plugin_api import NodeId

from ..errors import StateDirError, StateDirInUse

__all__ = ["LOCK_FILE", "StateDir"]

LOCK_FILE = "lock"


class StateDir:
    """Holds a node's state directory, locked, for as long as the context lasts.

    The lock is the kernel's (flock), so it ends with the process however that
    ends. The file's content, the holder's pid, is for people and `status`.

    Args:
        path: the directory, created where missing; None for a temporary one
            that is removed at the end.
    """

    def __init__(self, path: Path | None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="thenodes-") if path is None else None
        self.path = Path(self._temporary.name) if self._temporary else Path(path or ".").absolute()
        self._lock: int | None = None

    @property
    def is_temporary(self) -> bool:
        """True where nothing of it will remain."""
        return self._temporary is not None

    def read_node_id(self, name: str) -> str | None:
        """The node id that a file of it holds, as the reference keeps it; None without the file.

        Raises:
            StateDirError: unreadable, or no node id.
        """
        path = self.path / name
        try:
            with path.open("rb") as file:
                content = file.read(1024)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateDirError(f"{path}: {error.strerror}") from error
        try:
            return msgspec.convert(content.decode().strip(), NodeId)
        except (msgspec.ValidationError, UnicodeDecodeError) as error:
            raise StateDirError(
                f"{path}: not a node id (1 to 128 of A-Za-z0-9._-); remove it, or set node.id"
            ) from error

    def subdirectory(self, *names: str) -> Path:
        """Return a directory in it, created 0700 where missing."""
        path = self.path
        for name in names:
            path = path / name
            _make(path)
        return path

    def __enter__(self) -> Self:
        """Create and lock it.

        Raises:
            StateDirInUse: another node holds it.
            StateDirError: it cannot be created or written.
        """
        _make(self.path)
        path = self.path / LOCK_FILE
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateDirError(f"{path}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = _read_pid(lock)
            os.close(lock)
            who = f"process {pid}" if pid else "another process"
            raise StateDirInUse(
                f"{self.path} is in use by the node of {who}; "
                "stop that node, or give this one another --state-dir",
                pid,
            ) from error
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            os.close(lock)
            raise StateDirError(f"{path}: {error.strerror}") from error
        self._lock = lock
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None
        if self._temporary is not None:
            self._temporary.cleanup()


def _make(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = path.stat().st_mode
    except OSError as error:
        raise StateDirError(f"{path}: cannot be created: {error.strerror}") from error
    except ValueError as error:
        raise StateDirError(f"{str(path)!r}: not a path: {error}") from error
    if mode & 0o022:
        raise StateDirError(
            f"{path}: others can write to this directory (mode {mode & 0o777:04o}), and so replace "
            f"the node's key. If nobody did: chmod go-w {path}"
        )


def _read_pid(lock: int) -> int | None:
    text = os.pread(lock, 32, 0).decode(errors="replace").strip()
    return int(text) if text.isdecimal() else None
