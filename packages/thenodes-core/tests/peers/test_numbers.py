"""What managers tell of their sessions in numbers: traffic, queues, round trips."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import cast

import pytest

from thenodes_core.clock import ManualClock, settle
from thenodes_core.events.counters import Counters
from thenodes_core.events.dispatcher import Dispatcher
from thenodes_core.limits import Limits
from thenodes_core.peers.manager import PeerManager
from thenodes_core.peers.numbers import SessionsNumbers
from thenodes_core.protocol.codec import Codec
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.codec_json import JsonCodec
from thenodes_core.protocol.handshake import LocalNode, Role
from thenodes_core.session.numbers import SessionNumbers
from thenodes_core.session.round_trip import RoundTrip
from thenodes_core.session.session import Session
from thenodes_core.session.tally import Totals
from thenodes_core.transport.base import SUBPROTOCOLS, Link
from thenodes_core.transport.memory import MemoryNetwork
from thenodes_plugin_api import (
    Extension,
    Message,
    NotConnected,
    Payload,
    PeerJoined,
    PeerLeft,
    Realm,
    RequestTimeout,
    Text,
)

LIMITS = Limits()


class Inbound:
    """Takes everything."""

    def deliver(self, messages: Sequence[Message]) -> bool:
        return False

    def peer_changed(self, event: PeerJoined | PeerLeft) -> None:
        return


class Two:
    """The managers `a`, which dialled, and `b`, on a network in memory."""

    def __init__(self, clock: ManualClock, *, subprotocol: str, delay_seconds: float) -> None:
        self.clock = clock
        self.network = MemoryNetwork(
            clock=clock, subprotocol=subprotocol, delay_seconds=delay_seconds
        )
        self.a, self.b = self._manager("a", clock), self._manager("b", clock)
        self._tasks: list[asyncio.Future[object]] = []

    def _manager(self, node_id: str, clock: ManualClock) -> PeerManager:
        codecs: list[Codec] = [BinaryCodec(LIMITS), JsonCodec(LIMITS)]
        return PeerManager(
            LocalNode(node_id=node_id, realm=Realm(), instance=b"1", require_identity=False),
            {codec.subprotocol: codec for codec in codecs},
            Inbound(),
            Dispatcher(Counters()),
            Counters(),
            limits=LIMITS,
            clock=clock,
            random_bytes=random.Random(0).randbytes,
        )

    async def connect(self) -> Link:
        """Returns the end of the link that is `a`'s."""

        async def accept(link: Link) -> None:
            await self.b.serve(link, Role.ACCEPTOR)

        listener = await self.network.listen("127.0.0.1", 0, accept, lambda *_: None)
        link = await self.network.dial(f"ws://127.0.0.1:{listener.port}")
        self._run(self.a.serve(link, Role.DIALER))
        await self.clock.advance(10 * self.network.delay_seconds)
        return link

    def watch(self) -> None:
        """Let both look after their sessions."""
        self._run(self.a.watch())
        self._run(self.b.watch())

    def _run(self, work: Coroutine[object, object, object]) -> None:
        self._tasks.append(asyncio.ensure_future(work))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.network.cut()
        await settle()


@pytest.fixture(params=SUBPROTOCOLS)
async def two(request: pytest.FixtureRequest, clock: ManualClock) -> AsyncIterator[Two]:
    two = Two(clock, subprotocol=request.param, delay_seconds=0.02)
    yield two
    await two.close()


def only(manager: PeerManager) -> SessionNumbers:
    (numbers,) = manager.numbers()
    return numbers


def by_kind(totals: Totals) -> dict[str, tuple[int, int]]:
    return {total.kind: (total.frames, total.bytes) for total in totals}


async def test_what_one_side_sent_the_other_received_frame_by_frame_and_byte_by_byte(
    two: Two,
) -> None:
    await two.connect()
    for number in range(30):
        await two.a.send("b", Extension("my.x"), Payload.text("x" * number))
    two.b.broadcast(Text("hello"))
    await two.clock.advance(1.0)

    here, there = two.a.traffic, two.b.traffic

    assert by_kind(here.sent) == by_kind(there.received)
    assert by_kind(here.received) == by_kind(there.sent)
    assert by_kind(here.sent)["EXTENSION"][0] == 30
    assert by_kind(there.sent)["TEXT"][0] == 1
    assert {"HELLO"} <= by_kind(here.sent).keys() & by_kind(here.received).keys()
    mine, theirs = only(two.a), only(two.b)
    assert (mine.sent_frames, mine.sent_bytes) == (theirs.received_frames, theirs.received_bytes)
    assert (mine.received_bytes, mine.queued_frames) == (theirs.sent_bytes, 0)


async def test_kinds_that_come_in_one_message_are_counted_each_as_what_it_is(two: Two) -> None:
    await two.connect()
    for _ in range(5):
        await two.a.send("b", Text("hello"))
        await two.a.send("b", Extension("my.x"), Payload.text("x"))
    await two.clock.advance(1.0)

    received = by_kind(two.b.traffic.received)

    assert received == by_kind(two.a.traffic.sent)
    assert (received["TEXT"][0], received["EXTENSION"][0]) == (5, 5)


async def test_a_session_that_ended_stays_in_the_totals(two: Two) -> None:
    link = await two.connect()
    await two.a.send("b", Text("hello"))
    await two.clock.advance(1.0)
    before = by_kind(two.a.traffic.sent)

    link.abort()
    await two.clock.advance(1.0)

    assert two.a.numbers() == []
    assert by_kind(two.a.traffic.sent) == before
    assert before["TEXT"][0] == 1


async def test_a_session_that_ended_before_anybody_looked_is_in_the_totals(two: Two) -> None:
    link = await two.connect()
    await two.a.send("b", Text("hello"))
    await two.clock.advance(1.0)

    link.abort()
    await two.clock.advance(1.0)

    assert by_kind(two.a.traffic.sent)["TEXT"][0] == 1
    assert by_kind(two.b.traffic.received) == by_kind(two.a.traffic.sent)


async def test_what_waits_for_a_peer_is_told(two: Two) -> None:
    await two.connect()
    for _ in range(90):
        await two.a.send("b", Extension("my.x"), Payload.text("x" * 40_000))
    await settle()

    numbers = only(two.a)

    assert numbers.queued_frames > 0
    assert numbers.queued_bytes >= 40_000
    for _ in range(20):
        await two.clock.advance(0.1)
    assert only(two.a).queued_frames == 0


async def test_the_round_trip_is_known_soon_after_a_peer_is_admitted(two: Two) -> None:
    await two.connect()
    assert only(two.a).rtt_seconds is None
    two.watch()

    await two.clock.advance(1.5)

    assert only(two.a).rtt_seconds == pytest.approx(0.04)
    assert only(two.b).rtt_seconds == pytest.approx(0.04)


async def test_the_round_trip_is_measured_again_every_half_minute(two: Two) -> None:
    await two.connect()
    two.watch()
    await two.clock.advance(2.0)
    two.network.delay_seconds = 0.1

    await two.clock.advance(27.0)
    assert only(two.a).rtt_seconds == pytest.approx(0.04)
    await two.clock.advance(4.0)
    assert only(two.a).rtt_seconds == pytest.approx(0.2)


async def test_a_ping_tells_the_round_trip(two: Two) -> None:
    await two.connect()
    pinging = asyncio.ensure_future(two.a.ping("b"))

    await two.clock.advance(0.1)

    assert await pinging == pytest.approx(0.04)


async def test_a_peer_that_does_not_pong_is_a_timeout(two: Two) -> None:
    link = await two.connect()
    link.other.answers_pings = False  # type: ignore[attr-defined]
    pinging = asyncio.ensure_future(two.a.ping("b", timeout_seconds=3.0))

    await two.clock.advance(3.0)

    with pytest.raises(RequestTimeout, match="b did not answer within 3 s"):
        await pinging
    assert only(two.a).rtt_seconds is None


async def test_a_peer_that_does_not_pong_is_not_cut_for_that(two: Two) -> None:
    link = await two.connect()
    link.other.answers_pings = False  # type: ignore[attr-defined]
    two.watch()

    await two.clock.advance(120.0)

    assert only(two.a).rtt_seconds is None
    assert only(two.b).rtt_seconds == pytest.approx(0.04)


async def test_nobody_to_ping_is_said(two: Two) -> None:
    with pytest.raises(NotConnected, match="no session with b"):
        await two.a.ping("b")


async def test_a_peer_that_leaves_ends_the_ping(two: Two) -> None:
    link = await two.connect()
    pinging = asyncio.ensure_future(two.a.ping("b"))
    await settle()

    link.abort()
    await settle()

    with pytest.raises(NotConnected, match="ended"):
        await pinging


async def test_those_for_which_bytes_wait_keep_no_other_from_being_asked(
    clock: ManualClock,
) -> None:
    class Line:
        def __init__(self, *, takes: bool) -> None:
            self.takes = takes
            self.asked = 0

        def ping(self, answered: object) -> bool:
            self.asked += self.takes
            return self.takes

    class Held:
        def __init__(self, line: Line) -> None:
            self.round_trip = RoundTrip(cast("Link", line), clock)

    lines = [*(Line(takes=False) for _ in range(300)), *(Line(takes=True) for _ in range(201))]
    held = {str(number): cast("Session", Held(line)) for number, line in enumerate(lines)}
    numbers = SessionsNumbers(held, clock)

    asked = []
    for _ in range(2):
        numbers.measure()
        asked.append(sum(line.asked for line in lines))

    assert asked == [200, 201]


async def test_of_very_many_that_are_due_only_some_are_asked_in_one_look(
    clock: ManualClock,
) -> None:
    two = Two(clock, subprotocol=SUBPROTOCOLS[0], delay_seconds=0.0)
    others = [two._manager(f"n{number}", clock) for number in range(201)]

    async def accept(link: Link) -> None:
        await two.b.serve(link, Role.ACCEPTOR)

    listener = await two.network.listen("127.0.0.1", 0, accept, lambda *_: None)
    for other in others:
        link = await two.network.dial(f"ws://127.0.0.1:{listener.port}")
        two._run(other.serve(link, Role.DIALER))
    await settle()
    two.watch()

    known = []
    for _ in range(2):
        await clock.advance(1.0)
        await clock.advance(0.0)
        known.append(sum(one.rtt_seconds is not None for one in two.b.numbers()))

    assert known == [200, 201]
    await two.close()
