"""`plugins.lock`: which file an operator agreed to load under an id."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from ..errors import StateDirError
from ..files import write_private

__all__ = ["LOCK_NAME", "Locked", "read_lock", "write_lock"]

LOCK_NAME = "plugins.lock"
"""Its file name, in the state directory."""

_FILE_BYTES = 4 * 1024 * 1024

Sha256 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class Locked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be loaded under an id: this file and no other.

    Attributes:
        id: of the plugin.
        version: of the plugin.
        file: the wheel's name.
        sha256: of the wheel, hex.
    """

    id: str
    version: str
    file: str
    sha256: Sha256


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    lock: Annotated[int, msgspec.Meta(ge=1, le=1)]
    plugins: tuple[Locked, ...] = ()


def read_lock(state_dir: Path) -> dict[str, Locked]:
    """What is locked, by id; nothing where there is no lock.

    Raises:
        StateDirError: it cannot be read. A lock that was damaged must not let all pass.
    """
    path = state_dir / LOCK_NAME
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_BYTES + 1)
        if len(content) > _FILE_BYTES:
            raise StateDirError(f"{path}: larger than {_FILE_BYTES} bytes")
        found = msgspec.json.decode(content, type=_File)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StateDirError(f"{path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StateDirError(
            f"{path}: not a lock of plugins: {error}. Restore it, or remove it and add "
            "the plugins again"
        ) from error
    return {locked.id: locked for locked in found.plugins}


def write_lock(state_dir: Path, locked: Mapping[str, Locked]) -> None:
    """Replace the lock.

    Raises:
        StateDirError: it cannot be written; the old one is as it was.
    """
    path = state_dir / LOCK_NAME
    in_order = tuple(locked[plugin_id] for plugin_id in sorted(locked))
    content = msgspec.json.format(msgspec.json.encode(_File(lock=1, plugins=in_order)), indent=2)
    try:
        write_private(path, content + b"\n")
    except OSError as error:
        raise StateDirError(f"{path}: {error.strerror}") from error
