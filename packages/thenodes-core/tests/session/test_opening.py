"""Tests of what precedes a session: the handshake, its limits, and who is refused."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest

from thenodes_core.clock import settle
from thenodes_core.errors import LinkClosed
from thenodes_core.protocol.close import CloseCode, Ending
from thenodes_core.protocol.handshake import Role
from thenodes_core.transport.base import SUBPROTOCOLS
from thenodes_plugin_api import (
    Auth,
    Body,
    Direction,
    Disconnect,
    Extension,
    Heartbeat,
    Realm,
    Reason,
    Text,
)

from .conftest import ACCEPTOR, DIALER, JSON, Bench, Benches, unknown_frame


@pytest.mark.parametrize("subprotocol", SUBPROTOCOLS)
async def test_two_sessions_establish_in_both_encodings(
    make_bench: Benches, subprotocol: str
) -> None:
    dialling, accepting, endings = await make_bench(subprotocol).two()

    assert endings == (None, None)
    assert (dialling.node_id, accepting.node_id) == ("acceptor", "dialer")


@pytest.mark.parametrize("subprotocol", SUBPROTOCOLS)
async def test_an_established_session_describes_its_peer(
    make_bench: Benches, subprotocol: str
) -> None:
    bench = make_bench(subprotocol)

    dialling, _, _ = await bench.two()

    info = dialling.info
    assert (info.node_id, info.direction) == ("acceptor", Direction.OUTBOUND)
    assert (info.node_type, info.capabilities) == ("gateway", ("relay",))
    assert (info.listen_addr, info.connected_at) == ("127.0.0.1:7", bench.clock.time())


async def test_the_accepting_side_sees_its_peer_as_inbound(bench: Bench) -> None:
    _, accepting, _ = await bench.two()

    assert accepting.info.direction is Direction.INBOUND


async def test_no_peer_is_described_before_the_handshake_is_complete(bench: Bench) -> None:
    near, _ = await bench.links()

    session = bench.session(near, Role.DIALER, DIALER)

    assert session.claimed_id is None
    with pytest.raises(ValueError, match="no peer"):
        session.info  # noqa: B018  # the property is what is tested


async def test_the_dialling_side_says_nothing_before_the_other_spoke(bench: Bench) -> None:
    near, far = await bench.links()
    establishing = asyncio.ensure_future(bench.session(near, Role.DIALER, DIALER).establish())
    reading = asyncio.ensure_future(far.receive())
    await settle()

    assert not reading.done()
    far.abort()
    await asyncio.gather(establishing, reading, return_exceptions=True)


@pytest.mark.parametrize("subprotocol", SUBPROTOCOLS)
async def test_a_peer_of_another_realm_is_told_why_and_closed(
    make_bench: Benches, subprotocol: str
) -> None:
    bench = make_bench(subprotocol)
    _, establishing, peer = await bench.accepting()
    stranger = msgspec.structs.replace(DIALER, realm=Realm("Other", "other", "1"))

    await peer.send(bench.encode(stranger.hello(bytes(32))))

    bodies, end = await bench.told(peer)
    (disconnect,) = bodies
    assert isinstance(disconnect, Disconnect)
    assert disconnect.reason is Reason.POLICY_DENIED
    assert disconnect.detail == "expected realm home/1, got other/1"
    assert (end.code, end.reason) == (4001, "realm")
    ending = await establishing
    assert ending is not None
    assert (ending.code, ending.by_peer) == (CloseCode.REALM, False)


async def test_both_sides_of_different_realms_know_that_it_was_the_realm(bench: Bench) -> None:
    stranger = msgspec.structs.replace(DIALER, realm=Realm("Other", "other", "1"))

    _, _, endings = await bench.two(dialer=stranger)

    assert [ending and ending.code for ending in endings] == [CloseCode.REALM, CloseCode.REALM]


@pytest.mark.parametrize("subprotocol", SUBPROTOCOLS)
async def test_a_refused_peer_learns_the_cause_in_words(
    make_bench: Benches, subprotocol: str
) -> None:
    bench = make_bench(subprotocol)
    gateways = msgspec.structs.replace(ACCEPTOR, allowed_node_types=frozenset({"gateway"}))

    _, _, (ending, _) = await bench.two(acceptor=gateways)

    assert ending is not None
    assert (ending.code, ending.by_peer) == (CloseCode.NODE_TYPE, True)
    assert ending.detail == "node type none is not admitted: gateway"
    assert ending.reason is Reason.POLICY_DENIED


async def test_a_node_that_dials_itself_is_refused_as_itself(bench: Bench) -> None:
    _, _, endings = await bench.two(dialer=ACCEPTOR)

    assert endings[0] is not None
    assert endings[0].code == CloseCode.SELF


@pytest.mark.parametrize("role", Role)
async def test_a_peer_that_says_nothing_is_given_up_when_the_time_is_over(
    bench: Bench, role: Role
) -> None:
    near, _ = await bench.links()
    establishing = asyncio.ensure_future(bench.session(near, role, ACCEPTOR).establish())

    await bench.clock.advance(9.9)
    assert not establishing.done()
    await bench.clock.advance(0.1)

    ending = await establishing
    assert ending is not None
    assert ending.code == CloseCode.TIMEOUT


async def test_a_peer_that_was_too_slow_is_told_so(bench: Bench) -> None:
    _, _, peer = await bench.accepting()

    await bench.clock.advance(10)

    bodies, end = await bench.told(peer)
    assert bodies == [
        Disconnect(Reason.TIMEOUT, "handshake not complete within 10 s", None),
    ]
    assert (end.code, end.reason) == (4010, "timeout")


async def test_a_peer_that_keeps_talking_does_not_gain_time(bench: Bench) -> None:
    _, establishing, peer = await bench.accepting()

    for _ in range(10):
        await peer.send(unknown_frame(99))
        await bench.clock.advance(1)

    ending = await establishing
    assert ending is not None
    assert ending.code == CloseCode.TIMEOUT


async def test_more_handshake_than_the_limit_in_all_is_refused(bench: Bench) -> None:
    _, establishing, peer = await bench.accepting()

    for _ in range(17):
        await peer.send(unknown_frame(99, 1016))

    ending = await establishing
    assert ending is not None
    assert ending.code == CloseCode.PROTOCOL
    assert ending.detail == "more than 16384 bytes of handshake"


async def test_handshake_of_exactly_the_limit_is_taken(bench: Bench) -> None:
    _, establishing, peer = await bench.accepting()
    hello = bench.encode(DIALER.hello(bytes(32)))

    await peer.send(unknown_frame(99, bench.limits.handshake_bytes - 8 - len(hello)))
    await peer.send(hello)

    assert await establishing is None


async def test_one_message_over_the_limit_of_the_handshake_is_refused(bench: Bench) -> None:
    _, establishing, peer = await bench.accepting()

    await peer.send(unknown_frame(99, bench.limits.handshake_bytes))

    ending = await establishing
    assert ending is not None
    assert (ending.code, ending.by_peer) == (1009, False)


@pytest.mark.parametrize("subprotocol", SUBPROTOCOLS)
@pytest.mark.parametrize("garbage", [b"", b"\x00", b"GET / HTTP/1.1", b"\xff" * 100, b"{}"])
async def test_garbage_instead_of_a_hello_is_refused(
    make_bench: Benches, subprotocol: str, garbage: bytes
) -> None:
    bench = make_bench(subprotocol)
    _, establishing, peer = await bench.accepting()

    await peer.send(garbage)

    bodies, end = await bench.told(peer)
    assert end.code == CloseCode.PROTOCOL
    assert isinstance(bodies[0], Disconnect)
    assert bodies[0].reason is Reason.BAD_FRAME
    ending = await establishing
    assert ending is not None
    assert not ending.by_peer


@pytest.mark.parametrize("body", [Text("hi"), Heartbeat(), Auth(b"x"), Extension("k")])
async def test_a_message_before_hello_is_refused(bench: Bench, body: Body) -> None:
    _, establishing, peer = await bench.accepting()

    await peer.send(bench.encode(body))

    ending = await establishing
    assert ending is not None
    assert ending.code == CloseCode.PROTOCOL


async def test_two_hellos_in_one_websocket_message_are_refused(bench: Bench) -> None:
    _, establishing, peer = await bench.accepting()
    hello = bench.encode(DIALER.hello(bytes(32)))

    await peer.send(hello + hello)

    ending = await establishing
    assert ending is not None
    assert ending.code == CloseCode.PROTOCOL


async def test_a_peer_that_leaves_during_the_handshake_is_gone(bench: Bench) -> None:
    _, establishing, peer = await bench.accepting()

    peer.abort()

    ending = await establishing
    assert ending is not None
    assert (ending.code, ending.by_peer) == (1006, True)


async def test_a_peer_that_refuses_with_a_word_is_understood(bench: Bench) -> None:
    _, establishing, peer = await bench.accepting()

    await peer.send(bench.encode(Disconnect(Reason.OVERLOAD, "full", 30)))
    await peer.close(4006, "overloaded")

    assert await establishing == Ending(
        code=4006, detail="full", reason=Reason.OVERLOAD, retry_after=30, by_peer=True
    )


async def test_a_refused_peer_that_does_not_read_is_cut(make_bench: Benches) -> None:
    bench = make_bench(queue_messages=1)
    near, far = await bench.links()
    establishing = asyncio.ensure_future(bench.session(far, Role.ACCEPTOR, ACCEPTOR).establish())
    await near.send(b"garbage")
    await settle()
    assert not establishing.done()

    await bench.clock.advance(bench.limits.close_seconds)

    ending = await establishing
    assert ending is not None
    assert ending.code == CloseCode.PROTOCOL


async def test_the_dialling_side_waits_for_the_word_that_it_is_admitted(bench: Bench) -> None:
    near, far = await bench.links()
    establishing = asyncio.ensure_future(bench.session(near, Role.DIALER, DIALER).establish())
    await far.send(bench.encode(ACCEPTOR.hello(bytes(32))))
    await settle()
    assert not establishing.done()

    await far.send(bench.encode(Heartbeat()))

    assert await establishing is None


async def test_an_acceptor_without_that_word_is_believed_after_a_while(bench: Bench) -> None:
    near, far = await bench.links()
    establishing = asyncio.ensure_future(bench.session(near, Role.DIALER, DIALER).establish())
    await far.send(bench.encode(ACCEPTOR.hello(bytes(32))))

    await bench.clock.advance(bench.limits.admission_seconds)

    assert await establishing is None


async def test_a_dialling_side_refused_after_both_hellos_is_not_established(bench: Bench) -> None:
    near, far = await bench.links()
    establishing = asyncio.ensure_future(bench.session(near, Role.DIALER, DIALER).establish())
    await far.send(bench.encode(ACCEPTOR.hello(bytes(32))))
    await far.receive()
    await far.send(bench.encode(Disconnect(Reason.REPLACED, "another session")))
    await far.close(4004, "replaced")

    ending = await establishing

    assert ending is not None
    assert (ending.code, ending.detail) == (CloseCode.REPLACED, "another session")


async def test_what_came_with_the_word_of_admission_is_delivered(bench: Bench) -> None:
    near, far = await bench.links()
    session = bench.session(near, Role.DIALER, DIALER)
    await far.send(bench.encode(ACCEPTOR.hello(bytes(32))))
    await far.send(bench.encode(Heartbeat()) + bench.encode(Text("first")))
    assert await session.establish() is None

    bench.run(session, bench.received)
    await far.send(bench.encode(Text("second")))
    await settle()

    assert [message.body for message in bench.received.messages] == [Text("first"), Text("second")]


async def test_a_session_that_is_ended_during_its_handshake_is_cut(bench: Bench) -> None:
    session, establishing, peer = await bench.accepting()

    session.end(Ending.here(CloseCode.RESTARTING, ""))

    assert await establishing is not None
    with pytest.raises(LinkClosed):
        await peer.receive()


async def test_an_established_session_that_is_refused_is_never_told_that_it_is_admitted(
    bench: Bench,
) -> None:
    session, establishing, peer = await bench.accepting()
    await peer.send(bench.encode(DIALER.hello(bytes(32))))
    assert await establishing is None

    await session.refuse(Ending.here(CloseCode.OVERLOADED, "full"))

    bodies, end = await bench.told(peer)
    assert bodies == [Disconnect(Reason.OVERLOAD, "full")]
    assert end.code == CloseCode.OVERLOADED


async def test_a_refusal_that_quotes_the_peer_is_cut_and_the_peer_is_told(
    make_bench: Benches,
) -> None:
    bench = make_bench(JSON)
    _, establishing, peer = await bench.accepting()
    long = json.dumps({"type": "\x1b" + "x" * 10_000, "value": 1})
    await peer.send(b'{"from":"","to":"","msg_type":"HEARTBEAT","payload":%s}' % long.encode())

    bodies, end = await bench.told(peer)
    ending = await establishing

    assert ending is not None
    assert len(ending.detail) < 310
    assert "\x1b" not in ending.detail
    assert end.code == CloseCode.PROTOCOL
    assert isinstance(bodies[-1], Disconnect)


async def test_a_reason_that_came_before_the_end_of_a_handshake_is_heard(bench: Bench) -> None:
    near, far = await bench.links()
    session = bench.session(near, Role.DIALER, DIALER)
    await far.send(bench.encode(ACCEPTOR.hello(bytes(32))))
    await far.send(bench.encode(Disconnect(Reason.OVERLOAD, "too many", 7.0)))
    await far.close(CloseCode.OVERLOADED, "overloaded")

    ending = await session.establish()

    assert ending is not None
    assert (ending.code, ending.detail, ending.retry_after) == (4006, "too many", 7.0)
