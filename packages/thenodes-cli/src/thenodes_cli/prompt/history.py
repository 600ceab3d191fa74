"""What was typed before, in a file that only its owner reads."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from thenodes_core.files import write_private

__all__ = ["open_history"]

_FILE_BYTES = 256 * 1024
_LINE_CHARACTERS = 4096
_PRIVATE = 0o600


def open_history(path: Path | None) -> History:
    """The lines of a file, the newest 128 KiB once it is over 256; none is kept without a file.

    A file that cannot be used is done without.
    """
    if path is None:
        return InMemoryHistory()
    try:
        if not _make_private(path):
            return InMemoryHistory()
        _shorten(path)
    except OSError:
        return InMemoryHistory()
    return _Bounded(str(path))


def _make_private(path: Path) -> bool:
    """Make the file where it is missing, and 0600; False where it is none, as a pipe or /dev/null.

    Raises:
        OSError: it cannot be used.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK, _PRIVATE)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        os.fchmod(descriptor, _PRIVATE)
        return True
    finally:
        os.close(descriptor)


def _shorten(path: Path) -> None:
    if path.stat().st_size <= _FILE_BYTES:
        return
    with path.open("rb") as file:
        file.seek(-_FILE_BYTES // 2, os.SEEK_END)
        kept = file.read(_FILE_BYTES)
    # An entry begins with the comment that says when it was typed.
    write_private(path, kept[kept.find(b"\n\n#") + 1 :])


class _Bounded(FileHistory):
    def store_string(self, string: str) -> None:
        """Keep a line, unless it is too long to be typed again, or the disk is full."""
        if len(string) <= _LINE_CHARACTERS:
            with contextlib.suppress(OSError):
                super().store_string(string)
