"""`log level`: what a running node shows, seen and changed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from difflib import get_close_matches

from thenodes_core.control.commands import CommandTable, Reply
from thenodes_core.errors import CommandError
from thenodes_core.text import printable
from thenodes_plugin_api import Level

from .log_lines import EventLines

__all__ = ["LogLevels"]

_OURS = "thenodes"
_LEVELS = tuple(level.value for level in Level)


class LogLevels:
    """What is shown of events and log records.

    Loggers that were given a level of their own keep it, whatever the others have.

    Args:
        lines: shows the events; None where none are shown.
        level: what is shown at first.
    """

    def __init__(self, lines: EventLines | None, level: Level) -> None:
        self._lines = lines
        self._level = level
        self._own: dict[str, Level] = {}

    def add_command(self, table: CommandTable) -> None:
        """Let operators see and change it."""
        table.define("log level", self._run, complete=lambda: [*_LEVELS, *_loggers()])

    async def _run(self, words: Sequence[str]) -> Reply:
        if len(words) > 2:
            raise CommandError(f"log level takes a level and a logger, got {len(words)} words")
        if len(words) == 1 and words[0].lower() not in _LEVELS:
            return self._one(_logger(words[0]))
        if words:
            level = _level(words[0])
            if len(words) == 2:
                return self._set_one(_logger(words[1]), level)
            self._set_all(level)
        own = {name: level.value for name, level in sorted(self._own.items())}
        text = [f"shown from {self._level.value} on"]
        text += [f"log records of {name} from {level} on" for name, level in own.items()]
        return Reply("\n".join(text), {"level": self._level.value, "loggers": own})

    def _one(self, name: str) -> Reply:
        severity = logging.getLogger(name).getEffectiveLevel()
        level = max((one for one in Level if one.severity <= severity), key=lambda x: x.severity)
        return Reply(
            f"log records of {name} from {level.value} on", {"logger": name, "level": level.value}
        )

    def _set_one(self, name: str, level: Level) -> Reply:
        self._own[name] = level
        logging.getLogger(name).setLevel(level.severity)
        return self._one(name)

    def _set_all(self, level: Level) -> None:
        self._level = level
        logging.getLogger().setLevel(level.severity)
        if self._lines is not None:
            self._lines.severity = level.severity


def _level(word: str) -> Level:
    try:
        return Level(word.lower())
    except ValueError as error:
        shown = printable(word, most=100)
        raise CommandError(f"expected {', '.join(_LEVELS)}, got {shown!r}") from error


def _loggers() -> list[str]:
    """Every logger that this process has, but for those of its libraries."""
    names = logging.root.manager.loggerDict
    return sorted(name for name in names if name.partition(".")[0] == _OURS)


def _logger(word: str) -> str:
    names = logging.root.manager.loggerDict
    short = word.removeprefix("thenodes.").removeprefix("plugin.")
    for name in (word, f"{_OURS}.{short}", f"{_OURS}.plugin.{short}"):
        if name in names:
            return name
    near = get_close_matches(word, _loggers(), n=1) or get_close_matches(
        word, [name.rpartition(".")[2] for name in _loggers()], n=1
    )
    meant = f"did you mean {near[0]}?" if near else f"there are: {', '.join(_loggers())}"
    expected = f"expected a level ({', '.join(_LEVELS)}) or a logger"
    raise CommandError(f"{expected}, got {printable(word, most=100)!r}; {meant}")
