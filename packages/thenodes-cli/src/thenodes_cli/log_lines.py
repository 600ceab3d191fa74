"""Events and log records as lines: for people, or one JSON object each."""

from __future__ import annotations

import enum
import logging
import time
from collections.abc import Sequence

import msgspec

from thenodes_core.events.console import describe
from thenodes_core.events.json_lines import json_line
from thenodes_core.text import printable
from thenodes_plugin_api import Event, Level, SystemEvent

from .console import Console

__all__ = ["EventLines", "LogFormat", "LogLine", "LogRecords", "left_out"]


class LogFormat(enum.StrEnum):
    """How events and log records are written."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"

    def chosen(self, *, for_people: bool) -> LogFormat:
        """Itself, but for `auto`: text where somebody reads it, JSON where a program does."""
        if self is not LogFormat.AUTO:
            return self
        return LogFormat.TEXT if for_people else LogFormat.JSON


class LogLine(msgspec.Struct, frozen=True, tag="log", omit_defaults=True):
    """A log record as a JSON line, beside those of events.

    Attributes:
        level: of the record.
        at: Unix seconds.
        logger: who says it.
        detail: what.
        trace: where in the code an error happened, in lines.
    """

    level: Level
    at: float
    logger: str
    detail: str
    trace: Sequence[str] = ()


class EventLines:
    """A sink that writes events to the console; what it has no room for is told as a number.

    Args:
        console: writes the lines.
        log_format: text or JSON.
        level: events below it are left out; see `severity`.

    Attributes:
        severity: of that level. It may be set at any time.
    """

    def __init__(self, console: Console, log_format: LogFormat, *, level: Level) -> None:
        self._console = console
        self._is_json = log_format is LogFormat.JSON
        self.severity = level.severity

    async def handle(self, event: Event) -> None:
        """Write one event."""
        await self.handle_batch([event])

    async def handle_batch(self, events: Sequence[Event]) -> None:
        """Write events, in order."""
        least, console = self.severity, self._console
        for event in events:
            # Asked before the line is made: of a flood, most are not.
            if event.level.severity >= least and console.admits(event.level):
                console.write(self._line(event), event.level)

    def _line(self, event: Event) -> str:
        if self._is_json:
            return json_line(event).decode().rstrip("\n")
        clock = time.strftime("%H:%M:%S", time.localtime(event.at))
        return f"{clock} {event.level.value:<7} {describe(event)}"


class LogRecords(logging.Handler):
    """Shows log records as lines like events.

    Args:
        console: writes the lines.
        log_format: text or JSON.
    """

    def __init__(self, console: Console, log_format: LogFormat) -> None:
        super().__init__()
        self._console = console
        self._is_json = log_format is LogFormat.JSON

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, of an error with its trace."""
        level = _level_of(record.levelno)
        if not self._console.admits(level):
            return
        try:
            for line in self._json(record, level) if self._is_json else self._text(record, level):
                self._console.write(line, level)
        except Exception:
            # Such as arguments that do not fit their message: logging's own way to tell it.
            self.handleError(record)

    def _json(self, record: logging.LogRecord, level: Level) -> Sequence[str]:
        trace = self._trace(record)
        # A file name may hold what is not UTF-8.
        detail = record.getMessage().encode("utf-8", "backslashreplace").decode()
        line = LogLine(level, record.created, record.name, detail, trace)
        return [json_line(line).decode().rstrip("\n")]

    def _text(self, record: logging.LogRecord, level: Level) -> Sequence[str]:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        name = record.name.removeprefix("thenodes.").removeprefix("plugin.")
        text = f"{clock} {level.value:<7} [{name}] {printable(record.getMessage())}"
        return [text, *(f"    {printable(line)}" for line in self._trace(record))]

    def _trace(self, record: logging.LogRecord) -> Sequence[str]:
        if not record.exc_info or record.levelno < logging.ERROR:
            return ()
        formatter = self.formatter or logging.Formatter()
        return formatter.formatException(record.exc_info).split("\n")


def left_out(text: str, log_format: LogFormat) -> str:
    """A line that tells of lines that are not there."""
    if log_format is not LogFormat.JSON:
        return text
    event = SystemEvent(action="lines_left_out", detail=text, level=Level.WARNING, at=time.time())
    return json_line(event).decode().rstrip("\n")


def _level_of(number: int) -> Level:
    return max((level for level in Level if level.severity <= max(number, 10)), key=_severity)


def _severity(level: Level) -> int:
    return level.severity
