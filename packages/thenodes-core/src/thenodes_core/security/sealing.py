"""The node's sealing keys, to which messages through relays are sealed, and what they renew.

`sealing.pem` is the current one. When it is 30 days old it becomes
`sealing-<unix seconds>.pem`, named by when it was retired, and is kept for 31 days: as long
as a card that names it may be used. `card.json` holds when the current key was made and
when the last identity card was issued.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ..errors import StateDirError
from ..files import set_aside, write_private
from .identity import read_private

__all__ = ["CARD_FILE", "KEPT_SECONDS", "RENEWED_SECONDS", "SEALING_FILE", "SealingKeys"]

SEALING_FILE = "sealing.pem"
CARD_FILE = "card.json"

_DAY = 24 * 60 * 60
RENEWED_SECONDS = 30 * _DAY
KEPT_SECONDS = 31 * _DAY

_RETIRED_FILE = re.compile(r"sealing-([0-9]{1,12})\.pem")
_FILE_BYTES = 4096
_LAST_SECOND = 253_402_300_799  # The end of the year 9999.


class _State(msgspec.Struct, frozen=True):
    born: Annotated[float, msgspec.Meta(ge=0, le=_LAST_SECOND)]
    issued_at: Annotated[int, msgspec.Meta(ge=0, le=_LAST_SECOND * 1000)] = 0


class SealingKeys:
    """The current sealing key and its predecessors; made by `load`.

    Attributes:
        problem: what was wrong with the files, for people; empty where nothing was.
    """

    def __init__(
        self,
        state_dir: Path,
        current: X25519PrivateKey,
        retired: dict[int, X25519PrivateKey],
        state: _State,
        problem: str,
    ) -> None:
        self._state_dir = state_dir
        self._current = current
        self._retired = retired  # By when it was retired, Unix seconds.
        self._state = state
        self.problem = problem

    @classmethod
    def load(cls, state_dir: Path, now: float) -> SealingKeys:
        """Read the keys, make the first one, and renew it if that is due.

        A damaged `card.json` is set aside; a predecessor that is damaged, or that others
        can read, is passed over. `problem` tells both.

        Args:
            state_dir: where the files are.
            now: Unix seconds.

        Raises:
            StateDirError: a file cannot be read or written, or the current key is
                damaged or readable by others.
        """
        path = state_dir / SEALING_FILE
        current = _read_key(path)
        state, problem = _read_state(state_dir / CARD_FILE)
        if current is None:
            current = X25519PrivateKey.generate()
            _write_key(path, current)
            state = _State(now, state.issued_at if state else 0)
            _write_state(state_dir, state)
        elif state is None:
            # Its age is unknown. To count from now renews it late, never early.
            state = _State(now)
            _write_state(state_dir, state)
        retired, problems = _read_retired(state_dir)
        # A renewal that was cut short leaves the current key among them.
        retired = {at: key for at, key in retired.items() if _raw(key) != _raw(current)}
        told = "; ".join(filter(None, [problem, *problems]))
        keys = cls(state_dir, current, retired, state, told)
        keys.renew_if_due(now)
        return keys

    @property
    def public_key(self) -> bytes:
        """The current one, 32 bytes."""
        return _raw(self._current)

    @property
    def private_keys(self) -> Sequence[X25519PrivateKey]:
        """The current one, then its predecessors, the last retired first.

        Those that were kept long enough go with `renew_if_due`.
        """
        return (self._current, *(self._retired[at] for at in sorted(self._retired, reverse=True)))

    def renew_if_due(self, now: float) -> bool:
        """Make a new key where the current one is 30 days old; remove those kept for 31.

        A key that seems to be of tomorrow or later was made under a clock that was
        wrong, and is renewed as well.

        Args:
            now: Unix seconds.

        Returns:
            Whether there is a new key; cards have to name it.

        Raises:
            StateDirError: a file cannot be written or removed; the current key stays.
        """
        due = not now - RENEWED_SECONDS < self._state.born < now + _DAY
        if due:
            self._renew(now)
        for retired_at in [at for at in self._retired if now - at > KEPT_SECONDS]:
            _remove(self._retired_path(retired_at))
            del self._retired[retired_at]
        return due

    def next_issued_at(self, now_ms: int) -> int:
        """The date of the next card: now, or just after the last one's; it is remembered.

        Where the last one's is over a day ahead, its clock was wrong and no peer took
        that card, nor would any take a later one: then it is now.

        Args:
            now_ms: Unix milliseconds.

        Raises:
            StateDirError: it cannot be written.
        """
        following = self._state.issued_at + 1
        issued_at = now_ms if following > now_ms + _DAY * 1000 else max(now_ms, following)
        self._keep(_State(self._state.born, issued_at))
        return issued_at

    def _renew(self, now: float) -> None:
        # In this order: whatever is cut short, no key that a card names is lost.
        retired_at = math.floor(now)
        while self._retired_path(retired_at).exists():
            retired_at += 1
        _write_key(self._retired_path(retired_at), self._current)
        self._retired[retired_at] = self._current
        successor = X25519PrivateKey.generate()
        _write_key(self._state_dir / SEALING_FILE, successor)
        self._current = successor
        self._keep(_State(now, self._state.issued_at))

    def _keep(self, state: _State) -> None:
        _write_state(self._state_dir, state)
        self._state = state

    def _retired_path(self, retired_at: int) -> Path:
        return self._state_dir / f"sealing-{retired_at}.pem"


def _raw(key: X25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def _read_key(path: Path) -> X25519PrivateKey | None:
    content = read_private(path)
    if content is None:
        return None
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, X25519PrivateKey):
        raise StateDirError(
            f"{path}: not an unencrypted X25519 key in PEM. Restore it from a backup, or move "
            "it away to get a new one; messages sealed to the old one are lost then."
        )
    return key


def _read_retired(state_dir: Path) -> tuple[dict[int, X25519PrivateKey], list[str]]:
    try:
        names = sorted(path.name for path in state_dir.iterdir())
    except OSError as error:
        raise StateDirError(f"{state_dir}: cannot be read: {error.strerror}") from error
    keys: dict[int, X25519PrivateKey] = {}
    problems: list[str] = []
    for name in names:
        match = _RETIRED_FILE.fullmatch(name)
        if match is None or name != f"sealing-{int(match[1])}.pem":
            continue
        try:
            key = _read_key(state_dir / name)
        except StateDirError as error:
            problems.append(str(error))
            continue
        if key is not None:
            keys[int(match[1])] = key
    return keys, problems


def _write_key(path: Path, key: X25519PrivateKey) -> None:
    content = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        write_private(path, content)
    except OSError as error:
        raise StateDirError(f"{path}: cannot write the sealing key: {error.strerror}") from error


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StateDirError(f"{path}: cannot be removed: {error.strerror}") from error


def _read_state(path: Path) -> tuple[_State | None, str]:
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_BYTES + 1)
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        raise StateDirError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        if len(content) > _FILE_BYTES:
            raise msgspec.DecodeError(f"over {_FILE_BYTES} bytes")
        return msgspec.json.decode(content, type=_State), ""
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        aside = set_aside(path)
        return None, f"{path}: not the state of a card: {error}; the file is kept as {aside}"


def _write_state(state_dir: Path, state: _State) -> None:
    path = state_dir / CARD_FILE
    try:
        write_private(path, msgspec.json.encode(state))
    except OSError as error:
        raise StateDirError(f"{path}: cannot be written: {error.strerror}") from error
