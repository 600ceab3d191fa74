"""Peers as operators see them and handle them, on whole nodes over a network in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from thenodes_core import (
    Config,
    DiscoveryTable,
    ManualClock,
    MemoryNetwork,
    Node,
    NodeTable,
)
from thenodes_core.clock import settle
from thenodes_core.control.peers import Connected, Disconnected, Forgotten, PeerRow
from thenodes_core.errors import CommandError, CommandFailed
from thenodes_core.limits import Limits
from thenodes_core.protocol.handshake import Role
from thenodes_core.transport.base import Link
from thenodes_plugin_api import Event, Message, NetworkEvent, Plugin, PluginContext


class Hearing(Plugin):
    """Keeps what it gets."""

    abi = 1

    def __init__(self) -> None:
        self.had: list[Message] = []

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        self.had.append(message)


class Sink:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def handle(self, event: Event) -> None:
        if isinstance(event, NetworkEvent) and event.action == "text_received":
            self.texts.append(event.detail)


class Street:
    """Nodes that find each other only where they are told to, unless they discover."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.clock = ManualClock()
        self._network = MemoryNetwork(clock=self.clock)

    async def start(
        self,
        name: str,
        *bootstrap: str,
        discovers: bool = False,
        close_seconds: float = 1.0,
        **options: Any,
    ) -> Node:
        config = Config(
            port=0,
            node=NodeTable(id=name),
            bootstrap_nodes=bootstrap,
            discovery=DiscoveryTable(enabled=discovers),
            limits=Limits(close_seconds=close_seconds),
        )
        node = Node(config, transport=self._network, clock=self.clock, **options)
        return await self._stack.enter_async_context(node)

    def leave_room(self, messages: int) -> None:
        """Let so many messages be on their way at once from now on."""
        self._network.queue_messages = messages

    async def dial(self, node: Node) -> Link:
        """Another connection to a node."""
        return await self._network.dial(f"ws://{node.address}")

    async def pair(self, **options: Any) -> tuple[Node, Node]:
        """A node that dials, and the one that it is connected with."""
        hall = await self.start("hall")
        attic = await self.start("attic", hall.address, **options)
        await attic.wait_for("hall")
        await hall.wait_for("attic")
        return attic, hall


async def data(node: Node, line: str) -> Any:
    return (await node.commands.run(line)).data


@pytest.fixture
async def street() -> AsyncIterator[Street]:
    async with AsyncExitStack() as stack:
        yield Street(stack)


async def test_a_connected_peer_is_shown_with_what_its_session_carried(street: Street) -> None:
    attic, hall = await street.pair()
    await hall.commands.run("send attic hello")
    await settle()

    (row,) = await data(attic, "peers")

    assert isinstance(row, PeerRow)
    assert (row.node_id, row.path, row.address) == ("hall", "direct", hall.address)
    assert (row.trust, row.name) == ("unknown", "")
    assert row.received_bytes
    assert row.known_addresses == (hall.address,)


async def test_a_peer_is_shown_with_how_its_key_stands(street: Street) -> None:
    attic, hall = await street.pair()
    key = (await data(attic, "peer info hall")).fingerprint

    attic.trust.store.observe(key, hall.certificate)
    observed = (await data(attic, "peer info hall")).trust
    await attic.commands.run(f"trust promote {key}")

    assert (observed, (await data(attic, "peer info hall")).trust) == ("observed", "trusted")


async def test_a_peer_that_is_connected_by_hand_is_kept(street: Street) -> None:
    hall, attic = await street.start("hall"), await street.start("attic")

    came = await data(attic, f"peer connect {hall.address}")

    assert came == Connected(hall.address, "connected", "hall", "")
    assert attic.peers.get("hall") is not None
    assert [record.addr for record in attic.known_peers()] == [hall.address]


async def test_a_nodes_own_address_is_told_as_such_and_not_kept(street: Street) -> None:
    node = await street.start("hall")

    with pytest.raises(CommandFailed, match="this is the node's own address"):
        await node.commands.run(f"peer connect {node.address}")

    assert node.status().dialling == []


async def test_a_peer_that_is_let_go_of_is_not_dialled_until_it_is_connected_again(
    street: Street,
) -> None:
    attic, hall = await street.pair()

    ended = await data(attic, "peer disconnect ha")
    await settle()
    await street.clock.advance(3600.0)

    assert ended == Disconnected("hall", [hall.address], was_connected=True)
    assert (attic.peers.all(), hall.peers.all()) == ([], [])
    assert [dial.state for dial in attic.status().dialling] == ["disconnected"]

    assert (await data(attic, "peer connect hall")).state == "connected"
    assert [peer.node_id for peer in hall.peers.all()] == ["attic"]


async def test_a_peer_that_dials_while_it_is_let_go_of_is_told_to_be_back(street: Street) -> None:
    attic, hall = await street.pair()
    link = await street.dial(hall)
    again = asyncio.ensure_future(attic.peers.serve(link, Role.DIALER))

    ended = asyncio.ensure_future(hall.commands.run("peer disconnect attic"))
    await settle()
    await street.clock.advance(5.0)

    assert (await ended).data == Disconnected("attic", [], was_connected=True, is_back=True)
    assert "it has dialled and is back" in (await ended).text
    again.cancel()


async def test_a_session_that_takes_its_time_to_close_is_not_one_that_is_back(
    street: Street,
) -> None:
    hall = await street.start("hall")
    attic = await street.start("attic", hall.address, close_seconds=60.0)
    await attic.wait_for("hall")
    await hall.wait_for("attic")
    street.leave_room(0)

    ended = asyncio.ensure_future(attic.commands.run("peer disconnect hall"))
    await street.clock.advance(5.0)

    assert (await ended).data == Disconnected("hall", [hall.address], was_connected=True)
    assert attic.peers.get("hall") is not None
    street.leave_room(64)
    await street.clock.advance(60.0)


async def test_a_peer_that_dials_comes_back_a_minute_after_it_was_let_go_of(
    street: Street,
) -> None:
    _, hall = await street.pair()

    await hall.commands.run("peer disconnect attic")
    await street.clock.advance(59.0)
    before = [peer.node_id for peer in hall.peers.all()]
    await street.clock.advance(30.0)

    assert (before, [peer.node_id for peer in hall.peers.all()]) == ([], ["attic"])


async def test_a_learned_address_of_a_peer_that_was_let_go_of_is_not_dialled(
    street: Street,
) -> None:
    hall = await street.start("hall")
    attic = await street.start("attic", discovers=True)
    await attic.commands.run(f"peer connect {hall.address}")

    await attic.commands.run("peer disconnect hall")
    for _ in range(100):
        await street.clock.advance(60.0)

    assert attic.peers.all() == []


async def test_what_is_known_of_a_peer_is_forgotten(street: Street) -> None:
    attic, hall = await street.pair()

    forgotten = await data(attic, "peer forget hall")

    assert isinstance(forgotten, Forgotten)
    assert (forgotten.addresses, forgotten.is_connected) == ([hall.address], True)
    assert set(forgotten.bound) == {"hall", hall.address}
    assert (attic.known_peers(), attic.trust.ids()) == ([], {})
    with pytest.raises(CommandFailed, match="nothing is known of hall"):
        await attic.commands.run("peer forget hall")


async def test_two_people_talk_at_two_prompts(street: Street) -> None:
    sink = Sink()
    _, hall = await street.pair(sinks=(sink,))

    sent = await hall.commands.run("send attic it's me\x1b[2J")
    await settle()

    assert sent.text == "sent to attic"
    assert sink.texts == ["hall says: it's me\\x1b[2J"]


async def test_a_text_that_a_plugin_takes_is_the_plugins(street: Street) -> None:
    plugin, sink = Hearing(), Sink()
    attic, hall = await street.pair(plugins={"hearing": plugin}, sinks=(sink,))

    await hall.commands.run("send attic hello")
    await settle()

    assert ([message.sender for message in plugin.had], sink.texts) == (["hall"], [])
    assert attic.counters.get("texts_received") == 0


async def test_a_text_to_somebody_who_is_not_there_fails_and_says_why(street: Street) -> None:
    attic, _ = await street.pair()

    with pytest.raises(CommandFailed, match="not sent to cellar: no session with cellar"):
        await attic.commands.run("send cellar hello")


async def test_the_status_has_what_happened_lately(street: Street) -> None:
    attic, _ = await street.pair()
    with pytest.raises(CommandError):
        await attic.commands.run("peer connect nowhere")
    node = await street.start("cellar", "127.0.0.1:9")
    await settle()

    glance = await data(node, "glance")
    status = await data(node, "status")

    assert (glance.peers, glance.errors, glance.relay) == (0, 1, None)
    assert [event.action for event in status.problems] == ["dial_failed"]
    assert (await data(node, "glance")).errors == 0
    assert (await data(node, "events 1 --level warning"))[0].addr == "127.0.0.1:9"
