"""The command `events`."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from thenodes_core.control.commands import CommandTable, Reply
from thenodes_core.control.events import add_events_command
from thenodes_core.errors import CommandError, CommandFailed
from thenodes_core.events.recent import RecentEvents
from thenodes_plugin_api import Event, Level, NetworkEvent, PluginEvent, SystemEvent

JOINED = NetworkEvent(action="peer_joined", detail="kitchen joined", node_id="kitchen", addr="a:1")
FAULT = PluginEvent(plugin="chat", action="fault", detail="it raised", level=Level.ERROR)
STARTED = SystemEvent(action="started", detail="the node\x1b[2J listens")


class Asked:
    """A node's events, and the command that tells them."""

    def __init__(self) -> None:
        self.recent = RecentEvents()
        self.table = CommandTable()
        add_events_command(self.table, self.recent)

    async def happens(self, *events: Event) -> None:
        await self.recent.handle_batch(events)

    async def told(self, line: str) -> Reply:
        return await self.table.run(line)


@pytest.fixture
async def asked() -> Asked:
    asked = Asked()
    await asked.happens(STARTED, JOINED, FAULT)
    return asked


async def test_events_are_told_as_the_console_shows_them_with_escapes(asked: Asked) -> None:
    reply = await asked.told("events")

    first, second, third = reply.text.splitlines()
    assert first.endswith(" info    the node\\x1b[2J listens")
    assert second.endswith(" info    kitchen joined")
    assert third.endswith(" error   [chat] it raised")
    assert reply.data == [STARTED, JOINED, FAULT]


async def test_a_count_is_of_the_newest(asked: Asked) -> None:
    assert (await asked.told("events 1")).data == [FAULT]
    assert (await asked.told("events 0")).text == "no such events lately"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("--filter KITCHEN", [JOINED]),
        ("--filter a:1", [JOINED]),
        ("--filter peer_joined", [JOINED]),
        ("--filter network", [JOINED]),
        ("--filter chat", [FAULT]),
        ("--filter=raised", [FAULT]),
        ("--filter nothing", []),
        ("--filter error", []),
        ("--level warning", [FAULT]),
        ("--level info --filter listens", [STARTED]),
    ],
)
async def test_a_filter_is_looked_for_in_all_that_an_event_says(
    asked: Asked, words: str, found: list[Event]
) -> None:
    assert (await asked.told(f"events {words}")).data == found


@pytest.mark.parametrize(
    "words",
    [
        "many",
        "-1",
        "1001",
        "--level loud",
        "--filter",
        "--loud",
        "²",
        pytest.param("0000000009999", id="one that begins as a small number"),
        pytest.param("9" * 5000, id="more digits than Python reads"),
    ],
)
async def test_words_that_say_nothing_are_refused(asked: Asked, words: str) -> None:
    with pytest.raises(CommandError, match="expected"):
        await asked.told(f"events {words}")


async def test_whoever_asks_has_read_the_errors(asked: Asked) -> None:
    assert asked.recent.unread == 1

    await asked.told("events")

    assert asked.recent.unread == 0


async def test_whoever_follows_gets_the_last_ones_and_then_those_that_happen(asked: Asked) -> None:
    async with aclosing(asked.table.answers("events 1 --follow --level error --json")) as answers:
        first = await anext(answers)
        coming = asyncio.ensure_future(anext(answers))
        await asyncio.sleep(0)
        await asked.happens(STARTED, FAULT)
        second = await coming

    assert (first.data, first.more, first.as_json, second.data) == (FAULT, True, True, FAULT)


async def test_whoever_begins_to_follow_has_read_the_errors_that_are_shown(asked: Asked) -> None:
    async with aclosing(asked.table.answers("events --follow")) as answers:
        await anext(answers)

    assert asked.recent.unread == 0


async def test_whoever_no_longer_follows_leaves_its_place(asked: Asked) -> None:
    for _ in range(20):
        async with aclosing(asked.table.answers("events 1 --follow")) as answers:
            await anext(answers)

    followers = [asked.table.answers("events 1 --follow") for _ in range(17)]
    for follower in followers[:16]:
        await anext(follower)
    with pytest.raises(CommandFailed, match="too many"):
        await anext(followers[16])
    for follower in followers:
        await follower.aclose()


async def test_a_program_that_shows_events_to_nobody_leaves_them_unread(asked: Asked) -> None:
    async with aclosing(asked.table.answers("events 0 --follow --keep-unread")) as answers:
        first = asyncio.ensure_future(anext(answers))
        await asyncio.sleep(0)
        await asked.happens(FAULT)

        assert (await first).data == FAULT
        assert asked.recent.unread == 2
