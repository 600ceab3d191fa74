"""The SQLite database of a store: what is written in one transaction, and what is read.

Each call makes as few steps through SQLite as it can, since Python gives its lock away at
every one and a busy event loop is slow to return it: rows go in and come out by the batch,
as one row of JSON and bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from .base import FlowCount, Gone, Stored
from .rows import META, NAMED, QOS, THESE, decode_meta, encode, gone
from .schema import connect, damage

__all__ = ["BATCH_FRAMES", "Batch", "Change", "Database", "Written"]

Change: TypeAlias = tuple[str, tuple[object, ...]]
"""A statement that belongs to mailboxes or notices, and its parameters."""

BATCH_FRAMES = 512
"""Frames in a batch, at most."""

_NUMBER = {qos: number for number, qos in enumerate(QOS)}
_COLUMNS = (
    "row, target, sender, qos, stranger, sequence, created_at, expires_at, size, message_id, data"
)
_PLACE = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_NOTHING = (None,) * 11  # Not allowed by the table, so that OR IGNORE passes it over.
_SIZES = (1, 4, 16, 64, 128, 256, BATCH_FRAMES)
_INSERT = {
    size: f"INSERT OR IGNORE INTO frames ({_COLUMNS}) VALUES {', '.join([_PLACE] * size)}"
    for size in _SIZES
}
_NODES_KEPT = 65_536


class Batch(msgspec.Struct, frozen=True):
    """What goes into one transaction, in this order."""

    removes: Sequence[int] = ()
    changes: Sequence[Change] = ()
    marks: Sequence[int] = ()
    frames: Sequence[Stored] = ()


class Written(msgspec.Struct, frozen=True):
    """What a transaction did.

    Attributes:
        stored: for each frame whether it is kept; it is a repeat otherwise.
        removed: rows that went, by target.
    """

    stored: Sequence[bool] = ()
    removed: Sequence[tuple[str, int]] = ()


_decode_rows = msgspec.json.Decoder(list[int]).decode
_decode_places = msgspec.json.Decoder(list[tuple[int, int]]).decode


class Database:
    """The one connection that writes. Every method may raise `sqlite3.Error`.

    Args:
        path: the file; see `schema.prepare`.
        synchronous: `full`, `normal` or `off`.
        first_row: the least row that a new frame may get.
        max_bytes: how far the file may grow.
    """

    def __init__(
        self, path: Path, synchronous: str, *, first_row: int = 1, max_bytes: int | None = None
    ) -> None:
        self._connection = connect(path, synchronous, max_bytes=max_bytes)
        try:
            self._load(first_row)
        except BaseException:
            self._connection.close()
            raise

    def write(self, batch: Batch) -> Written:
        """Do all of a batch, or nothing where it raises."""
        try:
            removed = self._change(batch)
            stored = self._insert(batch.frames) if batch.frames else ()
            if self._connection.in_transaction:
                self._connection.execute("COMMIT")
        except BaseException:
            self._rollback()
            raise
        return Written(stored, removed)

    def expire(self, now_ms: int, limit: int) -> Sequence[Gone]:
        """See `FrameStore.expire`."""
        return self._forget(
            "SELECT row FROM frames WHERE expires_at <= ? ORDER BY expires_at, row LIMIT ?",
            (now_ms, limit),
        )

    def evict_bulk(self, to: str | None, count: int) -> Sequence[Gone]:
        """See `FrameStore.evict_bulk`."""
        if to is None:
            query = "SELECT row FROM frames INDEXED BY bulk_by_row WHERE qos = 2 ORDER BY row"
            return self._forget(f"{query} LIMIT ?", (count,))
        query = "SELECT row FROM frames WHERE qos = 2 AND target = ? ORDER BY row LIMIT ?"
        return self._forget(query, (self._ids.get(to), count))

    def close(self) -> None:
        """Close it; the log goes into the file."""
        self._connection.close()

    def _load(self, first_row: int) -> None:
        """Read what has to be known of every frame; about a second for a million."""
        nodes: dict[int, str] = dict(self._all("SELECT id, name FROM nodes"))
        self.counts: list[FlowCount] = []
        self.rows: dict[str, list[int]] = {}
        used: set[int] = set()
        for target, sender, qos, stranger, frames, size, rows in self._all(
            "SELECT target, sender, qos, stranger, count(*), sum(size), group_concat(row) "
            "FROM frames INDEXED BY frames_by_expiry GROUP BY 1, 2, 3, 4"
        ):
            if target not in nodes or sender not in nodes:
                raise damage("frames of nodes that are not there")
            used.update((target, sender))
            flow = (nodes[target], nodes[sender], QOS[qos], bool(stranger))
            self.counts.append(FlowCount(*flow, frames, size))
            self.rows.setdefault(nodes[target], []).extend(map(int, rows.split(",")))
        (last,) = self._all("SELECT coalesce(max(row), 0) FROM frames")[0]
        self.next_row: int = max(first_row, last + 1)
        self._next_id = max(nodes, default=0) + 1
        self._nodes = {number: name for number, name in nodes.items() if number in used}
        self._ids = {name: number for number, name in self._nodes.items()}
        self._kept = max(_NODES_KEPT, 2 * len(used))
        unused = [number for number in nodes if number not in used]
        if unused:
            self._do(f"DELETE FROM nodes WHERE id {THESE}", encode(unused))

    def _change(self, batch: Batch) -> Sequence[tuple[str, int]]:
        if not (batch.changes or batch.marks or batch.removes):
            return ()
        self._connection.execute("BEGIN IMMEDIATE")
        removed = self._delete(encode(batch.removes)) if batch.removes else ()
        for statement, parameters in batch.changes:
            self._do(statement, *parameters)
        if batch.marks:
            self._do(
                f"INSERT OR IGNORE INTO sent SELECT row FROM frames WHERE row {THESE}",
                encode(batch.marks),
            )
        return removed

    def _delete(self, rows: str) -> Sequence[tuple[str, int]]:
        places = f"SELECT json_group_array(json_array(target, row)) FROM frames WHERE row {THESE}"
        removed = _decode_places(self._all(places, rows)[0][0])
        self._do(f"DELETE FROM frames WHERE row {THESE}", rows)
        self._do(f"DELETE FROM sent WHERE row {THESE}", rows)
        return [(self._nodes[target], row) for target, row in removed]

    def _insert(self, frames: Sequence[Stored]) -> Sequence[bool]:
        new = self._new_nodes(frames)
        ids = self._ids | new if new else self._ids
        first = row = self.next_row
        parameters: list[object] = []
        for frame in frames:
            data = frame.data
            parameters += (
                row,
                ids[frame.to],
                ids[frame.sender],
                _NUMBER[frame.qos],
                frame.stranger,
                frame.sequence,
                frame.created_at,
                frame.expires_at,
                len(data),
                frame.message_id,
                data,
            )
            row += 1
        size = next(size for size in _SIZES if size >= len(frames))
        parameters += _NOTHING * (size - len(frames))
        kept = self._connection.execute(_INSERT[size], parameters).rowcount
        stored = [True] * len(frames)
        if kept != len(frames):
            query = "SELECT json_group_array(row) FROM frames WHERE row >= ?"
            rows = set(_decode_rows(self._all(query, first)[0][0]))
            stored = [number in rows for number in range(first, row)]
        if self._connection.in_transaction:
            self._connection.execute("COMMIT")
        self.next_row = row
        self._know(new)
        for number, frame in enumerate(frames, first):
            if stored[number - first]:
                frame.row = number
        return stored

    def _new_nodes(self, frames: Sequence[Stored]) -> dict[str, int]:
        known = self._ids
        names = {name for frame in frames for name in (frame.to, frame.sender) if name not in known}
        if not names:
            return {}
        new = {name: number for number, name in enumerate(sorted(names), self._next_id)}
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN IMMEDIATE")
        self._do(
            "INSERT INTO nodes SELECT value, key FROM json_each(?)",
            msgspec.json.encode(new).decode(),
        )
        return new

    def _know(self, new: dict[str, int]) -> None:
        for name, number in new.items():
            self._ids[name] = number
            self._nodes[number] = name
        self._next_id += len(new)

    def _forget(self, query: str, parameters: tuple[object, ...]) -> Sequence[Gone]:
        (found,) = self._all(f"SELECT json_group_array(row) FROM ({query})", *parameters)[0]
        rows = _decode_rows(found)
        if not rows:
            return []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            (metas,) = self._all(f"SELECT {META} FROM {NAMED}", found)[0]
            self._delete(found)
            if len(self._ids) > self._kept:
                self._forget_nodes()
            self._connection.execute("COMMIT")
        except BaseException:
            self._rollback()
            raise
        ended = {meta.row: gone(meta) for meta in decode_meta(metas)}
        return [ended[row] for row in rows]

    def _forget_nodes(self) -> None:
        """Let go of nodes without frames, so that many short-lived ones do not add up."""
        frames = "frames INDEXED BY frames_by_expiry"
        query = f"SELECT target FROM {frames} UNION SELECT sender FROM {frames}"
        used = set(_decode_rows(self._all(f"SELECT json_group_array(target) FROM ({query})")[0][0]))
        unused = [number for number in self._nodes if number not in used]
        self._do(f"DELETE FROM nodes WHERE id {THESE}", encode(unused))
        for number in unused:
            del self._ids[self._nodes.pop(number)]
        self._kept = max(_NODES_KEPT, 2 * len(used))

    def _rollback(self) -> None:
        # A failed statement may have ended the transaction already.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _do(self, statement: str, *parameters: object) -> None:
        self._connection.execute(statement, parameters)

    def _all(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, parameters).fetchall()
