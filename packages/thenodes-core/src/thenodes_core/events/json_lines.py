"""Events as JSON lines in a file, for machines and for people who `cat` it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from thenodes_plugin_api import Event, Level, SystemEvent

from ..text import printable_json
from .counters import Counters

__all__ = ["BACKLOG_EVENTS", "JsonLinesSink"]

BACKLOG_EVENTS = 16384


class JsonLinesSink:
    """Appends every event to a file as one line of JSON, in a thread.

    Control, bidirectional and other unprintable characters are written as
    `\\uXXXX`. What JSON or UTF-8 cannot hold is written as text that names it.

    The file is opened anew for each batch, so it may be moved or removed at
    any time. It is created 0600, a missing directory and its parents 0700; a
    symlink or anything else than a file is refused. A file that ends within a
    line, after a crash or a kill, gets that line's end first. Lines are handed
    to the system but not synced: they outlive the process, not a power cut.

    Where a line no longer fits, `events.jsonl` becomes `events.jsonl.1`, that
    one `.2`, and so on; the oldest goes. A longer line than `max_bytes` is
    written all the same, alone in its file.

    Where the file cannot be written, lines wait and the next batch tries
    again; no line is written twice. The batch that failed waits whole; later
    ones while there are fewer than `BACKLOG_EVENTS` lines. What comes beyond
    is dropped, counted as `events_dropped`, and told by a line in its place.

    Args:
        path: the file.
        max_bytes: the size that a file does not exceed.
        keep: how many older files there are besides; with 0 the file starts
            again from nothing.
        counters: counts drops, where given.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = 5 * 1024 * 1024,
        keep: int = 3,
        counters: Counters | None = None,
    ) -> None:
        self._counters = counters or Counters()
        self._file = _RotatedFile(path, max_bytes, keep)
        self._waiting: deque[bytes] = deque()
        self._missed = 0
        self._uncounted = 0
        # A thread goes on after its batch was cancelled, maybe beside the next one's.
        self._lock = threading.Lock()

    async def handle(self, event: Event) -> None:
        """Append one event.

        Raises:
            OSError: it could not be written, and waits for the next.
        """
        await self.handle_batch((event,))

    async def handle_batch(self, events: Sequence[Event]) -> None:
        """Append events in order; with none, try again to write those that wait.

        Raises:
            OSError: some could not be written, and wait for the next batch.
        """
        if not events and not self._waiting:
            return
        try:
            await asyncio.to_thread(self._write, events)
        except OSError:
            dropped, self._uncounted = self._uncounted, 0
            if dropped:
                self._counters.add("events_dropped", dropped)
            raise

    def _write(self, events: Sequence[Event]) -> None:
        with self._lock:
            try:
                self._file.append(self._waiting)
            except OSError:
                self._wait(events)
                raise
            if self._missed:
                self._waiting.append(_line(_missed(self._missed)))
                self._missed = 0
            self._waiting.extend(_line(event) for event in events)
            self._file.append(self._waiting)

    def _wait(self, events: Sequence[Event]) -> None:
        # Once one was dropped all are, until those that wait are written: the order stays.
        room = 0 if self._missed else max(0, BACKLOG_EVENTS - len(self._waiting))
        self._waiting.extend(_line(event) for event in events[:room])
        dropped = len(events[room:])
        self._missed += dropped
        self._uncounted += dropped


class _RotatedFile:
    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep

    def append(self, lines: deque[bytes]) -> None:
        """Write the lines; each leaves the queue once it is in a file as a whole."""
        while lines:
            with _opened(self._path) as file:
                size = _end_last_line(file)
                if size and size + len(lines[0]) > self._max_bytes:
                    self._rotate(file)
                else:
                    _append(file, lines, self._fitting(lines, size))

    def _fitting(self, lines: deque[bytes], size: int) -> list[bytes]:
        fitting: list[bytes] = []
        for line in lines:
            size += len(line)
            if fitting and size > self._max_bytes:
                break
            fitting.append(line)
        return fitting

    def _rotate(self, file: int) -> None:
        if not self._keep:
            os.ftruncate(file, 0)
            return
        # Up to the first free place, so that a rotation that was cut short
        # is completed by the next one and does not push out a file too many.
        places = range(1, self._keep + 1)
        free = next((n for n in places if not os.path.lexists(self._older(n))), self._keep)
        for number in range(free, 1, -1):
            self._older(number - 1).replace(self._older(number))
        with contextlib.suppress(FileNotFoundError):
            self._path.replace(self._older(1))

    def _older(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = os.open(path, flags, 0o600)
    except FileNotFoundError:
        _make_private(path.parent)
        file = os.open(path, flags, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        yield file
    finally:
        os.close(file)


def _make_private(directory: Path) -> None:
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)


def _end_last_line(file: int) -> int:
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        size += os.write(file, b"\n")
    return size


def _append(file: int, lines: deque[bytes], first: list[bytes]) -> None:
    data = memoryview(b"".join(first))
    written = 0
    try:
        while written < len(data):
            written += os.write(file, data[written:])
    finally:
        for line in first:
            if written < len(line):
                break
            written -= len(line)
            lines.popleft()
        else:
            written = 0
        if written:
            with contextlib.suppress(OSError):
                os.ftruncate(file, os.fstat(file).st_size - written)


def _line(event: Event) -> bytes:
    try:
        encoded = _encoder.encode(event)
    except (TypeError, ValueError, RecursionError):
        encoded = _encoder.encode(_as_text(event))
    return printable_json(encoded.decode()).encode() + b"\n"


def _as_text(event: Event) -> dict[str, object]:
    fields = {name: _sound(value) for name, value in msgspec.structs.asdict(event).items()}
    return {"type": event.__struct_config__.tag, **fields}


def _sound(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value) if isinstance(value, str) else object.__repr__(value)
    return text.encode(errors="backslashreplace").decode()


_encoder = msgspec.json.Encoder(enc_hook=object.__repr__)


def _missed(count: int) -> Event:
    return SystemEvent(
        level=Level.WARNING,
        action="events_dropped",
        detail=f"{count} events were dropped here: the file could not be written",
    )
