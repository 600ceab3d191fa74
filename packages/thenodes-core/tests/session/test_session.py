"""Tests of established sessions, over links in memory and a clock that the test moves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest

from thenodes_core.clock import settle
from thenodes_core.errors import LinkClosed
from thenodes_core.limits import Limits
from thenodes_core.protocol.close import CloseCode, Ending
from thenodes_core.protocol.frame import make_head, pack
from thenodes_core.session.outbox import Lane
from thenodes_core.session.session import Session
from thenodes_core.transport.base import SUBPROTOCOLS, Link
from thenodes_plugin_api import (
    Auth,
    Body,
    Disconnect,
    Extension,
    Heartbeat,
    Hello,
    Message,
    NotConnected,
    OutboxFull,
    Payload,
    PayloadForm,
    PeerRequest,
    Reason,
    Text,
    Verified,
)

from .conftest import DIALER, HOME, JSON, Bench, Benches, Recorder, unknown_frame

# Messages


@pytest.mark.parametrize("subprotocol", SUBPROTOCOLS)
async def test_messages_are_delivered_with_the_sessions_id_as_their_sender(
    make_bench: Benches, subprotocol: str
) -> None:
    bench = make_bench(subprotocol)
    _, _, peer = await bench.running()

    await peer.send(bench.codec.encode(Message(Text("hi"), sender="forged", to="elsewhere")))
    await settle()

    assert bench.received.messages == [
        Message(Text("hi"), sender="dialer", verified=Verified.NONE),
    ]


async def test_several_frames_in_one_websocket_message_are_delivered_in_order(
    bench: Bench,
) -> None:
    _, _, peer = await bench.running()

    await peer.send(b"".join(bench.encode(Text(str(number))) for number in range(5)))
    await settle()

    texts = [message.body for message in bench.received.messages]
    assert texts == [Text(str(number)) for number in range(5)]


async def test_what_plugins_have_no_room_for_now_is_delivered_in_order(bench: Bench) -> None:
    bench.received.wants_turn = True
    _, _, peer = await bench.running()
    await asyncio.sleep(0)

    for number in range(5):
        await peer.send(bench.encode(Text(str(number))))
    await settle()

    assert [m.body for m in bench.received.messages] == [Text(str(n)) for n in range(5)]


async def test_a_defect_in_taking_a_message_is_raised_by_the_session(bench: Bench) -> None:
    _, run, peer = await bench.running()
    await asyncio.sleep(0)

    def deliver(session: Session, messages: Sequence[Message]) -> bool:
        raise RuntimeError("a defect")

    bench.received.deliver = deliver  # type: ignore[method-assign]
    await peer.send(bench.encode(Text("hi")))

    with pytest.raises(ExceptionGroup) as caught:
        await run
    assert caught.group_contains(RuntimeError, match="a defect")


@pytest.mark.parametrize("subprotocol", SUBPROTOCOLS)
async def test_what_is_sent_arrives(make_bench: Benches, subprotocol: str) -> None:
    bench = make_bench(subprotocol)
    session, _, peer = await bench.running()
    frame = bench.encode(Extension("k"), Payload.json({"a": 1}))

    await session.send(frame, timeout_seconds=1)

    assert await peer.receive() == frame


async def test_a_large_message_is_taken_once_the_handshake_is_complete(bench: Bench) -> None:
    _, _, peer = await bench.running()

    await peer.send(bench.encode(Extension("k"), Payload.binary(bytes(200_000))))
    await settle()

    assert len(bench.received.messages) == 1


@pytest.mark.parametrize("subprotocol", SUBPROTOCOLS)
async def test_garbage_after_the_handshake_ends_that_session_alone(
    make_bench: Benches, subprotocol: str
) -> None:
    bench = make_bench(subprotocol)
    _, running, peer = await bench.running()
    _, other, other_peer = await bench.running()

    await peer.send(b"\x00garbage")
    bodies, end = await bench.told(peer)

    assert (end.code, end.reason) == (4000, "protocol")
    assert isinstance(bodies[-1], Disconnect)
    assert bodies[-1].reason is Reason.BAD_FRAME
    assert (await running).code == CloseCode.PROTOCOL
    await other_peer.send(bench.encode(Text("still here")))
    await settle()
    assert not other.done()
    assert bench.received.messages[-1].body == Text("still here")


async def test_a_frame_over_the_limit_ends_the_session(bench: Bench) -> None:
    _, running, peer = await bench.running()

    await peer.send(pack(make_head(2, 3, b""), bytes(bench.limits.frame_bytes)))

    ending = await running
    assert ending.code == CloseCode.PROTOCOL
    assert "frame of 262152 bytes" in ending.detail


async def test_a_websocket_message_over_the_limit_ends_the_session(bench: Bench) -> None:
    _, running, peer = await bench.running()

    await peer.send(unknown_frame(99, 200_000) * 6)

    assert (await running).code == 1009


async def test_an_empty_websocket_message_ends_the_session(bench: Bench) -> None:
    _, running, peer = await bench.running()

    await peer.send(b"")

    assert (await running).code == CloseCode.PROTOCOL


@pytest.mark.parametrize("body", [Hello("other", realm=HOME), Auth(b"x")])
async def test_a_handshake_message_in_an_established_session_ends_it(
    bench: Bench, body: Body
) -> None:
    session, running, peer = await bench.running()

    await peer.send(bench.encode(body))

    assert (await running).code == CloseCode.PROTOCOL
    assert session.node_id == "dialer"


async def test_a_peer_that_sends_garbage_and_does_not_read_is_cut(make_bench: Benches) -> None:
    bench = make_bench(queue_messages=1)
    session, running, peer = await bench.running()
    for _ in range(3):
        await session.send(bench.encode(Text("hi")), timeout_seconds=1)
        await settle()
    await peer.send(b"garbage")
    await settle()
    assert not running.done()

    await bench.clock.advance(bench.limits.close_seconds)

    assert (await running).code == CloseCode.PROTOCOL


async def test_messages_after_a_fault_are_not_delivered(bench: Bench) -> None:
    _, running, peer = await bench.running()
    await peer.send(b"garbage")

    await peer.send(bench.encode(Text("too late")))

    await running
    assert bench.received.messages == []


async def test_messages_of_unknown_kinds_are_all_counted(bench: Bench) -> None:
    _, _, peer = await bench.running()

    for kinds in ([99, 100], [101], [99]):
        await peer.send(b"".join(map(unknown_frame, kinds)))
    await settle()

    assert [(kind, count) for kind, count, _ in bench.received.unknown] == [
        ("99", 2),
        ("101", 1),
        ("99", 1),
    ]


@pytest.mark.parametrize("subprotocol", SUBPROTOCOLS)
async def test_a_peer_is_reported_for_unknown_kinds_once(
    make_bench: Benches, subprotocol: str
) -> None:
    bench = make_bench(subprotocol)
    _, _, peer = await bench.running()

    for number in range(18, 58):
        envelope = {"from": "", "to": "", "msg_type": f"KIND_{number}"}
        json_bytes = json.dumps(envelope).encode()
        await peer.send(json_bytes if subprotocol == JSON else unknown_frame(number))
        await settle()

    firsts = [first for _, _, first in bench.received.unknown]
    assert firsts == [True] + [False] * 39


async def test_an_unknown_kind_is_given_to_nobody(bench: Bench) -> None:
    _, _, peer = await bench.running()

    await peer.send(unknown_frame(99) + bench.encode(Text("hi")))
    await settle()

    assert [message.body for message in bench.received.messages] == [Text("hi")]


async def test_what_the_session_itself_handles_reaches_nobody_else(bench: Bench) -> None:
    _, _, peer = await bench.running()

    await peer.send(bench.encode(Heartbeat()) + bench.encode(Text("hi")))
    await settle()

    assert [message.body for message in bench.received.messages] == [Text("hi")]


# Heartbeats


async def test_a_heartbeat_is_answered(bench: Bench) -> None:
    _, _, peer = await bench.running()
    await bench.clock.advance(1)

    await peer.send(bench.encode(Heartbeat()))

    assert await peer.receive() == bench.encode(Heartbeat())


async def test_a_heartbeat_is_not_answered_where_something_was_just_sent(bench: Bench) -> None:
    session, _, peer = await bench.running()
    await bench.clock.advance(5)
    await session.send(bench.encode(Text("traffic")), timeout_seconds=1)
    await peer.receive()
    await bench.clock.advance(0.9)

    await peer.send(bench.encode(Heartbeat()))
    await settle()

    assert len(session.outbox) == 0
    session.end(Ending.here(CloseCode.NORMAL, ""))
    bodies, _ = await bench.told(peer)
    assert bodies == [Disconnect(Reason.PEER_LEFT)]


async def test_one_heartbeat_after_another_gets_no_answer_within_a_second(bench: Bench) -> None:
    session, _, peer = await bench.running()
    await bench.clock.advance(1)

    for _ in range(5):
        await peer.send(bench.encode(Heartbeat()))
        await settle()

    session.end(Ending.here(CloseCode.NORMAL, ""))
    bodies, _ = await bench.told(peer)
    assert bodies == [Heartbeat(), Disconnect(Reason.PEER_LEFT)]


async def test_two_sessions_do_not_answer_each_others_answers(bench: Bench) -> None:
    dialling, accepting, _ = await bench.two()
    bench.run(dialling, Recorder())
    await bench.clock.advance(5)

    dialling.control(Heartbeat())
    await settle(500)

    assert (len(dialling.outbox), len(accepting.outbox)) == (0, 0)


# Sending to a peer that does not read


async def stalled(bench: Bench) -> tuple[Session, asyncio.Task[Ending], Link]:
    """A session whose peer reads nothing and whose outbox, of two frames, is full."""
    session, running, peer = await bench.running()
    while session.outbox.offer(bench.encode(Text("x"))):
        await settle()
    return session, running, peer


@pytest.fixture
def small(make_bench: Benches) -> Bench:
    """A bench whose outbox holds two frames and whose links hold one message."""
    return make_bench(limits=Limits(outbox_frames=2, coalesce_bytes=1), queue_messages=1)


async def test_a_sender_waits_until_the_peer_reads(small: Bench) -> None:
    session, _, peer = await stalled(small)
    sender = asyncio.ensure_future(session.send(small.encode(Text("last")), timeout_seconds=5))
    await small.clock.advance(4)
    assert not sender.done()

    await peer.receive()

    await sender


async def test_a_sender_is_told_when_there_was_no_room_in_time(small: Bench) -> None:
    session, _, _ = await stalled(small)
    sender = asyncio.ensure_future(session.send(small.encode(Text("y")), timeout_seconds=5))

    await small.clock.advance(5)

    with pytest.raises(OutboxFull, match="dialer took nothing for 5 s: 2 frames"):
        await sender


async def test_a_sender_that_does_not_wait_is_told_at_once(small: Bench) -> None:
    session, _, _ = await stalled(small)

    with pytest.raises(OutboxFull, match="2 frames waiting already"):
        await session.send(small.encode(Text("y")), timeout_seconds=0)


async def test_a_frame_that_found_no_room_is_not_sent_later(small: Bench) -> None:
    session, _, peer = await stalled(small)
    sender = asyncio.ensure_future(session.send(small.encode(Text("y")), timeout_seconds=5))
    await small.clock.advance(5)
    await asyncio.gather(sender, return_exceptions=True)

    session.end(Ending.here(CloseCode.NORMAL, ""))
    bodies, _ = await small.told(peer)

    assert Text("y") not in bodies


async def test_a_waiting_sender_is_told_when_the_session_ends(small: Bench) -> None:
    session, running, peer = await stalled(small)
    sender = asyncio.ensure_future(session.send(small.encode(Text("y")), timeout_seconds=5))
    await settle()

    peer.abort()

    with pytest.raises(NotConnected):
        await sender
    await running


async def test_a_waiting_sender_can_be_cancelled(small: Bench) -> None:
    session, _, _ = await stalled(small)
    sender = asyncio.ensure_future(session.send(small.encode(Text("y")), timeout_seconds=5))
    await settle()

    sender.cancel()

    with pytest.raises(asyncio.CancelledError):
        await sender


async def test_control_finds_room_where_data_does_not(small: Bench) -> None:
    session, _, _ = await stalled(small)

    assert session.control(Heartbeat())


async def test_control_overtakes_the_data_that_waits(small: Bench) -> None:
    session, _, peer = await stalled(small)
    waiting = len(session.outbox)
    session.control(Heartbeat())

    frames = [await peer.receive() for _ in range(waiting + 3)]

    assert frames.index(small.encode(Heartbeat())) < len(frames) - waiting


# Ending


async def test_ending_sends_what_is_queued_and_then_says_why(bench: Bench) -> None:
    session, running, peer = await bench.running()
    for number in range(3):
        session.outbox.offer(bench.encode(Text(str(number))))

    session.end(Ending.here(CloseCode.RESTARTING, "back soon", retry_after=2))

    bodies, end = await bench.told(peer)
    assert bodies == [
        *(Text(str(number)) for number in range(3)),
        Disconnect(Reason.RESTARTING, "back soon", 2),
    ]
    assert (end.code, end.reason) == (4009, "restarting")
    assert await running == Ending.here(CloseCode.RESTARTING, "back soon", retry_after=2)


async def test_nothing_is_taken_once_a_session_is_to_end(bench: Bench) -> None:
    session, _, _ = await bench.running()

    session.end(Ending.here(CloseCode.NORMAL, ""))

    assert not session.control(Heartbeat())
    with pytest.raises(NotConnected):
        await session.send(bench.encode(Text("x")), timeout_seconds=1)


async def test_the_first_word_on_an_ending_counts(bench: Bench) -> None:
    session, running, peer = await bench.running()

    session.end(Ending.here(CloseCode.REPLACED, "first"))
    session.end(Ending.here(CloseCode.NORMAL, "second"))

    _, end = await bench.told(peer)
    assert end.code == CloseCode.REPLACED
    assert (await running).detail == "first"


async def test_an_aborted_session_ends_without_a_word(bench: Bench) -> None:
    session, running, peer = await bench.running()

    session.abort()

    bodies, end = await bench.told(peer)
    assert (bodies, end.code) == ([], 1006)
    assert (await running).code == 1006


async def test_a_session_whose_peer_does_not_read_ends_all_the_same(small: Bench) -> None:
    session, running, _ = await stalled(small)
    session.end(Ending.here(CloseCode.RESTARTING, ""))
    await small.clock.advance(0.9)
    assert not running.done()

    await small.clock.advance(0.1)

    assert (await running).code == CloseCode.RESTARTING


async def test_a_session_ended_before_it_runs_says_why(bench: Bench) -> None:
    session, establishing, peer = await bench.accepting()
    await peer.send(bench.encode(DIALER.hello(bytes(32))))
    await establishing
    session.end(Ending.here(CloseCode.OVERLOADED, "full"))

    bench.run(session, bench.received)

    bodies, end = await bench.told(peer)
    assert bodies == [Heartbeat(), Disconnect(Reason.OVERLOAD, "full")]
    assert end.code == CloseCode.OVERLOADED


async def test_a_peer_that_leaves_in_order_is_believed(bench: Bench) -> None:
    _, running, peer = await bench.running()
    await peer.send(bench.encode(Disconnect(Reason.RESTARTING, "update", 5)))

    await peer.close(4009, "restarting")

    assert await running == Ending(
        code=4009, detail="update", reason=Reason.RESTARTING, retry_after=5, by_peer=True
    )


async def test_a_connection_that_breaks_is_explained(bench: Bench) -> None:
    _, running, peer = await bench.running()

    peer.abort()

    ending = await running
    assert (ending.code, ending.detail) == (1006, "connection lost")


async def test_two_sessions_end_for_the_same_reason(bench: Bench) -> None:
    dialling, accepting, _ = await bench.two()
    running = bench.run(dialling, Recorder())

    accepting.end(Ending.here(CloseCode.RESTARTING, "update"))

    ending = await running
    assert (ending.code, ending.detail, ending.by_peer) == (4009, "update", True)


async def test_a_cancelled_session_leaves_no_open_link(bench: Bench) -> None:
    session, running, peer = await bench.running()
    await settle()

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(LinkClosed):
        await peer.receive()
    assert session.outbox.closed


async def test_a_lane_of_control_is_bounded_against_a_peer_that_does_not_read(
    small: Bench,
) -> None:
    session, _, _ = await stalled(small)

    queued = sum(session.outbox.offer(b"x", lane=Lane.CONTROL) for _ in range(1000))

    assert queued < 100


async def test_a_sealed_payload_passes_through_unread(bench: Bench) -> None:
    _, _, peer = await bench.running()
    sealed = Payload(PayloadForm.SEALED, b"\xff\x00opaque")

    await peer.send(bench.encode(Extension("k"), sealed))
    await settle()

    assert bench.received.messages[0].payload == sealed


# What a peer says is cut, escaped, and believed only where the peer has the say


async def test_heartbeats_in_one_message_get_one_answer(bench: Bench) -> None:
    session, running, peer = await bench.running()
    await settle()
    await bench.clock.advance(5)
    await peer.send(bench.encode(Heartbeat()) * 10)
    await settle()
    session.end(Ending.here(CloseCode.NORMAL, "done"))

    bodies, _ = await bench.told(peer)
    await running

    assert [type(body) for body in bodies] == [Heartbeat, Disconnect]


async def test_garbage_during_the_end_does_not_change_why_it_ends(bench: Bench) -> None:
    session, running, peer = await bench.running()
    session.end(Ending.here(CloseCode.RESTARTING, "going"))

    await peer.send(b"garbage")
    await bench.told(peer)

    assert (await running).code == CloseCode.RESTARTING


async def test_a_disconnect_does_not_colour_an_ending_of_ours(bench: Bench) -> None:
    _, running, peer = await bench.running()
    await peer.send(bench.encode(Disconnect(Reason.REPLACED, "lie", 9e9)))
    await peer.send(b"x" * (bench.limits.message_bytes + 1))

    ending = await running

    assert (ending.by_peer, ending.reason, ending.retry_after) == (False, Reason.PEER_LEFT, None)
    assert "lie" not in ending.detail


async def watch(bench: Bench, session: Session, seconds: int) -> None:
    """What the manager does: look every second."""
    for _ in range(seconds):
        await bench.clock.advance(1.0)
        session.look()
    await settle()


async def test_a_silent_peer_gets_a_heartbeat_after_an_interval(make_bench: Benches) -> None:
    bench = make_bench()
    session, _, peer = await bench.running()

    await watch(bench, session, 9)
    early = session.outbox.size_bytes
    await watch(bench, session, 1)

    assert early == 0
    assert bench.codec.decode(await peer.receive()) == [Message(Heartbeat())]


async def test_a_peer_that_stays_silent_is_cut_after_three_intervals(make_bench: Benches) -> None:
    bench = make_bench()
    session, running, _ = await bench.running()

    await watch(bench, session, 29)
    assert not running.done()
    await watch(bench, session, 1)

    ending = await running
    assert (ending.code, ending.by_peer) == (CloseCode.TIMEOUT, False)
    assert ending.detail == "no sign of life for 30 s"


async def test_a_peer_that_reads_nothing_is_cut_after_five_seconds(make_bench: Benches) -> None:
    bench = make_bench(queue_messages=2)
    session, running, _ = await bench.running()
    frame = bench.encode(Text(""), Payload.binary(bytes(40_000)))
    for _ in range(8):
        session.outbox.offer(frame)
        await settle()

    await watch(bench, session, 6)

    ending = await running
    assert ending.code == CloseCode.TIMEOUT
    assert ending.detail.startswith("took nothing for 5 s: ")


async def test_two_far_nodes_do_not_answer_each_others_heartbeats_for_ever(
    make_bench: Benches,
) -> None:
    bench = make_bench()
    one, other, _ = await bench.two()
    bench.run(one, Recorder())
    bench._network.delay_seconds = 3.0

    await watch(bench, one, 30)
    sent = one._sent_messages + other._sent_messages

    assert sent <= 8


async def test_a_peer_that_floods_the_node_itself_is_rate_limited(make_bench: Benches) -> None:
    bench = make_bench(limits=Limits(control_per_second=2))
    _, running, peer = await bench.running()

    for _ in range(21):
        await peer.send(bench.encode(Heartbeat()))
    bodies, end = await bench.told(peer)

    assert (end.code, end.reason) == (4008, "rate-limited")
    (told,) = [body for body in bodies if isinstance(body, Disconnect)]
    assert (told.reason, told.retry_after) == (Reason.RATE_LIMITED, 30.0)
    assert (await running).code == CloseCode.RATE_LIMITED


async def test_control_messages_at_the_allowed_rate_are_taken(make_bench: Benches) -> None:
    bench = make_bench(limits=Limits(control_per_second=2))
    _, running, peer = await bench.running()

    for _ in range(60):
        await peer.send(bench.encode(PeerRequest(1)))
        await bench.clock.advance(0.5)

    assert not running.done()
    assert len(bench.received.control_messages) == 60


async def test_data_is_not_rate_limited(make_bench: Benches) -> None:
    bench = make_bench(limits=Limits(control_per_second=1))
    _, running, peer = await bench.running()

    for _ in range(200):
        await peer.send(bench.encode(Text("x")))
        await settle(5)

    assert not running.done()
    assert len(bench.received.messages) == 200


async def test_a_peer_whose_connection_pongs_and_whose_session_is_silent_is_cut(
    bench: Bench,
) -> None:
    session, running, _ = await bench.running()

    for _ in range(40):
        await bench.clock.advance(1.0)
        session.look()
        session.round_trip.start()
    await bench.clock.advance(1.0)

    assert session.round_trip.seconds is not None
    assert (await running).detail == "no sign of life for 30 s"
