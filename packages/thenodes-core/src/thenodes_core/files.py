"""Files that only their owner may read, replaced whole or not at all; damaged ones are kept."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import StateDirError

__all__ = ["set_aside", "write_private"]

_SET_ASIDE = 100


def write_private(path: Path, content: bytes) -> None:
    """Replace a file by `content`, mode 0600: a reader sees the old or the new, whole.

    Raises:
        OSError: it cannot be written; the old file is as it was.
    """
    staged = path.with_name(f"{path.name}.new")
    staged.unlink(missing_ok=True)
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    except OSError:
        staged.unlink(missing_ok=True)
        raise


def set_aside(path: Path) -> Path:
    """Rename a damaged file to `<name>.damaged-<n>`; returns its new path.

    Of more than 99, the last is replaced.

    Raises:
        StateDirError: it cannot be renamed.
    """
    for number in range(1, _SET_ASIDE):
        aside = path.with_name(f"{path.name}.damaged-{number}")
        if not aside.exists():
            break
    try:
        return path.rename(aside)
    except OSError as error:
        text = f"{path}: damaged, and cannot be set aside: {error.strerror}"
        raise StateDirError(text) from error
