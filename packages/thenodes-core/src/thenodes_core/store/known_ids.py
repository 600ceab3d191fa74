"""`known_ids.json`: which key an id that somebody chose, or an address, was met with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from ..errors import StateDirError
from ..files import set_aside, write_private
from ..text import printable

__all__ = ["KNOWN_IDS_FILE", "KnownIds"]

KNOWN_IDS_FILE = "known_ids.json"

_MOST_ENTRIES = 4096
_UNSEEN_SECONDS = 30 * 86_400.0
# How exactly it is known when a key was seen: not every session is worth a writing.
_SEEN_SECONDS = 3600.0
_FILE_BYTES = 64 * 1024 * 1024
_OTHER_REALMS = 7
_NAME_CHARACTERS = 512

Fingerprint = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class _Entry(msgspec.Struct):
    key: Fingerprint
    seen: float
    trusted: bool = False


class _Tables(msgspec.Struct):
    ids: dict[str, _Entry] = {}
    addresses: dict[str, _Entry] = {}

    @property
    def last_seen(self) -> float:
        """When anything of this realm was seen last."""
        entries = (*self.ids.values(), *self.addresses.values())
        return max((entry.seen for entry in entries), default=0.0)


class _RawTables(msgspec.Struct):
    ids: dict[str, msgspec.Raw] = {}
    addresses: dict[str, msgspec.Raw] = {}


_decode = msgspec.json.Decoder(dict[str, _RawTables]).decode
_decode_entry = msgspec.json.Decoder(_Entry).decode


class KnownIds:
    """Binds ids and addresses to keys, in one realm; those of other realms are kept as they are.

    Ids that derive from their key need no entry. Each of the two tables holds 4096
    entries: where one is full, entries of keys that are not trusted and were not seen
    for 30 days go, and if there are none, nothing new is bound. Of other realms, the
    seven that were used last are kept.

    Args:
        path: the file; nothing is kept where None.
        realm_code: the realm.
        max_entries: of each table.
    """

    def __init__(
        self, path: Path | None, realm_code: str, *, max_entries: int = _MOST_ENTRIES
    ) -> None:
        self._path = path
        self._realm = realm_code
        self._max_entries = max_entries
        self._realms: dict[str, _Tables] = {}
        self._own = _Tables()
        self._changed = False

    def load(self) -> str:
        """Read the file; returns what is wrong with it, empty where nothing is.

        A damaged file is set aside, so that nothing of it is lost; what can be read counts.

        Raises:
            StateDirError: it can be neither read nor set aside.
        """
        if self._path is None:
            return ""
        try:
            if self._path.exists() and not self._path.is_file():
                raise StateDirError(f"{self._path}: cannot be read: expected a regular file")
            with self._path.open("rb") as file:
                content = file.read(_FILE_BYTES + 1)
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise StateDirError(f"{self._path}: cannot be read: {error.strerror}") from error
        self._realms, problem = _parse(content)
        self._own = self._realms.pop(self._realm, _Tables())
        if not problem:
            return ""
        self._changed = True
        return (
            f"{self._path}: damaged ({problem}); it is kept as {set_aside(self._path)}, and ids "
            "that are lost are bound to the keys they come with from now on"
        )

    def fingerprint_of(self, node_id: str) -> str | None:
        """The key that an id is bound to."""
        entry = self._own.ids.get(node_id)
        return None if entry is None else entry.key

    def fingerprint_at(self, address: str) -> str | None:
        """The key that an address was met with."""
        entry = self._own.addresses.get(address)
        return None if entry is None else entry.key

    def bind(self, node_id: str, key: str, now: float, *, trusted: bool = False) -> bool:
        """Bind an id to a key, or note that it was seen.

        Args:
            node_id: one that somebody chose.
            key: fingerprint of the key that it came with.
            now: Unix seconds.
            trusted: whether the operator trusts the key, and the entry stays.

        Returns:
            False where it is bound to another key, there is no room for it, or it is
            none that can be written (over 512 characters, unprintable ones).
        """
        return self._bind(self._own.ids, node_id, key, now, trusted=trusted)

    def bind_address(self, address: str, key: str, now: float) -> bool:
        """As `bind`, for an address of the operator's; a changed key is taken."""
        entry = self._own.addresses.get(address)
        if entry is not None and entry.key != key:
            del self._own.addresses[address]
        return self._bind(self._own.addresses, address, key, now, trusted=False)

    def forget(self, name: str) -> bool:
        """Forget an id, or an address; False where neither is known."""
        known = [table for table in (self._own.ids, self._own.addresses) if name in table]
        for table in known:
            del table[name]
        self._changed = self._changed or bool(known)
        return bool(known)

    def entries(self) -> Mapping[str, str]:
        """Every id and address of this realm, with its key's fingerprint."""
        tables = (self._own.ids, self._own.addresses)
        return {name: table[name].key for table in tables for name in sorted(table)}

    def save(self) -> None:
        """Write what changed since the last time.

        Raises:
            StateDirError: it cannot be written; the file is as it was.
        """
        if not self._changed or self._path is None:
            return
        others = sorted(self._realms.items(), key=lambda item: item[1].last_seen, reverse=True)
        content = msgspec.json.encode({**dict(others[:_OTHER_REALMS]), self._realm: self._own})
        try:
            write_private(self._path, msgspec.json.format(content, indent=1))
        except OSError as error:
            raise StateDirError(f"{self._path}: cannot be written: {error.strerror}") from error
        self._changed = False

    def _bind(
        self, table: dict[str, _Entry], name: str, key: str, now: float, *, trusted: bool
    ) -> bool:
        entry = table.get(name)
        if entry is None:
            if not _is_name(name):
                return False
            if len(table) >= self._max_entries and not self._make_room(table, now):
                return False
            table[name] = _Entry(key, now, trusted)
        elif entry.key != key:
            return False
        elif abs(now - entry.seen) < _SEEN_SECONDS and entry.trusted == trusted:
            return True
        else:
            entry.seen, entry.trusted = now, trusted
        self._changed = True
        return True

    def _make_room(self, table: dict[str, _Entry], now: float) -> bool:
        old = [
            name
            for name, entry in table.items()
            if not entry.trusted and now - entry.seen > _UNSEEN_SECONDS
        ]
        for name in old:
            del table[name]
        return bool(old)


def _parse(content: bytes) -> tuple[dict[str, _Tables], str]:
    """The tables of every realm, as far as they can be read, and what is wrong."""
    if len(content) > _FILE_BYTES:
        return {}, f"over {_FILE_BYTES} bytes"
    try:
        raw = _decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return {}, f"not a table of realms: {error}"
    problems: list[str] = []
    realms = {
        realm: _Tables(_entries(tables.ids, problems), _entries(tables.addresses, problems))
        for realm, tables in raw.items()
    }
    return realms, f"{len(problems)} entries are bad, first {problems[0]}" if problems else ""


def _entries(raw: Mapping[str, msgspec.Raw], problems: list[str]) -> dict[str, _Entry]:
    entries = {}
    for name, content in raw.items():
        try:
            entry = _decode_entry(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            problems.append(f"{printable(name, most=80)}: {error}")
            continue
        if _is_name(name):
            entries[name] = entry
        else:
            problems.append(f"{printable(name, most=80)}: not an id or address")
    return entries


def _is_name(name: str) -> bool:
    return 0 < len(name) <= _NAME_CHARACTERS and name.isprintable()
