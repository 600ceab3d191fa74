"""The key-value store on real nodes over a network in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

import kvstore_plugin
from thenodes_core import Config, ManualClock, MemoryNetwork, Node, PluginsTable
from thenodes_core.clock import settle
from thenodes_plugin_api import (
    Event,
    Extension,
    Message,
    Payload,
    Plugin,
    PluginContext,
    PluginEvent,
    Text,
)

TREE = Path(__file__).parent.parent


class Sink:
    """Keeps what is told of the store."""

    def __init__(self) -> None:
        self.events: list[PluginEvent] = []

    async def handle(self, event: Event) -> None:
        if isinstance(event, PluginEvent) and event.plugin == "kvstore":
            self.events.append(event)

    def details(self, action: str) -> list[str]:
        return [event.detail for event in self.events if event.action == action]


class Stranger(Plugin):
    """Sends what it likes, and keeps nothing."""

    abi = 1

    async def on_start(self, ctx: PluginContext) -> None:
        self.ctx = ctx


class Town:
    """Nodes with the store, which know each other's addresses."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.stack = stack
        self.clock = ManualClock()
        self.network = MemoryNetwork(clock=self.clock)
        self.sink = Sink()

    async def start(self, *peers: Node, table: dict[str, object] | None = None) -> Node:
        """A node with the store, connected with `peers`."""
        return await self._start(
            peers,
            Config(
                port=0,
                bootstrap_nodes=tuple(peer.address for peer in peers),
                plugins=PluginsTable(paths=(str(TREE),)),
                plugin={"kvstore": table or {}},
            ),
            {},
        )

    async def start_stranger(self, peer: Node) -> tuple[Node, PluginContext]:
        """A node without the store, and the context of a plugin on it."""
        stranger = Stranger()
        config = Config(port=0, bootstrap_nodes=(peer.address,))
        return await self._start([peer], config, {"stranger": stranger}), stranger.ctx

    async def _start(
        self, peers: tuple[Node, ...] | list[Node], config: Config, plugins: dict[str, Plugin]
    ) -> Node:
        node = Node(
            config,
            plugins=plugins,
            transport=self.network,
            clock=self.clock,
            sinks=(self.sink,),
        )
        await self.stack.enter_async_context(node)
        for peer in peers:
            await node.wait_for(peer.id)
            await peer.wait_for(node.id)
        await settle(200)
        return node


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        yield Town(stack)


async def say(node: Node, line: str) -> str:
    """What the store answers at the prompt, once all nodes have come to rest."""
    answer = (await node.commands.run(f"kvstore {line}")).text
    await settle(200)
    return answer


async def test_a_value_that_was_put_can_be_read(town: Town) -> None:
    node = await town.start()

    assert await say(node, "put a 1") == "stored a = 1, sent to 0 peers"
    assert await say(node, "get a") == "a = 1"


async def test_a_value_may_have_spaces(town: Town) -> None:
    node = await town.start()

    await say(node, "put greeting hello to  you")

    assert await say(node, "get greeting") == "greeting = hello to  you"


async def test_a_put_reaches_every_peer(town: Town) -> None:
    hub = await town.start()
    others = [await town.start(hub) for _ in range(3)]

    assert await say(hub, "put a 1") == "stored a = 1, sent to 3 peers"

    assert [await say(other, "get a") for other in others] == ["a = 1"] * 3


async def test_a_put_of_either_side_reaches_the_other(town: Town) -> None:
    one = await town.start()
    other = await town.start(one)

    await say(one, "put a 1")
    await say(other, "put b 2")

    assert await say(one, "list") == await say(other, "list") == "a = 1\nb = 2"


async def test_the_newest_put_wins(town: Town) -> None:
    one = await town.start()
    other = await town.start(one)

    await say(one, "put a 1")
    await say(other, "put a 2")

    assert await say(one, "get a") == await say(other, "get a") == "a = 2"


async def test_a_late_joiner_is_given_the_entries_there_are(town: Town) -> None:
    first = await town.start()
    await say(first, "put a 1")
    await say(first, "put b 2")

    late = await town.start(first)

    assert await say(late, "list") == "a = 1\nb = 2"


@pytest.mark.parametrize("count", [499, 500, 501, 1250])
async def test_a_late_joiner_is_given_more_than_one_page(town: Town, count: int) -> None:
    first = await town.start()
    for number in range(count):
        await first.commands.run(f"kvstore put key{number} {number}")

    late = await town.start(first)

    assert await say(late, "list") == await say(first, "list")
    assert len((await say(late, "list")).splitlines()) == count


async def test_joining_leaves_what_was_here_already_as_it_is(town: Town) -> None:
    one, other = await town.start(), await town.start()
    await say(one, "put a mine")
    await say(other, "put a yours")

    await town.start(one, other)

    assert (await say(one, "get a"), await say(other, "get a")) == ("a = mine", "a = yours")


async def test_a_peer_that_has_no_store_is_not_asked(town: Town) -> None:
    node = await town.start()

    await town.start_stranger(node)
    await town.clock.advance(60.0)

    assert town.sink.details("fault") == []
    assert await say(node, "list") == "no entries"


@pytest.mark.parametrize("kind", ["kvstore.put", "kvstore.get", "kvstore.list"])
@pytest.mark.parametrize(
    "payload",
    [
        Payload.json({"key": 1, "value": [], "after": 3}),
        Payload.json([]),
        Payload.text("a"),
        Payload.binary(b"\x00"),
    ],
    ids=["wrong types", "no object", "text", "bytes"],
)
async def test_a_malformed_payload_of_a_peer_is_reported_and_harms_nothing(
    town: Town, kind: str, payload: Payload
) -> None:
    node = await town.start()
    await say(node, "put a 1")
    stranger, ctx = await town.start_stranger(node)

    await ctx.send(node.id, Extension(kind), payload)
    await settle(200)

    (report,) = town.sink.details("bad_payload")
    assert report.startswith(f"a message of {stranger.id} cannot be used")
    assert town.sink.details("fault") == []
    assert await say(node, "list") == "a = 1"


@pytest.mark.parametrize("kind", ["kvstore.put", "kvstore.get", "kvstore.list", "kvstore.other"])
async def test_a_message_without_a_payload_or_of_another_kind_is_ignored(
    town: Town, kind: str
) -> None:
    node = await town.start()
    _, ctx = await town.start_stranger(node)

    await ctx.send(node.id, Extension(kind))
    await ctx.send(node.id, Text("hello"))
    await settle(200)

    assert town.sink.details("fault") == town.sink.details("bad_payload") == []
    assert await say(node, "list") == "no entries"


async def test_a_peer_can_ask_for_a_value(town: Town) -> None:
    node = await town.start()
    await say(node, "put a 1")
    _, ctx = await town.start_stranger(node)

    answers: list[Message] = [
        await ctx.request(node.id, "kvstore.get", Payload.json({"key": key})) for key in "ab"
    ]

    assert [answer.payload for answer in answers] == [
        Payload.json({"key": "a", "value": "1"}),
        Payload.json({"key": "b", "value": None}),
    ]


async def test_one_entry_more_than_allowed_is_not_stored(town: Town) -> None:
    node = await town.start(table={"max_entries": 2})
    await say(node, "put a 1")
    await say(node, "put b 2")

    assert await say(node, "put c 3") == "not stored: there are 2 entries already"
    assert await say(node, "list") == "a = 1\nb = 2"


async def test_a_full_store_still_takes_new_values_of_its_keys(town: Town) -> None:
    node = await town.start(table={"max_entries": 1})
    await say(node, "put a 1")

    await say(node, "put a 2")

    assert await say(node, "get a") == "a = 2"


async def test_an_entry_that_was_not_stored_is_not_sent(town: Town) -> None:
    one = await town.start(table={"max_entries": 0})
    other = await town.start(one)

    await say(one, "put a 1")

    assert await say(other, "list") == "no entries"


async def test_a_peer_cannot_put_more_entries_than_allowed(town: Town) -> None:
    small = await town.start(table={"max_entries": 2})
    large = await town.start(small)

    for number in range(5):
        await say(large, f"put key{number} {number}")

    assert await say(small, "list") == "key0 = 0\nkey1 = 1"


async def test_a_late_joiner_takes_no_more_entries_than_allowed(town: Town) -> None:
    first = await town.start()
    for number in range(5):
        await say(first, f"put key{number} {number}")

    late = await town.start(first, table={"max_entries": 3})

    assert len((await say(late, "list")).splitlines()) == 3


async def test_a_limit_that_is_no_number_is_told_as_a_fault_at_start(town: Town) -> None:
    node = await town.start(table={"max_entries": "many"})

    assert [(p.id, p.state) for p in node.status().plugins] == [("kvstore", "failed")]
    assert "on_start raised" in town.sink.details("fault")[0]


@pytest.mark.parametrize("line", ["put a", "get", "list all", "dance"])
async def test_a_line_that_is_no_command_is_answered_with_the_usage(town: Town, line: str) -> None:
    node = await town.start()

    assert await say(node, line) == f"usage: {kvstore_plugin.USAGE}"


async def test_a_key_that_is_not_there_is_told(town: Town) -> None:
    assert await say(await town.start(), "get a") == "no entry a"
