"""Events as JSON lines in a file that is rotated."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import msgspec

from thenodes_plugin_api import Event, Level, SystemEvent

from ..text import printable_json

__all__ = ["EVENTS_FILE", "JsonLinesSink", "json_line"]

EVENTS_FILE = Path("logs/events.jsonl")
"""Where a node logs in its state directory, unless the operator says otherwise."""

_BACKLOG_EVENTS = 16_384

_encode = msgspec.json.Encoder(enc_hook=object.__repr__).encode


class JsonLinesSink:
    """Writes one JSON object a line, in a thread, so that a slow disk holds up nobody.

    Files are 0600. Beyond `max_bytes` the file becomes `.1`, that `.2`, and so on up
    to `.keep`; no line is split. An existing file is continued, and half a line
    that a killed process left is ended first. A file that was moved away is made
    anew. What cannot be written is kept, up to 16384 events, and written before the
    next ones or at the end; beyond that the oldest are dropped, and a line says how
    many. A value that JSON cannot hold is written as text that names it. Lines are
    not synced to the disk: they outlive the process, not a power cut.

    Args:
        path: the file, no symbolic link; its directory and that one's parents are
            made, 0700, where missing.
        max_bytes: the size beyond which it is rotated. A longer event stands alone.
        keep: how many old files are kept; with 0 the file is begun anew.
    """

    def __init__(self, path: Path, *, max_bytes: int = 5 * 1024 * 1024, keep: int = 3) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._backlog: list[bytes] = []
        self._dropped = 0

    async def handle(self, event: Event) -> None:
        """Write one event.

        Raises:
            OSError: it cannot be written now; it is kept.
        """
        await self.handle_batch([event])

    async def handle_batch(self, events: Sequence[Event]) -> None:
        """Write events, in order; with none, what was kept.

        Raises:
            OSError: they cannot all be written now; what was not is kept.
        """
        if not events and not self._backlog:
            return
        self._backlog += [json_line(event) for event in events]
        surplus = len(self._backlog) - _BACKLOG_EVENTS
        if surplus > 0:
            del self._backlog[:surplus]
            self._dropped += surplus
        await asyncio.to_thread(self._write)

    def _write(self) -> None:
        if self._dropped:
            self._write_all([json_line(_dropped(self._dropped))])
            self._dropped = 0
        self._write_all(self._backlog)

    def _write_all(self, lines: list[bytes]) -> None:
        """Write the lines, removing each from the list once it is in the file."""
        while lines:
            descriptor = _open(self._path)
            try:
                room = self._max_bytes - os.fstat(descriptor).st_size
                if room < len(lines[0]) and room < self._max_bytes:
                    self._rotate()
                    continue
                count, size = 1, len(lines[0])
                while count < len(lines) and size + len(lines[count]) <= room:
                    size += len(lines[count])
                    count += 1
                del lines[: _append(descriptor, b"".join(lines[:count]))]
            finally:
                os.close(descriptor)

    def _rotate(self) -> None:
        if not self._keep:
            self._path.unlink()
            return
        # Only as far as the first free number: the rotation after one that was
        # cut short completes it, and pushes out no file too many.
        numbers = range(1, self._keep + 1)
        free = next((n for n in numbers if not os.path.lexists(self._numbered(n))), self._keep)
        for number in range(free - 1, 0, -1):
            self._numbered(number).replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _open(path: Path) -> int:
    missing = [parent for parent in path.parents if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir(mode=0o700, exist_ok=True)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            # A pipe that nobody reads would hold up the thread for ever.
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            os.write(descriptor, b"\n")
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _append(descriptor: int, data: bytes) -> int:
    """Write all of it; returns how many lines are there whole, also where the disk is full."""
    done = 0
    try:
        while done < len(data):
            done += os.write(descriptor, data[done:])
    except OSError:
        whole = data.rfind(b"\n", 0, done) + 1
        # The line that is cut off will be written again, so it must not stay.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - (done - whole))
        if not whole:
            raise
    return data.count(b"\n", 0, done)


def json_line(event: object) -> bytes:
    """An event, or a struct like one, as a JSON object in one line, with its end."""
    if not isinstance(event, msgspec.Struct):
        # What a plugin emits is checked; an embedding program may emit anything.
        event = SystemEvent(action="not_an_event", detail=object.__repr__(event))
    try:
        text = _encode(event).decode()
    except (TypeError, ValueError, RecursionError):
        # Such as a lone surrogate, which a file name may hold: it has no UTF-8.
        fields = msgspec.structs.asdict(event).items()
        table = {"type": event.__struct_config__.tag}
        text = _encode(table | {name: _encodable(value) for name, value in fields}).decode()
    return printable_json(text).encode() + b"\n"


def _encodable(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value) if isinstance(value, str) else object.__repr__(value)
    return text.encode("utf-8", "backslashreplace").decode()


def _dropped(count: int) -> Event:
    return SystemEvent(
        level=Level.WARNING,
        action="events_dropped",
        detail=f"{count} events were dropped here: the file could not be written",
    )
