"""Where events and log records are shown while a node runs."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

import click

from thenodes_core.text import printable
from thenodes_plugin_api import Level

__all__ = ["Console"]

_WAITING_LINES = 4096
_FLUSH_SECONDS = 0.5

_COLOURS = {Level.DEBUG: "bright_black", Level.WARNING: "yellow", Level.ERROR: "red"}


class Console:
    """Writes lines to a stream, in colour on a terminal; a prompt can take it over.

    A thread does the writing: a terminal that was stopped, or a pipe that nobody
    reads, holds up nothing but the lines for it. 4096 of them wait; further ones are
    left out, and told as a number.

    Args:
        stream: usually stderr, so that answers on stdout can be piped; None is silent.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._colour = stream is not None and stream.isatty()
        self._writer = None if stream is None else _Writer(stream)
        self._print: Callable[[str], None] = self._write_line

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

    def log_handler(self) -> logging.Handler:
        """A handler that shows log records as lines like events."""
        return _LogHandler(self)

    def close(self) -> None:
        """Write what waits, as far as that takes no longer than half a second."""
        if self._writer is not None:
            self._writer.close()

    def _write_line(self, line: str) -> None:
        if self._writer is not None:
            self._writer.put(line)


class _Writer:
    """Writes lines to a stream in a thread that ends with the process."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
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
                lines.append(f"{self._left_out} lines were left out: nobody read them in time")
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
        while data:
            data = data[os.write(descriptor, data) :]


class _LogHandler(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        level = _level_of(record.levelno)
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        name = record.name.removeprefix("thenodes.").removeprefix("plugin.")
        text = f"{clock} {level.value:<7} [{name}] {printable(record.getMessage())}"
        self._console.write(text, level)
        if record.exc_info and record.levelno >= logging.ERROR:
            self._show_trace(record, level)

    def _show_trace(self, record: logging.LogRecord, level: Level) -> None:
        formatter = self.formatter or logging.Formatter()
        if record.exc_info:
            for line in formatter.formatException(record.exc_info).split("\n"):
                self._console.write(f"    {printable(line)}", level)


def _level_of(number: int) -> Level:
    return max((level for level in Level if level.severity <= max(number, 10)), key=_severity)


def _severity(level: Level) -> int:
    return level.severity
