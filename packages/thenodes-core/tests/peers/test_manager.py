"""Two managers over a network in memory: who is connected, and where messages go."""

from __future__ import annotations

import asyncio

import pytest

from thenodes_core.clock import ManualClock, settle
from thenodes_core.transport.memory import MemoryNetwork
from thenodes_plugin_api import (
    Body,
    Direction,
    Extension,
    NotConnected,
    OutboxFull,
    Payload,
    PayloadError,
    PayloadForm,
    PayloadTooLarge,
    PeerJoined,
    PeerLeft,
    PeerRequest,
    Text,
)

from .conftest import LIMITS, MakeSide, Side


async def test_two_nodes_that_connect_see_each_other(pair: tuple[Side, Side]) -> None:
    one, other = pair

    assert one.peers == [("b", Direction.OUTBOUND)]
    assert other.peers == [("a", Direction.INBOUND)]


async def test_both_sides_hear_of_the_other_once(pair: tuple[Side, Side]) -> None:
    for side, peer in zip(pair, "ba", strict=True):
        assert side.changes == [PeerJoined(side.manager.all()[0])]
        assert side.manager.all()[0].node_id == peer


async def test_a_message_arrives_with_the_sessions_id_as_its_sender(
    pair: tuple[Side, Side],
) -> None:
    one, other = pair

    await one.manager.send("b", Extension("my.x"), Payload.text("hello"))
    await settle()

    assert [(m.sender, m.body, m.payload) for m in other.messages] == [
        ("a", Extension("my.x"), Payload.text("hello"))
    ]


async def test_sending_to_a_node_that_is_not_connected_raises(pair: tuple[Side, Side]) -> None:
    with pytest.raises(NotConnected, match="c"):
        await pair[0].manager.send("c", Text("hello"))


async def test_a_message_over_the_frame_limit_is_refused_before_it_is_sent(
    pair: tuple[Side, Side],
) -> None:
    one, other = pair

    with pytest.raises(PayloadTooLarge):
        await one.manager.send("b", Extension("my.x"), Payload.binary(bytes(LIMITS.frame_bytes)))
    await settle()

    assert (one.peers, other.messages) == ([("b", Direction.OUTBOUND)], [])


async def test_a_broadcast_reaches_every_peer(make_side: MakeSide) -> None:
    hub, *others = [make_side(node_id) for node_id in ("hub", "a", "b", "c")]
    await hub.listen()
    for other in others:
        await other.dial(hub)
    await settle()

    assert hub.manager.broadcast(Text("hello")) == 3
    await settle()
    assert [len(other.messages) for other in others] == [1, 1, 1]


async def test_a_broadcast_reaches_peers_of_both_encodings(
    make_side: MakeSide, clock: ManualClock
) -> None:
    hub = make_side("hub")
    await hub.listen()
    await make_side("a").dial(hub)
    speaks_json = make_side("b")
    hub.network.subprotocol = "thenodes.v1.json"
    await speaks_json.dial(hub)
    await settle()

    assert hub.manager.broadcast(Extension("my.x"), Payload.json([1])) == 2
    await settle()
    assert [m.payload for m in speaks_json.messages] == [Payload.json([1])]
    assert {peer.encoding for peer in hub.manager.all()} == {"binary", "json"}


async def test_a_sender_waits_for_room_and_gives_up_after_its_deadline(
    make_side: MakeSide, clock: ManualClock
) -> None:
    network = MemoryNetwork(clock=clock, queue_messages=1, delay_seconds=0.001)
    one, other = make_side("a", on=network), make_side("b", on=network)
    await other.listen()
    await one.dial(other)
    await clock.advance(1.0)
    network.delay_seconds = 1e9
    sent = []

    async def flood() -> None:
        while True:
            await one.manager.send("b", Text("x"), timeout_seconds=3.0)
            sent.append(clock.monotonic())

    flooding = asyncio.ensure_future(flood())
    await clock.advance(2.9)
    waiting = not flooding.done()
    await clock.advance(0.2)

    assert waiting
    assert len(sent) >= LIMITS.outbox_frames
    with pytest.raises(OutboxFull):
        await flooding


async def test_a_broadcast_passes_over_a_peer_without_room(
    make_side: MakeSide, clock: ManualClock
) -> None:
    network = MemoryNetwork(clock=clock, queue_messages=1, delay_seconds=0.001)
    one, other = make_side("a", on=network), make_side("b", on=network)
    await other.listen()
    await one.dial(other)
    await clock.advance(1.0)
    network.delay_seconds = 1e9

    reached = []
    for _ in range(20):
        reached.append(one.manager.broadcast(Text("x")))
        await settle(5)

    assert reached[0] == 1
    assert reached[-1] == 0
    assert one.counters.get("messages_dropped", reason="outbox_full") == reached.count(0)


async def test_a_peer_that_leaves_is_gone_on_both_sides(
    pair: tuple[Side, Side], network: MemoryNetwork
) -> None:
    one, other = pair

    network.cut()
    await settle()

    for side in (one, other):
        assert side.peers == []
        assert isinstance(side.changes[-1], PeerLeft)


async def test_waiting_for_a_peer_ends_when_it_joins(make_side: MakeSide) -> None:
    one, other = make_side("a"), make_side("b")
    await other.listen()
    waiting = asyncio.ensure_future(other.manager.wait_for("a"))
    await settle()
    assert not waiting.done()

    await one.dial(other)

    assert (await waiting).node_id == "a"


async def test_waiting_until_a_peer_is_gone_ends_when_it_left(
    pair: tuple[Side, Side], network: MemoryNetwork
) -> None:
    waiting = asyncio.ensure_future(pair[0].manager.wait_gone("b"))
    await settle()
    assert not waiting.done()

    network.cut()
    await waiting


async def test_every_hello_says_where_the_node_listens_once_that_is_known(
    make_side: MakeSide,
) -> None:
    one, other = make_side("a"), make_side("b")
    await other.listen()
    one.manager.announce("127.0.0.1:7")

    await one.dial(other)
    await settle()

    assert [peer.listen_addr for peer in other.manager.all()] == ["127.0.0.1:7"]


@pytest.mark.parametrize(
    "payload",
    [
        Payload(PayloadForm.JSON, b'1},"msg_type":{"DISCONNECT":{}},"x":{"y":1'),
        Payload(PayloadForm.TEXT, b"\xff"),
    ],
    ids=["JSON", "text"],
)
async def test_a_broadcast_that_one_encoding_refuses_is_queued_for_nobody(
    make_side: MakeSide, payload: Payload
) -> None:
    hub, binary, speaks_json = make_side("hub"), make_side("a"), make_side("b")
    await hub.listen()
    await binary.dial(hub)
    hub.network.subprotocol = "thenodes.v1.json"
    await speaks_json.dial(hub)
    await settle()

    with pytest.raises(PayloadError):
        hub.manager.broadcast(Extension("my.x"), payload)
    await settle()

    assert (binary.messages, speaks_json.messages) == ([], [])
    assert len(hub.peers) == 2


# Messages that the node answers itself


async def test_a_message_for_the_node_goes_to_its_handler_and_to_no_plugin(
    pair: tuple[Side, Side],
) -> None:
    one, other = pair
    heard: list[tuple[str, Body | None]] = []
    other.manager.handle(PeerRequest, lambda session, m: heard.append((session.node_id, m.body)))

    assert one.manager.control_to("b", PeerRequest(3))
    await settle()

    assert heard == [("a", PeerRequest(3))]
    assert other.messages == []


async def test_a_message_that_no_part_of_the_node_answers_is_counted(
    pair: tuple[Side, Side],
) -> None:
    one, other = pair

    one.manager.control_to("b", PeerRequest(3))
    await settle()

    assert other.messages == []
    assert other.counters.get("messages_dropped", reason="not_handled") == 1


async def test_a_control_message_to_nobody_is_not_queued(pair: tuple[Side, Side]) -> None:
    assert not pair[0].manager.control_to("nobody", PeerRequest(3))
