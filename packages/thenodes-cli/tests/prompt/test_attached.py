"""The events of a node in another process, and its end."""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from thenodes_cli.console import Console
from thenodes_cli.prompt.attached import watch
from thenodes_core.control.access import Description
from thenodes_core.control.commands import Reply
from thenodes_core.control.completion import Candidate
from thenodes_core.errors import CommandFailed, NoNode, StateDirError
from thenodes_plugin_api import Level


class Remote:
    """A node that answers `events` with these streams, one after the other, and then is gone."""

    def __init__(self, *streams: Sequence[Reply | Exception]) -> None:
        self.streams = list(streams)
        self.lines: list[str] = []

    async def describe(self) -> Description:
        return Description()

    async def complete(self, typed: str, prefix: str | None) -> Sequence[Candidate]:
        return ()

    async def answers(self, line: str) -> AsyncGenerator[Reply, None]:
        self.lines.append(line)
        if line == "version":
            if not self.streams:
                raise NoNode("gone for good")
            yield Reply("TheNodes")
            return
        for said in self.streams.pop(0):
            if isinstance(said, Exception):
                raise said
            yield said


def event(text: str, **data: Any) -> Reply:
    return Reply(text, data, more=True)


class Shown(Console):
    """A console that keeps what it shows."""

    def __init__(self, *, per_second: int | None = None) -> None:
        super().__init__(io.StringIO(), per_second=per_second, monotonic=lambda: 0.0)
        self.written: list[tuple[str, Level]] = []

    def write(self, line: str, level: Level) -> None:
        self.written.append((line, level))


async def test_events_are_shown_with_their_level_until_the_node_is_gone() -> None:
    remote = Remote([event("it is broken", level="error"), event("so what"), NoNode("closed")])
    console = Shown()

    with pytest.raises(NoNode, match="gone for good"):
        await watch(remote, console, Level.WARNING)

    assert console.written == [("it is broken", Level.ERROR), ("so what", Level.INFO)]
    assert remote.lines[0] == "events 0 --follow --keep-unread --level warning"


async def test_a_stream_that_ends_while_the_node_runs_begins_again() -> None:
    remote = Remote([event("one"), NoNode("cut")], [event("two"), NoNode("closed")])
    console = Shown()

    with pytest.raises(NoNode):
        await watch(remote, console, Level.INFO, again_seconds=0)

    assert [line for line, _ in console.written] == ["one", "two"]


async def test_a_node_that_does_not_answer_any_more_is_told() -> None:
    with pytest.raises(StateDirError):
        await watch(Remote([StateDirError("no answer")]), Shown(), Level.INFO)


async def test_where_events_are_refused_that_is_told_once_and_the_prompt_goes_on() -> None:
    full = CommandFailed("too many follow")
    remote = Remote([full], [full], [event("at last"), NoNode("closed")])
    console = Shown()

    with pytest.raises(NoNode):
        await watch(remote, console, Level.INFO, again_seconds=0)

    assert console.written == [
        ("no events are shown: too many follow", Level.WARNING),
        ("at last", Level.INFO),
    ]


async def test_what_events_say_is_shown_without_control_characters() -> None:
    console = Shown()

    with pytest.raises(NoNode):
        await watch(Remote([event("a\x1b[2Jb"), NoNode("")]), console, Level.INFO)

    assert console.written == [("a\\x1b[2Jb", Level.INFO)]


async def test_of_a_flood_what_can_be_followed_is_shown() -> None:
    console = Shown(per_second=2)
    flood = [event(f"event {number}") for number in range(1000)]

    with pytest.raises(NoNode):
        await watch(Remote([*flood, NoNode("closed")]), console, Level.INFO)

    assert [line for line, _ in console.written] == [f"event {number}" for number in range(4)]
    console.close()
    assert console.written[-1] == ("996 lines were skipped", Level.WARNING)


async def test_without_a_console_events_are_taken_and_not_shown() -> None:
    with pytest.raises(NoNode):
        await watch(Remote([event("one"), NoNode("")]), None, Level.INFO)
