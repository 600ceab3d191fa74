"""Where events and log records are shown while a node runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TextIO

import click

from thenodes_core.text import printable
from thenodes_plugin_api import Level

__all__ = ["Console"]

_COLOURS = {Level.DEBUG: "bright_black", Level.WARNING: "yellow", Level.ERROR: "red"}


class Console:
    """Writes lines to a stream, in colour on a terminal; a prompt can take it over.

    Args:
        stream: usually stderr, so that answers on stdout can be piped; None is silent.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._colour = stream is not None and stream.isatty()
        self._print: Callable[[str], None] = self._write_line

    def write(self, line: str, level: Level) -> None:
        """Write one line, which has no control characters."""
        colour = _COLOURS.get(level) if self._colour else None
        self._print(click.style(line, fg=colour) if colour else line)

    def redirect(self, print_line: Callable[[str], None] | None) -> None:
        """Give lines to a prompt, which keeps its input line whole; None ends that."""
        self._print = print_line or self._write_line

    def log_handler(self) -> logging.Handler:
        """A handler that shows log records as lines like events."""
        return _LogHandler(self)

    def _write_line(self, line: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            # Whoever read it is gone; the node goes on without a word.
            self._stream = None


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
