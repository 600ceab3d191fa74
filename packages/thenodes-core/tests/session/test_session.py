"""Tests of sessions, over links in memory and a clock that the test moves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest

from thenodes_core.clock import ManualClock, settle
from thenodes_core.errors import LinkClosed
from thenodes_core.limits import Limits
from thenodes_core.protocol.close import CloseCode, Ending
from thenodes_core.protocol.codec import Codec
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.codec_json import JsonCodec
from thenodes_core.protocol.frame import make_head, pack
from thenodes_core.protocol.handshake import Handshake, LocalNode, Role
from thenodes_core.protocol.proof import Channel, dialled_bindings
from thenodes_core.session.outbox import Lane
from thenodes_core.session.session import Session
from thenodes_core.transport.base import SUBPROTOCOLS, Link
from thenodes_core.transport.memory import MemoryNetwork
from thenodes_plugin_api import (
    Auth,
    Body,
    Direction,
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
    Realm,
    Reason,
    Text,
    Verified,
)

HOME = Realm("Home", "home", "1")
DIALER = LocalNode(node_id="dialer", realm=HOME, instance=b"d" * 16, require_identity=False)
ACCEPTOR = LocalNode(
    node_id="acceptor",
    realm=HOME,
    instance=b"a" * 16,
    require_identity=False,
    node_type="gateway",
    capabilities=("relay",),
    listen_addr="127.0.0.1:7",
)
BINARY, JSON = SUBPROTOCOLS


class Recorder:
    """Keeps what a session hands on."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.control_messages: list[Message] = []
        self.unknown: list[tuple[str, int, bool]] = []
        self.wants_turn = False

    def deliver(self, session: Session, messages: Sequence[Message]) -> bool:
        self.messages += messages
        return self.wants_turn

    def control(self, session: Session, message: Message) -> None:
        self.control_messages.append(message)

    def unknown_kinds(self, session: Session, kind: str, count: int, *, first: bool) -> None:
        self.unknown.append((kind, count, first))


class Bench:
    """A clock, a network, and the sessions and tasks made on them."""

    def __init__(self, subprotocol: str, limits: Limits, *, queue_messages: int = 64) -> None:
        self.clock = ManualClock()
        self.limits = limits
        self.codec: Codec = (BinaryCodec if subprotocol == BINARY else JsonCodec)(limits)
        self.received = Recorder()
        self.tasks: list[asyncio.Task[Ending]] = []
        self._network = MemoryNetwork(
            clock=self.clock, subprotocol=subprotocol, queue_messages=queue_messages
        )

    async def links(self) -> tuple[Link, Link]:
        """The dialling and the accepting end of a new link."""
        accepted: asyncio.Future[Link] = asyncio.get_running_loop().create_future()

        async def accept(link: Link) -> None:
            accepted.set_result(link)
            await asyncio.Event().wait()

        listener = await self._network.listen("127.0.0.1", 0, accept, lambda *_: None)
        near = await self._network.dial(f"ws://127.0.0.1:{listener.port}")
        return near, await accepted

    def session(self, link: Link, role: Role, local: LocalNode) -> Session:
        channel = Channel(self.codec.subprotocol, dialled_bindings(encrypted=False))
        handshake = Handshake(
            role, local, bytes(32), channel, lambda body: self.codec.encode(Message(body))
        )
        return Session(link, role, handshake, self.codec, limits=self.limits, clock=self.clock)

    def run(self, session: Session, receiver: Recorder) -> asyncio.Task[Ending]:
        task = asyncio.get_running_loop().create_task(session.run(receiver))
        self.tasks.append(task)
        return task

    async def two(
        self, dialer: LocalNode = DIALER, acceptor: LocalNode = ACCEPTOR
    ) -> tuple[Session, Session, tuple[Ending | None, Ending | None]]:
        """Two sessions, dialler first, and what came of their handshake."""
        near, far = await self.links()
        dialling = self.session(near, Role.DIALER, dialer)
        accepting = self.session(far, Role.ACCEPTOR, acceptor)

        async def accept() -> Ending | None:
            ending = await accepting.establish()
            if ending is None:
                self.run(accepting, Recorder())
            return ending

        first, second = await asyncio.gather(dialling.establish(), accept())
        return dialling, accepting, (first, second)

    async def accepting(self) -> tuple[Session, asyncio.Task[Ending | None], Link]:
        """A session that waits for HELLO, and the end of the link that the test speaks on."""
        near, far = await self.links()
        session = self.session(far, Role.ACCEPTOR, ACCEPTOR)
        establishing = asyncio.ensure_future(session.establish())
        await near.receive()
        return session, establishing, near

    async def running(self) -> tuple[Session, asyncio.Task[Ending], Link]:
        """A session that runs, and the end of the link that the test speaks on."""
        session, establishing, peer = await self.accepting()
        await peer.send(self.encode(DIALER.hello(bytes(32))))
        assert await establishing is None
        running = self.run(session, self.received)
        assert await peer.receive() == self.encode(Heartbeat())
        return session, running, peer

    def encode(self, body: Body, payload: Payload | None = None) -> bytes:
        return self.codec.encode(Message(body, payload))

    async def told(self, peer: Link) -> tuple[list[Body], LinkClosed]:
        """Everything the peer gets until the link ends, and how it ends."""
        bodies: list[Body] = []
        while True:
            try:
                messages = self.codec.decode(await peer.receive())
            except LinkClosed as end:
                return bodies, end
            bodies += [message.body for message in messages if isinstance(message, Message)]

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class Benches:
    """Makes benches and clears them away."""

    def __init__(self) -> None:
        self._made: list[Bench] = []

    def __call__(
        self,
        subprotocol: str = BINARY,
        limits: Limits | None = None,
        *,
        queue_messages: int = 64,
    ) -> Bench:
        bench = Bench(subprotocol, limits or Limits(), queue_messages=queue_messages)
        self._made.append(bench)
        return bench

    async def close(self) -> None:
        for bench in self._made:
            await bench.close()


@pytest.fixture
async def make_bench() -> AsyncIterator[Benches]:
    """Makes benches of either encoding and any limits."""
    benches = Benches()
    yield benches
    await benches.close()


@pytest.fixture
async def bench(make_bench: Benches) -> Bench:
    """A bench of the binary encoding with the default limits."""
    return make_bench()


def unknown_frame(kind: int, size: int = 0) -> bytes:
    return pack(make_head(kind, 0, b""), bytes(size))


# The handshake


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


async def test_a_session_that_is_ended_during_its_handshake_is_cut(bench: Bench) -> None:
    session, establishing, peer = await bench.accepting()

    session.end(Ending.here(CloseCode.RESTARTING, ""))

    assert await establishing is not None
    with pytest.raises(LinkClosed):
        await peer.receive()


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


async def test_a_reason_that_came_before_the_end_of_a_handshake_is_heard(bench: Bench) -> None:
    near, far = await bench.links()
    session = bench.session(near, Role.DIALER, DIALER)
    await far.send(bench.encode(ACCEPTOR.hello(bytes(32))))
    await far.send(bench.encode(Disconnect(Reason.OVERLOAD, "too many", 7.0)))
    await far.close(CloseCode.OVERLOADED, "overloaded")

    ending = await session.establish()

    assert ending is not None
    assert (ending.code, ending.detail, ending.retry_after) == (4006, "too many", 7.0)


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
