"""The store of a relay on one machine: SQLite, durable, written by a thread of its own."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from .base import (
    NOTICES_PER_NODE,
    Append,
    Appended,
    FlowCount,
    Gone,
    Mailbox,
    Notice,
    Stored,
    StoreProblem,
    Told,
)
from .database import Change, Database
from .errors import StoreError
from .places import Places
from .reader import Reader
from .rows import THESE, encode
from .schema import damage, is_damage, lock
from .writer import Action, Report, Work, Writer

__all__ = ["DURABILITY", "SqliteStore"]

DURABILITY = {
    "full": "full: a frame that was acknowledged as stored is on the disk; neither a kill of the "
    "relay nor a power failure loses it",
    "normal": "normal: a kill of the relay loses nothing; a power failure or a crash of the "
    "operating system may lose the frames that were acknowledged as stored in the last seconds",
    "off": "off: a kill of the relay loses nothing; a power failure or a crash of the operating "
    "system may lose frames that were acknowledged as stored, or damage the whole store, which "
    "is then set aside",
}
"""What can be lost with each value of `synchronous`."""

_WAITING_FRAMES = 65_536
_WAITING_BYTES = 64 * 1024 * 1024
_REPEAT_SECONDS = 60.0  # At most so often it is said that it cannot be read.

_CLOSED = "the store is closed"

_T = TypeVar("_T")


class SqliteStore:
    """Keeps frames in a SQLite database.

    What waits is written in one transaction of at most 512 frames, as soon as the one before
    is on the disk: a frame never waits for others to come. Reads have a connection and a
    thread of their own, so they wait for no commit and no queue; what they find that was
    removed meanwhile is left out.

    At most 65,536 frames and 64 MiB wait to be written; more are told as FULL. Nobody waits.

    Use `open`, and close it: the threads end with it.
    """

    def __init__(
        self, path: Path, synchronous: str, on_problem: Callable[[StoreProblem], None]
    ) -> None:
        self._path = path
        self._on_problem = on_problem
        self._loop = asyncio.get_running_loop()
        self._work = Work()
        self._places = Places()
        self._leaving: set[int] = set()
        self._counts: Sequence[FlowCount] = ()
        self._waiting_bytes = 0
        self._generation = 0
        self._told_at: float | None = None
        self._reader: Reader | None = None
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="relay-store-reader")
        self._ended = asyncio.Event()
        self._thread: threading.Thread | None = None
        self._lock = -1
        self._is_closed = False
        self.waiting_frames = 0
        self.durability = DURABILITY[synchronous]

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        on_problem: Callable[[StoreProblem], None],
        synchronous: str = "full",
        clock: Callable[[], float] = time.time,
        max_bytes: int | None = None,
    ) -> Self:
        """Open a store, or make it. Its directory is made where it is missing, 0700.

        Args:
            path: the file; `-wal`, `-shm` and `.lock` stand beside it.
            on_problem: told on the loop what the operator has to know, during `open` too.
            synchronous: of `DURABILITY`.
            clock: the wall clock in Unix seconds, for the name of a damaged file.
            max_bytes: how far the file may grow; as far as the disk has room where None.

        Raises:
            StoreError: it cannot be used; it was not touched.
            ValueError: `synchronous` is none of those.
        """
        if synchronous not in DURABILITY:
            raise ValueError(f"synchronous {synchronous!r}: expected {', '.join(DURABILITY)}")
        store = cls(path, synchronous, on_problem)

        def open_database(first_row: int) -> Database:
            return Database(path, synchronous, first_row=first_row, max_bytes=max_bytes)

        writer = Writer(path, open_database, store._work, store._report, clock)
        try:
            problem = await store._loop.run_in_executor(store._reading, store._load, writer)
        except BaseException:
            store._reading.shutdown()
            store._unlock()
            raise
        if problem is not None:
            on_problem(problem)
        store._thread = threading.Thread(target=writer.run, name="relay-store-writer")
        store._thread.start()
        return store

    @property
    def size_bytes(self) -> int:
        """Bytes of the database and its log."""
        size = 0
        for name in (self._path.name, f"{self._path.name}-wal"):
            try:
                size += self._path.with_name(name).stat().st_size
            except FileNotFoundError:
                continue
        return size

    def append(self, frame: Stored, told: Told) -> None:
        """As `FrameStore.append`."""
        size = len(frame.data)
        if self._is_closed or not self._has_room(size):
            detail = _CLOSED if self._is_closed else "the disk is too slow"
            self._loop.call_soon(told, Appended(frame, Append.FULL, detail))
            return
        self.waiting_frames += 1
        self._waiting_bytes += size
        self._work.frames.append((frame, told))
        self._work.wake()

    async def take(self, to: str, after_row: int, limit: int) -> Sequence[Stored]:
        """As `FrameStore.take`; at most about 4 MiB, and one frame where that is more."""
        while rows := self._places.after(to, after_row, limit, self._leaving):
            found = await self._read(partial(Reader.frames, rows=rows)) or ()
            # Some may have been removed since.
            here = set(self._places.after(to, after_row, limit, self._leaving))
            frames = [frame for frame in found if frame.row in here]
            if frames or self._is_closed:
                return frames
            if not found:
                self._places.discard(to, rows)
        return []

    def remove(self, rows: Sequence[int]) -> None:
        """As `FrameStore.remove`."""
        self._leaving.update(rows)
        self._work.removes.extend(rows)
        self._work.wake()

    def mark_sent(self, rows: Sequence[int]) -> None:
        """As `FrameStore.mark_sent`."""
        self._work.marks.extend(rows)
        self._work.wake()

    async def expire(self, now_ms: int, limit: int = 1024) -> Sequence[Gone]:
        """As `FrameStore.expire`."""
        return await self._act(lambda database: database.expire(now_ms, limit))

    async def evict_bulk(self, to: str | None, count: int) -> Sequence[Gone]:
        """As `FrameStore.evict_bulk`."""
        return await self._act(lambda database: database.evict_bulk(to, count))

    async def counts(self) -> Sequence[FlowCount]:
        """As `FrameStore.counts`."""
        return self._counts

    def put_mailbox(self, mailbox: Mailbox) -> None:
        """As `FrameStore.put_mailbox`."""
        self._change(
            "INSERT OR REPLACE INTO mailboxes (node, fingerprint, card, store, stranger, "
            "expires_at) VALUES (?, ?, ?, ?, ?, ?)",
            mailbox.node_id,
            mailbox.fingerprint,
            mailbox.card,
            mailbox.store,
            mailbox.stranger,
            mailbox.expires_at,
        )

    def drop_mailbox(self, node_id: str) -> None:
        """As `FrameStore.drop_mailbox`."""
        self._change("DELETE FROM mailboxes WHERE node = ?", node_id)
        self._change("DELETE FROM notices WHERE node = ?", node_id)

    async def mailboxes(self) -> Sequence[Mailbox]:
        """As `FrameStore.mailboxes`."""
        return await self._read(Reader.mailboxes) or ()

    def add_notice(self, node_id: str, data: bytes) -> None:
        """As `FrameStore.add_notice`."""
        self._change("INSERT INTO notices (node, data) VALUES (?, ?)", node_id, data)
        self._change(
            "DELETE FROM notices WHERE node = ?1 AND row <= (SELECT row FROM notices "
            f"WHERE node = ?1 ORDER BY row DESC LIMIT 1 OFFSET {NOTICES_PER_NODE})",
            node_id,
        )

    async def notices(self, node_id: str) -> Sequence[Notice]:
        """As `FrameStore.notices`."""
        # Actions come after what waits to be written: so notices of a moment ago are read, too.
        await self._act(lambda database: ())
        return await self._read(partial(Reader.notices, node_id=node_id)) or ()

    def remove_notices(self, rows: Sequence[int]) -> None:
        """As `FrameStore.remove_notices`."""
        self._change(f"DELETE FROM notices WHERE row {THESE}", encode(rows))

    async def close(self) -> None:
        """As `FrameStore.close`."""
        is_first = not self._is_closed
        self._is_closed = True
        if is_first:
            # The connection that goes last puts the log into the file, so it is to be the writer's.
            await self._loop.run_in_executor(self._reading, self._close_reader)
            self._reading.shutdown()
            self._work.is_closing = True
            self._work.wake()
        await self._ended.wait()
        if is_first and self._thread is not None:
            self._thread.join()
            self._unlock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def _load(self, writer: Writer) -> StoreProblem | None:
        self._lock = lock(self._path)
        database, problem = writer.open()
        self._counts = database.counts
        for to, rows in database.rows.items():
            self._places.restore(to, rows)
        database.rows = {}
        return problem

    def _has_room(self, size: int) -> bool:
        return (
            self.waiting_frames < _WAITING_FRAMES and self._waiting_bytes + size <= _WAITING_BYTES
        )

    def _change(self, statement: str, *parameters: object) -> None:
        change: Change = (statement, parameters)
        self._work.changes.append(change)
        self._work.wake()

    async def _act(self, action: Action) -> Sequence[Gone]:
        if self._is_closed:
            return []
        future: asyncio.Future[Sequence[Gone]] = self._loop.create_future()
        self._work.actions.append((action, future))
        self._work.wake()
        # So has what was removed between the answer and now.
        return [gone for gone in await future if gone.row not in self._leaving]

    async def _read(self, action: Callable[[Reader], _T]) -> _T | None:
        """Run something in the reading thread; None where the store is closed, or was lost."""
        if self._is_closed:
            return None
        generation = self._generation
        try:
            return await self._loop.run_in_executor(self._reading, self._with_reader, action)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise self._unread(error) from error
        if generation == self._generation:
            await self._act(_report_damage)
        return None

    def _unread(self, error: sqlite3.Error) -> StoreError:
        now = self._loop.time()
        text = f"{self._path}: {error}; it is not read now"
        if self._told_at is None or now - self._told_at >= _REPEAT_SECONDS:
            self._told_at = now
            self._on_problem(StoreProblem(f"{text}, and is tried again"))
        return StoreError(text)

    def _with_reader(self, action: Callable[[Reader], _T]) -> _T:
        if self._reader is None:
            self._reader = Reader(self._path)
        return action(self._reader)

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _report(self, report: Report) -> None:
        self._loop.call_soon_threadsafe(self._tell, report)

    def _tell(self, report: Report) -> None:
        for problem in report.problems:
            if problem.is_lost:
                self._lose()
            self._on_problem(problem)
        for to, row in report.removed:
            self._places.discard(to, (row,))
        self._leaving.difference_update(report.removes)
        for appended, told in report.appended:
            frame = appended.frame
            self.waiting_frames -= 1
            self._waiting_bytes -= len(frame.data)
            if appended.status is Append.STORED:
                self._places.add(frame.to, frame.row)
            told(appended)
        for future, outcome in report.gone:
            self._settle(future, outcome)
        if report.is_last:
            self._end()

    def _end(self) -> None:
        """Answer what came after the writer looked for the last time."""
        self._is_closed = True
        while self._work.frames:
            frame, told = self._work.frames.popleft()
            self.waiting_frames -= 1
            told(Appended(frame, Append.FULL, _CLOSED))
        while self._work.actions:
            _, future = self._work.actions.popleft()
            self._settle(future, StoreError(f"{self._path}: {_CLOSED}"))
        self._ended.set()

    def _settle(
        self, future: asyncio.Future[Sequence[Gone]], outcome: Sequence[Gone] | StoreError
    ) -> None:
        if not isinstance(outcome, StoreError):
            for gone in outcome:
                self._places.discard(gone.to, (gone.row,))
            # What was removed meanwhile has its ending already.
            outcome = [gone for gone in outcome if gone.row not in self._leaving]
        if future.done():
            return
        if isinstance(outcome, StoreError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    def _lose(self) -> None:
        self._generation += 1
        self._places.clear()
        self._leaving.clear()
        self._counts = ()
        if not self._is_closed:
            self._reading.submit(self._close_reader)


def _report_damage(database: Database) -> Sequence[Gone]:
    raise damage("found while reading")
