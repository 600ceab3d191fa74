"""Where events and log records are shown while a node runs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

import click

from thenodes_core.rate import TokenBucket
from thenodes_plugin_api import Level

from .output import is_colourful
from .writing import write_all

__all__ = ["Console"]

_WAITING_LINES = 4096
_FLUSH_SECONDS = 0.5
_TELL_SECONDS = 1.0

_COLOURS = {Level.DEBUG: "bright_black", Level.WARNING: "yellow", Level.ERROR: "red"}


class Console:
    """Writes lines to a stream, in colour on a terminal; a prompt can take it over.

    A thread does the writing: a terminal that was stopped, or a pipe that nobody
    reads, holds up nothing but the lines for it. 4096 of them wait; further ones are
    left out, and told as a number.

    Where `per_second` is given, no more lines are shown than somebody can follow: after
    two seconds' worth at once so many a second, and as many again of warnings and errors.
    Each second in which some were skipped a line says how many.

    Args:
        stream: usually stderr, so that answers on stdout can be piped; None is silent.
        per_second: how many lines; None for as many as come.
        more: where all of them are, for the line that says how many were skipped.
        note: makes a line of such a text.
        monotonic: seconds of a clock that does not go back.
    """

    def __init__(
        self,
        stream: TextIO | None,
        *,
        per_second: int | None = None,
        more: str = "",
        note: Callable[[str], str] = lambda text: text,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._colour = stream is not None and is_colourful(stream)
        self._writer = None if stream is None else _Writer(stream, note)
        self._print: Callable[[str], None] = self._write_line
        self._more = more
        self._note = note
        self._monotonic = monotonic
        self._rates: tuple[TokenBucket, ...] = ()
        if per_second is not None:
            now = monotonic()
            self._rates = tuple(TokenBucket(per_second, 2 * per_second, now) for _ in range(2))
        self._skipped = 0
        self._skipped_since = 0.0
        self._telling: asyncio.TimerHandle | None = None

    def admits(self, level: Level) -> bool:
        """Whether a line of that level is to be written now; asked once a line, and counted."""
        if not self._rates:
            return True
        now = self._monotonic()
        if self._skipped and now - self._skipped_since >= _TELL_SECONDS:
            self._tell_skipped()
        if self._rates[level.severity >= Level.WARNING.severity].take(now):
            return True
        if not self._skipped:
            self._skipped_since = now
            self._tell_later()
        self._skipped += 1
        return False

    def write(self, line: str, level: Level) -> None:
        """Write one line, which has no control characters."""
        colour = _COLOURS.get(level) if self._colour else None
        self._print(click.style(line, fg=colour) if colour else line)

    def redirect(self, print_line: Callable[[str], None] | None) -> None:
        """Give lines to a prompt, which keeps its input line whole; None ends that."""
        self._print = print_line or self._write_line

    def alert(self, line: str, level: Level) -> None:
        """Write one line past the prompt, which cannot while the event loop is held.

        May be called from any thread. Where no prompt has the console, nothing is
        written: whoever has something to tell logs it too.
        """
        if self._print != self._write_line:
            colour = _COLOURS.get(level) if self._colour else None
            self._write_line("\r\n" + (click.style(line, fg=colour) if colour else line))

    def close(self) -> None:
        """Write what waits, as far as that takes no longer than half a second."""
        self._tell_skipped()
        if self._writer is not None:
            self._writer.close()

    def _tell_later(self) -> None:
        """See to it that what was skipped is told even where no more lines come."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            # Another thread's log record: the next line tells of it.
            return
        self._telling = loop.call_later(_TELL_SECONDS, self._tell_skipped)

    def _tell_skipped(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        skipped, self._skipped = self._skipped, 0
        if skipped:
            many = "1 line was" if skipped == 1 else f"{skipped} lines were"
            self.write(self._note(f"{many} skipped{self._more}"), Level.WARNING)

    def _write_line(self, line: str) -> None:
        if self._writer is not None:
            self._writer.put(line)


class _Writer:
    """Writes lines to a stream in a thread that ends with the process."""

    def __init__(self, stream: TextIO, note: Callable[[str], str]) -> None:
        self._stream = stream
        self._note = note
        self._lines: deque[str] = deque()
        self._left_out = 0
        self._closing = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, line: str) -> None:
        with self._changed:
            if self._closing:
                return
            if len(self._lines) >= _WAITING_LINES:
                self._left_out += 1
                return
            self._lines.append(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="console", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(_FLUSH_SECONDS)

    def _run(self) -> None:
        while (text := self._take()) is not None:
            try:
                self._write(text)
            except (OSError, ValueError):
                # Whoever read it is gone; the node goes on without a word.
                with self._changed:
                    self._closing = True
                return

    def _take(self) -> str | None:
        with self._changed:
            while not self._lines:
                if self._closing:
                    return None
                self._changed.wait()
            lines = [*self._lines]
            self._lines.clear()
            if self._left_out:
                told = f"{self._left_out} lines were left out: nobody read them in time"
                lines.append(self._note(told))
                self._left_out = 0
        return "".join(f"{line}\n" for line in lines)

    def _write(self, text: str) -> None:
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()
            return
        # Past the stream's own buffer, whose lock would be waited for when the process ends.
        data = text.encode(self._stream.encoding, self._stream.errors or "replace")
        write_all(descriptor, data)
