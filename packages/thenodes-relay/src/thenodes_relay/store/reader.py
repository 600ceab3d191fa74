"""The connection that reads, so that no read waits for a commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from .base import Mailbox, Notice, Stored
from .rows import META, NAMED, decode_meta, encode, stored

__all__ = ["Reader"]

_PIECE = 128  # Frames that are read in one step.
_ENOUGH_BYTES = 4 * 1024 * 1024


class Reader:
    """A connection that reads while the other one writes. Its methods may raise `sqlite3.Error`.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA query_only = on")

    def frames(self, rows: Sequence[int]) -> Sequence[Stored]:
        """The frames of these rows that are there, in order; the first ones, where they are big."""
        frames: list[Stored] = []
        size = 0
        for start in range(0, len(rows), _PIECE):
            piece = self._piece(rows[start : start + _PIECE])
            frames += piece
            size += sum(len(frame.data) for frame in piece)
            if size >= _ENOUGH_BYTES:
                break
        return frames

    def mailboxes(self) -> Sequence[Mailbox]:
        """Every mailbox."""
        query = "SELECT node, fingerprint, card, store, stranger, expires_at FROM mailboxes"
        return [
            Mailbox(
                node_id=node,
                fingerprint=fingerprint,
                card=card,
                store=bool(store),
                stranger=bool(stranger),
                expires_at=expires_at,
            )
            for node, fingerprint, card, store, stranger, expires_at in self._connection.execute(
                query
            )
        ]

    def notices(self, node_id: str) -> Sequence[Notice]:
        """A node's notices, the oldest first."""
        query = "SELECT row, data FROM notices WHERE node = ? ORDER BY row"
        return [Notice(*row) for row in self._connection.execute(query, (node_id,))]

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def _piece(self, rows: Sequence[int]) -> Sequence[Stored]:
        query = f"SELECT {META}, CAST(group_concat(f.data, '') AS BLOB) FROM {NAMED}"
        metas, data = self._connection.execute(query, (encode(rows),)).fetchall()[0]
        frames = []
        start = 0
        for meta in decode_meta(metas):
            end = start + meta.size
            frames.append(stored(meta, data[start:end]))
            start = end
        # SQLite promises that both columns have one order, not which it is.
        frames.sort(key=lambda frame: frame.row)
        return frames
