"""`received.sqlite3`: the ids of reliable messages that this node's plugins had.

What is in here was acknowledged, or may be: it is not given to a plugin again. An id is
kept until its message has expired, and an hour longer, by which a clock may go back. The
ids themselves are in memory, too, by when they expire; the file is for the next process.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from ..errors import StateDirError
from ..files import set_aside

__all__ = ["RECEIVED_FILE", "Claim", "ReceivedIds"]

RECEIVED_FILE = "received.sqlite3"

_MOST_IDS = 1_000_000
_SHARE = 4
_BATCH = 512
# Ids that expire within the same ten minutes are kept, and forgotten, together.
_SPAN_MS = 600_000
_GRACE_MS = 3_600_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS received (
    span INTEGER NOT NULL, sender TEXT NOT NULL, id BLOB NOT NULL,
    PRIMARY KEY (span, sender, id)
) WITHOUT ROWID
"""

_Row: TypeAlias = tuple[int, str, bytes]
_Done: TypeAlias = Callable[[bool], None]


class Claim(enum.Enum):
    """What it means to claim an id."""

    NEW = "new"
    KNOWN = "known"
    FULL = "full"


class ReceivedIds:
    """Remembers ids, at most 1,000,000, a quarter of them of one sender.

    Whoever claims an id either keeps or releases it. Use as a context manager: on leaving
    it what waits is written, and nobody is told.

    Args:
        path: the file, made when the first id is kept.
        now_ms: Unix milliseconds.
        problem: told, in words, what is wrong with the file; of failures to write only
            the first in a row.
        most_ids: how many are remembered.
    """

    def __init__(
        self,
        path: Path,
        now_ms: Callable[[], int],
        problem: Callable[[str], None],
        *,
        most_ids: int = _MOST_IDS,
    ) -> None:
        self._path = path
        self._now_ms = now_ms
        self._problem = problem
        self._most_ids = most_ids
        self._spans: dict[int, dict[str, set[bytes]]] = {}
        self._count = 0
        self._counts: Counter[str] = Counter()
        self._waiting: list[tuple[_Row, _Done]] = []
        self._writing = False
        self._failing = False
        self._first_kept = 0
        self._database: sqlite3.Connection | None = None
        self._writer = ThreadPoolExecutor(1, "received ids")

    def __enter__(self) -> Self:
        """Read the file. A damaged one is set aside, which is told.

        Raises:
            StateDirError: it can be neither read nor set aside.
        """
        if not self._path.exists():
            return self
        try:
            self._load()
        except (sqlite3.OperationalError, OSError) as error:
            self._close()
            raise StateDirError(
                f"{self._path}: cannot be read: {error}; move it away to do without: reliable "
                "messages that plugins had before may then come to them once more"
            ) from error
        except sqlite3.DatabaseError as error:
            self._close()
            self._spans.clear()
            self._counts.clear()
            self._count = 0
            aside = set_aside(self._path)
            for suffix in ("-wal", "-shm"):
                with contextlib.suppress(OSError):
                    Path(f"{self._path}{suffix}").unlink(missing_ok=True)
            self._problem(
                f"{self._path}: damaged ({error}); it is kept as {aside}, and reliable messages "
                "that plugins had before may come to them once more"
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.shutdown()
        rows = [row for row, _ in self._waiting]
        self._waiting.clear()
        if rows and (failure := self._write(rows, 0)):
            self._problem(failure)
        self._close()

    def __len__(self) -> int:
        return self._count

    def claim(self, sender: str, message_id: bytes, expires_at: int) -> Claim:
        """Take an id for a message that is about to be handled.

        Args:
            sender: who sent it, proven.
            message_id: which it is.
            expires_at: Unix milliseconds; of one message always the same.
        """
        span = expires_at // _SPAN_MS
        senders = self._spans.get(span)
        ids = None if senders is None else senders.get(sender)
        if ids is not None and message_id in ids:
            return Claim.KNOWN
        if not self._has_room(sender):
            self._forget()
            if not self._has_room(sender):
                return Claim.FULL
        if ids is None:
            ids = self._spans.setdefault(span, {}).setdefault(sender, set())
        ids.add(message_id)
        self._count += 1
        self._counts[sender] += 1
        return Claim.NEW

    def release(self, sender: str, message_id: bytes, expires_at: int) -> None:
        """Give an id back: its message was not handled, and may come again."""
        span = expires_at // _SPAN_MS
        senders = self._spans.get(span, {})
        ids = senders.get(sender)
        if ids is None or message_id not in ids:
            return
        ids.remove(message_id)
        self._count -= 1
        self._uncount(sender, 1)
        if not ids:
            # Senders and spans are not counted, and must not be left behind.
            del senders[sender]
        if not senders:
            del self._spans[span]

    def keep(self, sender: str, message_id: bytes, expires_at: int, done: _Done) -> None:
        """Write a claimed id; `done` is called soon, with whether it is on disk.

        Whatever waits is written together. What cannot be written stays claimed.
        """
        self._waiting.append(((expires_at // _SPAN_MS, sender, message_id), done))
        if not self._writing:
            self._writing = True
            # What else comes within this turn of the event loop goes along.
            asyncio.get_running_loop().call_soon(self._write_waiting)

    def _write_waiting(self) -> None:
        batch = self._waiting[:_BATCH]
        del self._waiting[:_BATCH]
        self._writing = bool(batch)
        if not batch:
            return
        self._forget()
        rows = [row for row, _ in batch]
        try:
            future = asyncio.get_running_loop().run_in_executor(
                self._writer, self._write, rows, self._first_kept
            )
        except RuntimeError:
            self._waiting[:0] = batch  # It is closed, and what waits is written there.
            return
        future.add_done_callback(lambda written: self._written(batch, written))

    def _written(
        self, batch: Sequence[tuple[_Row, _Done]], written: asyncio.Future[str | None]
    ) -> None:
        if written.cancelled():
            return
        failure = written.result()
        if failure and not self._failing:
            self._problem(failure)
        self._failing = failure is not None
        for _, done in batch:
            done(failure is None)
        self._write_waiting()

    def _write(self, rows: Sequence[_Row], first_kept: int) -> str | None:
        """Write in one transaction; returns what went wrong. In the writer's thread."""
        try:
            database = self._open()
            with database:
                database.execute("DELETE FROM received WHERE span < ?", (first_kept,))
                database.executemany("INSERT OR IGNORE INTO received VALUES (?, ?, ?)", rows)
        except (sqlite3.Error, OSError) as error:
            return (
                f"{self._path}: cannot be written: {error}; reliable messages through relays "
                "are not acknowledged until it can, and come again"
            )
        return None

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            if not self._path.exists():
                self._path.touch(0o600)
            # One thread at a time uses it: the writer's, and this one before and after that.
            database = sqlite3.connect(self._path, check_same_thread=False)
            self._database = database
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute(_SCHEMA)
        return self._database

    def _load(self) -> None:
        database = self._open()
        first = (self._now_ms() - _GRACE_MS) // _SPAN_MS
        rows = database.execute("SELECT span, sender, id FROM received WHERE span >= ?", (first,))
        for span, sender, message_id in rows:
            if (type(span), type(sender), type(message_id)) != (int, str, bytes):
                raise sqlite3.DatabaseError("a row of another form")
            self._spans.setdefault(span, {}).setdefault(sender, set()).add(message_id)
            self._count += 1
            self._counts[sender] += 1

    def _close(self) -> None:
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    def _has_room(self, sender: str) -> bool:
        return (
            self._count < self._most_ids and self._counts.get(sender, 0) < self._most_ids // _SHARE
        )

    def _forget(self) -> None:
        """Forget what expired over an hour ago."""
        first = (self._now_ms() - _GRACE_MS) // _SPAN_MS
        if first <= self._first_kept:
            return
        self._first_kept = first
        for span in [span for span in self._spans if span < first]:
            for sender, ids in self._spans.pop(span).items():
                self._count -= len(ids)
                self._uncount(sender, len(ids))

    def _uncount(self, sender: str, count: int) -> None:
        self._counts[sender] -= count
        if not self._counts[sender]:
            del self._counts[sender]
