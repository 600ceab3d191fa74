"""The thread that writes: whatever waits goes to the disk in one transaction."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec

from .base import Append, Appended, Gone, Stored, StoreProblem, Told
from .database import BATCH_FRAMES, Batch, Change, Database, Written
from .errors import StoreError
from .schema import is_damage, prepare, set_aside

__all__ = ["Action", "Report", "Work", "Writer"]

_T = TypeVar("_T")

_log = logging.getLogger(__name__)

Action: TypeAlias = Callable[[Database], Sequence[Gone]]

_BATCH_BYTES = 4 * 1024 * 1024
_PIECE = 32  # Frames that are tried at once when not all of a batch fit.
_OWED = 16_384
_REPEAT_SECONDS = 60.0  # At most so often it is said that the disk is full.
_RETRY_SECONDS = 1.0
_UNWRITABLE = (OverflowError, UnicodeError, TypeError, KeyError)


class Work:
    """What waits for the writer; the loop's side puts, the writer takes.

    Bounded by whoever puts: frames by `SqliteStore`, rows by the frames that are stored.
    """

    def __init__(self) -> None:
        self.frames: deque[tuple[Stored, Told]] = deque()
        self.changes: deque[Change] = deque()
        self.marks: deque[int] = deque()
        self.removes: deque[int] = deque()
        self.actions: deque[tuple[Action, asyncio.Future[Sequence[Gone]]]] = deque()
        self.is_closing = False
        self._is_asleep = False
        self._wake = threading.Event()

    def wake(self) -> None:
        """Let the writer look."""
        if self._is_asleep:
            self._is_asleep = False
            self._wake.set()

    def wait(self, timeout_seconds: float | None) -> None:
        """Return once there is something, or the time is over."""
        self._wake.clear()
        self._is_asleep = True
        # What came before it was noted that nobody is awake has woken nobody.
        if not (self.has_any or self.is_closing):
            self._wake.wait(timeout_seconds)
        self._is_asleep = False

    @property
    def has_any(self) -> bool:
        """Whether there is something to do."""
        return bool(self.frames or self.changes or self.marks or self.removes or self.actions)


class Report(msgspec.Struct):
    """What the writer did, for the loop to tell. In this order.

    Attributes:
        problems: for the operator.
        removed: rows that were there and are gone, with their target.
        removes: rows that were to go.
        appended: what became of frames.
        gone: what actions returned, or why they failed.
        is_last: the writer has ended.
    """

    problems: list[StoreProblem] = msgspec.field(default_factory=list)
    removed: list[tuple[str, int]] = msgspec.field(default_factory=list)
    removes: list[int] = msgspec.field(default_factory=list)
    appended: list[tuple[Appended, Told]] = msgspec.field(default_factory=list)
    gone: list[tuple[asyncio.Future[Sequence[Gone]], Sequence[Gone] | StoreError]] = msgspec.field(
        default_factory=list
    )
    is_last: bool = False


class Writer:
    """Owns the database that writes, and runs in a thread of its own until the work closes.

    Args:
        path: the file.
        open_database: opens it, with the least row for new frames.
        work: what waits.
        report: takes what was done; called in this thread.
        clock: the wall clock, in Unix seconds.
    """

    def __init__(
        self,
        path: Path,
        open_database: Callable[[int], Database],
        work: Work,
        report: Callable[[Report], None],
        clock: Callable[[], float],
    ) -> None:
        self._path = path
        self._open = open_database
        self._work = work
        self._report = report
        self._clock = clock
        self._database: Database | None = None
        self._next_row = 1
        self._owed = Batch()
        self._done = Report()
        self._in_hand: Sequence[tuple[Stored, Told]] = ()
        self._told_at: float | None = None
        self._is_failing = False
        self._failure = ""

    def open(self) -> tuple[Database, StoreProblem | None]:
        """Open the database, once before `run`; a damaged one is set aside.

        Raises:
            StoreError: it cannot be opened, and was not touched.
        """
        prepare(self._path)
        try:
            self._database = self._open(1)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise StoreError(
                    f"{self._path}: {error}; the relay keeps frames there: mend that, or set "
                    "network.relay.store_path"
                ) from error
            problem = self._replace(error)
            if self._database is None:
                raise StoreError(problem.text) from error
            return self._database, problem
        return self._database, None

    def run(self) -> None:
        """Write until the work closes, then close the database."""
        try:
            while self._work.has_any or not self._work.is_closing:
                if not self._work.has_any:
                    self._work.wait(_RETRY_SECONDS if self._owes else None)
                self._serve()
            if self._owes:
                self._write(self._take_owed())
        except Exception as error:
            # Nobody looks after a thread but itself.
            _log.exception("%s: the thread that writes ended", self._path)
            self._failure = f"the thread that writes ended: {error!r}"
            self._refuse(self._in_hand)
            text = f"{self._path}: {self._failure}; nothing is stored until the relay restarts"
            self._done.problems.append(StoreProblem(text))
        finally:
            if self._database is not None:
                self._database.close()
            self._done.is_last = True
            self._flush()

    @property
    def _owes(self) -> bool:
        return bool(self._owed.changes or self._owed.removes)

    def _serve(self) -> None:
        work = self._work
        # Counted first: what was handed over before an action is then done before it.
        actions = len(work.actions)
        frames = self._in_hand = self._take_frames()
        owed = self._take_owed()
        batch = Batch(
            removes=[*owed.removes, *_take(work.removes)],
            changes=[*owed.changes, *_take(work.changes)],
            marks=_take(work.marks),
            frames=[frame for frame, _ in frames],
        )
        written = self._write(batch)
        if written is None:
            self._write_parts(batch, frames)
        else:
            self._note(written, batch, frames)
            if frames and self._is_failing:
                self._recover()
        self._in_hand = ()
        for _ in range(actions):
            action, future = work.actions.popleft()
            outcome = self._act(action)
            self._done.gone.append((future, outcome))
        self._flush()

    def _take_frames(self) -> Sequence[tuple[Stored, Told]]:
        waiting = self._work.frames
        frames: list[tuple[Stored, Told]] = []
        room = _BATCH_BYTES
        while waiting and len(frames) < BATCH_FRAMES and room > 0:
            frames.append(waiting.popleft())
            room -= len(frames[-1][0].data)
        return frames

    def _take_owed(self) -> Batch:
        owed, self._owed = self._owed, Batch()
        return owed

    def _write(self, batch: Batch) -> Written | None:
        """Write a batch; None where nothing of it was, for the reason in `_failure`."""
        for _ in range(2):
            database = self._ensure()
            if database is None:
                return None
            try:
                return database.write(batch)
            except sqlite3.Error as error:
                if not is_damage(error):
                    self._fail(str(error))
                    return None
                self._lose(error)
            except _UNWRITABLE as error:
                self._failure = f"a frame that no database takes: {error}"
                return None
        self._failure = f"{self._path} is damaged again and again"
        return None

    def _write_parts(self, batch: Batch, frames: Sequence[tuple[Stored, Told]]) -> None:
        """Write what can be: what makes room first, then frames until one does not fit."""
        room = Batch(removes=batch.removes)
        written = self._write(room)
        if written is None:
            self._owed = Batch(removes=batch.removes, changes=batch.changes[-_OWED:])
        else:
            self._note(written, room, ())
            # A frame is not to be kept longer than its mailbox.
            written = self._write(Batch(changes=batch.changes, marks=batch.marks))
            if written is None:
                self._owed = Batch(changes=batch.changes[-_OWED:])
        is_full = written is None
        for start in range(0, len(frames), _PIECE):
            piece = frames[start : start + _PIECE]
            part = Batch(frames=[frame for frame, _ in piece])
            written = None if is_full else self._write(part)
            if written is not None:
                self._note(written, part, piece)
                continue
            # What comes later does not overtake what was refused.
            is_full = True
            self._refuse(piece)

    def _refuse(self, frames: Sequence[tuple[Stored, Told]]) -> None:
        for frame, told in frames:
            self._done.appended.append((Appended(frame, Append.FULL, self._failure), told))

    def _note(self, written: Written, batch: Batch, frames: Sequence[tuple[Stored, Told]]) -> None:
        self._done.removed += written.removed
        self._done.removes += batch.removes
        for (frame, told), is_stored in zip(frames, written.stored, strict=True):
            status = Append.STORED if is_stored else Append.DUPLICATE
            self._done.appended.append((Appended(frame, status), told))

    def _act(self, action: Action) -> Sequence[Gone] | StoreError:
        database = self._ensure()
        if database is None:
            return StoreError(self._failure)
        try:
            return action(database)
        except sqlite3.Error as error:
            if is_damage(error):
                self._lose(error)
                return []
            self._fail(str(error))
            return StoreError(f"{self._path}: {error}")

    def _ensure(self) -> Database | None:
        """The database; opened again where that failed before."""
        if self._database is None:
            try:
                self._reopen()
            except (StoreError, sqlite3.Error) as error:
                self._fail(str(error))
        return self._database

    def _reopen(self) -> None:
        prepare(self._path)
        self._database = self._open(self._next_row)

    def _lose(self, error: sqlite3.Error) -> None:
        # What was done is told before what became of it.
        self._flush()
        self._done.problems.append(self._replace(error))

    def _flush(self) -> None:
        done, self._done = self._done, Report()
        self._report(done)

    def _replace(self, error: sqlite3.Error) -> StoreProblem:
        """Set the damaged file aside and begin a new one."""
        if self._database is not None:
            self._next_row = self._database.next_row
            self._database.close()
            self._database = None
        try:
            aside = set_aside(self._path, int(self._clock()))
            self._reopen()
        except (StoreError, sqlite3.Error) as failure:
            self._failure = str(failure)
            self._is_failing = True
            return StoreProblem(f"{self._path} is damaged ({error}): {failure}", is_lost=True)
        return StoreProblem(
            f"{self._path} is damaged ({error}): it was set aside as {aside.name}, and the "
            "frames in it are not delivered; the relay goes on with an empty store. "
            f"`sqlite3 {aside.name} .recover` shows what is left of it",
            is_lost=True,
        )

    def _fail(self, text: str) -> None:
        self._failure = text
        now = self._clock()
        if self._told_at is None or abs(now - self._told_at) >= _REPEAT_SECONDS:
            self._told_at = now
            self._is_failing = True
            self._done.problems.append(
                StoreProblem(
                    f"{self._path}: {text}; frames that have to be stored are refused until "
                    "there is room or the disk works again"
                )
            )

    def _recover(self) -> None:
        """Tell that it works again; once for each time that it was told to fail."""
        self._is_failing = False
        text = f"{self._path}: frames are stored again"
        self._done.problems.append(StoreProblem(text, is_over=True))


def _take(waiting: deque[_T]) -> list[_T]:
    return [waiting.popleft() for _ in range(len(waiting))]
