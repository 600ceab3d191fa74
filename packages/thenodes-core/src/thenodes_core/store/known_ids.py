"""`known_ids.json`: which key an id that somebody chose, or an address, was met with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from ..errors import StateDirError
from ..files import set_aside, write_private

__all__ = ["KNOWN_IDS_FILE", "KnownIds"]

KNOWN_IDS_FILE = "known_ids.json"

_MOST_ENTRIES = 4096
_UNSEEN_SECONDS = 30 * 86_400.0
_FILE_BYTES = 8 * 1024 * 1024

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
Fingerprint = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class _Entry(msgspec.Struct):
    key: Fingerprint
    seen: float
    trusted: bool = False


class _Tables(msgspec.Struct, forbid_unknown_fields=True):
    ids: dict[Name, _Entry] = {}
    addresses: dict[Name, _Entry] = {}


_decode = msgspec.json.Decoder(dict[str, _Tables]).decode


class KnownIds:
    """Binds ids and addresses to keys, in one realm; those of other realms are kept as they are.

    Ids that derive from their key need no entry. Each of the two tables holds 4096
    entries: where one is full, entries of keys that are not trusted and were not seen
    for 30 days go, and if there are none, nothing new is bound.

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

        A damaged file is set aside: nothing of it is lost, and nothing of it counts.

        Raises:
            StateDirError: it can be neither read nor set aside.
        """
        if self._path is None:
            return ""
        try:
            with self._path.open("rb") as file:
                content = file.read(_FILE_BYTES + 1)
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise StateDirError(f"{self._path}: cannot be read: {error.strerror}") from error
        try:
            if len(content) > _FILE_BYTES:
                raise msgspec.DecodeError(f"over {_FILE_BYTES} bytes")
            self._realms = _decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            kept = set_aside(self._path)
            return (
                f"{self._path}: damaged ({error}); it is kept as {kept}, and ids are bound to "
                "the keys they come with from now on"
            )
        self._own = self._realms.pop(self._realm, _Tables())
        return ""

    def fingerprint_of(self, node_id: str) -> str | None:
        """The key that an id is bound to."""
        entry = self._own.ids.get(node_id)
        return None if entry is None else entry.key

    def fingerprint_at(self, address: str) -> str | None:
        """The key that an address was met with."""
        entry = self._own.addresses.get(address)
        return None if entry is None else entry.key

    def bind(self, node_id: str, key: str, now: float, *, trusted: bool = False) -> bool:
        """Bind an id to a key, or note that it was seen; False where there is no room for it.

        Args:
            node_id: one that somebody chose.
            key: fingerprint of the key that it came with. An id that is bound to
                another is left as it is.
            now: Unix seconds.
            trusted: whether the operator trusts the key, and the entry stays.
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
        content = msgspec.json.encode({**self._realms, self._realm: self._own})
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
            if len(table) >= self._max_entries and not self._make_room(table, now):
                return False
            table[name] = _Entry(key, now, trusted)
        elif entry.key == key:
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
