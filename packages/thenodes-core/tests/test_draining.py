"""A node that drains: what it takes no more, what it finishes, and how long that may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import cast

import pytest

from thenodes_core import Config, ManualClock, MemoryNetwork, Node, StartError
from thenodes_core.clock import settle
from thenodes_core.draining import Draining
from thenodes_core.plugins.roster import Roster
from thenodes_plugin_api import (
    Event,
    Extension,
    Message,
    NotConnected,
    Plugin,
    PluginContext,
    SystemEvent,
)


class Slow(Plugin):
    """Takes a message only when it is let."""

    abi = 1

    def __init__(self) -> None:
        self.had = 0
        self.gate = asyncio.Event()
        self.had_at_stop = -1

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        await self.gate.wait()
        self.had += 1

    async def on_stop(self, ctx: PluginContext) -> None:
        self.had_at_stop = self.had


class Sink:
    def __init__(self) -> None:
        self.events: list[Event] = []

    async def handle(self, event: Event) -> None:
        self.events.append(event)

    def details(self, action: str) -> list[str]:
        return [e.detail for e in self.events if isinstance(e, SystemEvent) and e.action == action]


class Place:
    """A network with a clock of its own; its nodes are stopped at the end."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.stack = stack
        self.clock = ManualClock()
        self.network = MemoryNetwork(clock=self.clock)
        self.sink = Sink()

    async def start(self, *bootstrap: str, plugin: Plugin | None = None) -> Node:
        node = Node(
            Config(port=0, bootstrap_nodes=bootstrap),
            transport=self.network,
            clock=self.clock,
            plugins={} if plugin is None else {"slow": plugin},
            sinks=(self.sink,),
        )
        return await self.stack.enter_async_context(node)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        yield Place(stack)


async def busy(place: Place, count: int) -> tuple[Node, Slow]:
    """A node whose plugin has so many messages waiting."""
    plugin = Slow()
    node = await place.start(plugin=plugin)
    other = await place.start(node.address, plugin=Slow())
    await other.wait_for(node.id)
    for _ in range(count):
        await other.send(node.id, Extension("slow.say"))
    await settle()
    return node, plugin


async def test_a_node_with_nothing_to_do_has_drained_at_once(place: Place) -> None:
    node = await place.start()
    draining = asyncio.ensure_future(node.drain())
    await place.clock.advance(0.1)

    assert draining.done()
    assert await draining
    assert node.is_draining
    assert node.is_running
    await settle()
    assert place.sink.details("draining") == ["the node takes nothing new, and stops within 5 s"]
    assert len(place.sink.details("drained")) == 1


async def test_a_node_that_drains_waits_until_plugins_had_what_is_in_their_inboxes(
    place: Place,
) -> None:
    node, plugin = await busy(place, 3)
    draining = asyncio.ensure_future(node.drain())
    await place.clock.advance(2)
    assert not draining.done()

    plugin.gate.set()
    await place.clock.advance(0.1)

    assert await draining
    assert plugin.had == 3


async def test_a_node_drains_no_longer_than_it_may_and_says_what_is_left(place: Place) -> None:
    node, plugin = await busy(place, 3)
    draining = asyncio.ensure_future(node.drain(seconds=2))

    await place.clock.advance(2.1)

    assert await draining is False
    await settle()
    assert place.sink.details("drain_cut") == [
        "2 s are up, and not everything is done: 2 waiting for plugin slow"
    ]
    plugin.gate.set()


async def test_a_plugin_that_is_still_with_its_last_message_is_waited_for(place: Place) -> None:
    node, plugin = await busy(place, 1)
    draining = asyncio.ensure_future(node.drain(seconds=2))

    await place.clock.advance(2.1)

    assert await draining is False
    await settle()
    assert place.sink.details("drain_cut")[0].endswith("plugin slow is busy")
    plugin.gate.set()


class Asked(Slow):
    """Answers when it is let."""

    prompt_prefix = "slow"

    async def on_prompt(self, line: str, ctx: PluginContext) -> str | None:
        await self.gate.wait()
        return "at last"


async def test_an_answer_that_a_plugin_has_begun_is_waited_for(place: Place) -> None:
    plugin = Asked()
    node = await place.start(plugin=plugin)
    answering = asyncio.ensure_future(node.commands.run("slow ask"))
    await settle()
    draining = asyncio.ensure_future(node.drain())
    await place.clock.advance(1)
    assert not draining.done()

    plugin.gate.set()
    await place.clock.advance(0.1)

    assert (await answering).text == "at last"
    assert await draining


async def test_a_node_that_drains_accepts_nobody_and_keeps_whom_it_has(place: Place) -> None:
    plugin = Slow()
    node = await place.start(plugin=plugin)
    early = await place.start(node.address)
    await early.wait_for(node.id)
    draining = asyncio.ensure_future(node.drain())
    await place.clock.advance(0.1)
    await draining

    late = await place.start(node.address)
    await place.clock.advance(5)

    with pytest.raises(NotConnected):
        await late.peers.send(node.id, Extension("slow.say"))
    plugin.gate.set()
    await early.send(node.id, Extension("slow.say"))
    await settle()
    assert plugin.had == 1
    (dial,) = late.status().dialling
    assert dial.error.startswith("restarting (peer)")


async def test_who_is_amid_a_handshake_when_a_node_begins_to_drain_is_sent_away(
    place: Place,
) -> None:
    node = await place.start()
    place.network.delay_seconds = 0.1
    late = await place.start(node.address)
    await place.clock.advance(0.1)
    assert late.status().dialling[0].state == "handshaking"

    draining = asyncio.ensure_future(node.drain())
    await place.clock.advance(2.0)
    await draining

    assert (node.peers.all(), late.peers.all()) == ([], [])
    assert node.counters.get("sessions_refused", reason="restarting") == 1


class Loaded:
    """A slot of the roster with a service that has drained when it was told."""

    plugin_id = "carry"
    waiting = 0

    def __init__(self) -> None:
        self.runtime = self
        self.is_drained = False
        self.told = 0

    def drain(self) -> None:
        self.told += 1


async def test_a_service_that_is_loaded_anew_while_the_node_drains_is_told_too(
    place: Place,
) -> None:
    node = await place.start()
    first, second = Loaded(), Loaded()
    roster = [first]
    draining = Draining(node.peers, cast("Roster", roster), node.events, place.clock)
    running = asyncio.ensure_future(draining.run(5))
    await place.clock.advance(0.1)
    assert first.told

    roster[:] = [second]
    await place.clock.advance(0.1)

    assert second.told
    second.is_drained = True
    await place.clock.advance(0.1)
    assert await running


async def test_what_ends_and_begins_something_else_meanwhile_is_waited_for(place: Place) -> None:
    node = await place.start()
    slot = Loaded()
    draining = Draining(node.peers, cast("Roster", [slot]), node.events, place.clock)
    running = asyncio.ensure_future(draining.run(5))
    await place.clock.advance(0.1)

    for is_done in (True, False, True, False):
        slot.is_drained = is_done
        await place.clock.advance(0.02)
    assert not running.done()

    slot.is_drained = True
    await place.clock.advance(0.1)
    assert await running


async def test_a_node_that_does_not_run_cannot_drain() -> None:
    with pytest.raises(StartError, match="not started"):
        await Node(Config(port=0)).drain()
