"""The command `events`: what happened lately, and what happens."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence

import msgspec

from thenodes_plugin_api import Event, Level

from ..errors import CommandError, CommandFailed
from ..events.console import describe
from ..events.recent import RecentEvents
from .commands import CommandTable, Reply

__all__ = ["add_events_command", "event_line"]

_SHOWN = 20
_MOST = 1000
_DIGITS = len(str(_MOST))
_LEVELS = ", ".join(Level)


class _Asked(msgspec.Struct):
    """What the words of the command ask for.

    `--keep-unread` is for programs that show events to somebody who may not look.
    """

    count: int = _SHOWN
    follow: bool = False
    level: Level = Level.DEBUG
    text: str = ""
    keep_unread: bool = False

    def wants(self, event: Event) -> bool:
        """Whether an event is among it."""
        if event.level.severity < self.level.severity:
            return False
        return not self.text or any(self.text in field for field in _fields(event))


def add_events_command(table: CommandTable, recent: RecentEvents) -> None:
    """Add `events`."""

    async def run(words: Sequence[str]) -> Reply:
        asked = _parse(words)
        events = recent.last(asked.count, asked.wants)
        _shown(recent, asked)
        text = "\n".join(event_line(event) for event in events)
        return Reply(text or "no such events lately", events)

    def follow(words: Sequence[str]) -> AsyncGenerator[Reply, None] | None:
        asked = _parse(words)
        return _follow(recent, asked) if asked.follow else None

    table.define("events", run, follow=follow)


def event_line(event: Event) -> str:
    """An event in one line, as the console shows it."""
    clock = time.strftime("%H:%M:%S", time.localtime(event.at))
    return f"{clock} {event.level.value:<7} {describe(event)}"


async def _follow(recent: RecentEvents, asked: _Asked) -> AsyncGenerator[Reply, None]:
    subscription = recent.subscribe(asked.wants)
    if subscription is None:
        raise CommandFailed("too many follow the events of this node already; end one of them")
    with subscription:
        _shown(recent, asked)
        for event in recent.last(asked.count, asked.wants):
            yield Reply(event_line(event), event)
        while True:
            event = await subscription.next()
            _shown(recent, asked)
            yield Reply(event_line(event), event)


def _shown(recent: RecentEvents, asked: _Asked) -> None:
    if not asked.keep_unread:
        recent.mark_read()


def _fields(event: Event) -> Sequence[str]:
    """What a filter is looked for in, without case: all that it says but its level."""
    table = msgspec.structs.asdict(event)
    texts = [str(v) for name, v in table.items() if name != "level" and isinstance(v, str)]
    said = [*texts, str(event.__struct_config__.tag), describe(event)]
    return [text.casefold() for text in said]


def _parse(words: Sequence[str]) -> _Asked:
    asked = _Asked()
    rest = list(words)
    while rest:
        word = rest.pop(0)
        option, equals, value = word.partition("=")
        if word == "--follow":
            asked.follow = True
        elif word == "--keep-unread":
            asked.keep_unread = True
        elif option in ("--level", "--filter"):
            if not equals:
                if not rest:
                    raise CommandError(f"events: expected a word after {option}")
                value = rest.pop(0)
            _set(asked, option, value)
        else:
            asked.count = _count(word)
    return asked


def _set(asked: _Asked, option: str, value: str) -> None:
    if option == "--filter":
        asked.text = value.casefold()
        return
    try:
        asked.level = Level(value.lower())
    except ValueError as error:
        raise CommandError(f"events --level: expected one of {_LEVELS}, got {value!r}") from error


def _count(word: str) -> int:
    if not word.isascii() or not word.isdigit() or len(word) > _DIGITS or int(word) > _MOST:
        raise CommandError(
            f"events: expected how many, 0 to {_MOST}, --follow, --level LEVEL "
            f"or --filter TEXT, got {word!r}"
        )
    return int(word)
