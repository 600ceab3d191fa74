"""Sending through a service's carrier."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from thenodes_core.clock import ManualClock, settle
from thenodes_core.events.counters import Counters
from thenodes_core.events.dispatcher import Dispatcher
from thenodes_core.limits import Limits
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.forward import read_run
from thenodes_core.relayed import outbound as module
from thenodes_core.relayed.carriers import Carriers
from thenodes_core.relayed.confirmations import Confirmations
from thenodes_core.relayed.envelope import Envelopes
from thenodes_core.relayed.outbound import Outbound
from thenodes_core.relayed.sending import Post
from thenodes_core.supervisor import Supervisor
from thenodes_plugin_api import (
    DeliveryAck,
    DeliveryClass,
    DeliveryOptions,
    DeliveryOutcome,
    DeliveryStatus,
    ForwardHeader,
    Message,
    NoRoute,
    NotConnected,
    OutboxFull,
    Payload,
    PayloadTooLarge,
    QoS,
    Reason,
    RelayBindAck,
    Text,
)

RELIABLE = DeliveryOptions(qos=QoS.RELIABLE)
CONFIRM = DeliveryOptions(qos=QoS.RELIABLE, confirm=True)
LIMITS = Limits()


class Route:
    """A route that keeps what it is given; `room` is how much it takes without waiting."""

    def __init__(self, relay: str = "relay", *, room: int = 100) -> None:
        self.relay = relay
        self.frame_bytes = 2048
        self.ttl_seconds = 60.0
        self.room = room
        self.offered: list[bytes] = []
        self.sent: list[bytes] = []
        self.timeouts: list[float] = []
        self.gone: Exception | None = None
        self.answer: Callable[[uuid.UUID], DeliveryOutcome] = self._stored

    def offer(self, frame: bytes, message_id: bytes, qos: QoS) -> bool:
        if len(self.offered) >= self.room:
            return False
        self.offered.append(frame)
        return True

    async def send(
        self, frame: bytes, message_id: bytes, qos: QoS, *, timeout_seconds: float
    ) -> DeliveryOutcome:
        if self.gone is not None:
            raise self.gone
        self.sent.append(frame)
        self.timeouts.append(timeout_seconds)
        return self.answer(uuid.UUID(bytes=message_id))

    def _stored(self, message_id: uuid.UUID) -> DeliveryOutcome:
        return DeliveryOutcome(DeliveryStatus.STORED, self.relay, message_id)

    def refuse(self, reason: Reason) -> None:
        self.answer = lambda message_id: DeliveryOutcome(
            DeliveryStatus.REFUSED, self.relay, message_id, reason, "no"
        )


class Carrier:
    """A carrier whose routes a test lays."""

    def __init__(self) -> None:
        self.open_routes: dict[str, Route] = {}
        self.routes: list[Route | BaseException] = []
        self.asked: list[tuple[str, str | None, float]] = []
        self.bound: list[tuple[object, ...]] = []
        self.defect: Exception | None = None
        self.held: asyncio.Event | None = None

    def ready(self, to: str, options: DeliveryOptions) -> Route | None:
        if self.defect is not None:
            raise self.defect
        return self.open_routes.get(to)

    async def open(
        self, to: str, options: DeliveryOptions, *, relay: str | None, timeout_seconds: float
    ) -> Route:
        self.asked.append((to, relay, timeout_seconds))
        if self.held is not None:
            await self.held.wait()
        route = self.routes.pop(0)
        if isinstance(route, BaseException):
            raise route
        return route

    async def bind(self, relay: str, target: str, **options: Any) -> RelayBindAck:
        if self.defect is not None:
            raise self.defect
        self.bound.append((relay, target, options))
        return RelayBindAck(ok=True)


class Direct:
    """Sessions: with `near` alone."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    async def send_message(self, message: Message, *, timeout_seconds: float) -> None:
        if message.to != "near":
            raise NotConnected(f"no session with {message.to}")
        self.sent.append(message)


class Rig:
    """A node's way through relays, with a carrier in use."""

    def __init__(self, supervisor: Supervisor, counters: Counters, clock: ManualClock) -> None:
        envelopes = Envelopes(
            "here",
            None,
            lambda node_id: None,
            BinaryCodec(LIMITS),
            LIMITS,
            random_bytes=random.Random(0).randbytes,
        )
        self.counters = counters
        self.clock = clock
        self.direct = Direct()
        self.words = Confirmations(counters, clock)
        self.carriers = Carriers()
        post = Post(self.carriers, envelopes, self.words, counters, clock)
        self.outbound = Outbound(self.direct, post, supervisor)
        self.carrier = Carrier()
        self.faults: list[BaseException] = []
        self.drop = self.carriers.use(self.carrier, lambda where, error: self.faults.append(error))

    async def send(self, **more: Any) -> DeliveryOutcome:
        timeout_seconds = more.pop("timeout_seconds", 5.0)
        body = more.pop("body", Text("hi"))
        return await self.outbound.send("far", body, timeout_seconds=timeout_seconds, **more)

    async def forward(self, **more: Any) -> DeliveryOutcome:
        given = {"sequence": None, "options": DeliveryOptions(), "timeout_seconds": 5.0} | more
        return await self.outbound.forward("relay", "far", Text("hi"), None, **given)


@pytest.fixture
async def rig(dispatcher: Dispatcher, counters: Counters, clock: ManualClock) -> AsyncIterator[Rig]:
    async with Supervisor(dispatcher, counters, clock) as supervisor:
        yield Rig(supervisor, counters, clock)


def header(frame: bytes) -> ForwardHeader:
    (read,), _ = read_run(frame, 0, LIMITS)
    return read.header


async def test_a_message_goes_at_once_where_a_route_is_open(rig: Rig) -> None:
    route = rig.carrier.open_routes["far"] = Route()

    outcome = await rig.send()

    assert (outcome.status, outcome.relay) == (DeliveryStatus.SENT, "relay")
    sent = header(route.offered[0])
    assert sent.delivery is not None
    assert outcome.message_id == uuid.UUID(bytes=sent.delivery.message_id)
    assert (sent.to, sent.sender, sent.qos) == ("far", "here", "high_throughput")
    assert (rig.carrier.asked, rig.counters.get("relayed_sent")) == ([], 1)


async def test_a_route_is_opened_where_none_is(rig: Rig) -> None:
    route = Route()
    rig.carrier.routes = [route]

    outcome = await rig.send(timeout_seconds=3.0)

    assert outcome.status is DeliveryStatus.STORED
    assert rig.carrier.asked == [("far", None, 3.0)]
    assert (len(route.sent), route.timeouts) == (1, [3.0])


async def test_the_time_that_opening_took_is_not_there_for_sending(rig: Rig) -> None:
    route, rig.carrier.held = Route(), asyncio.Event()
    rig.carrier.routes = [route]
    sending = asyncio.ensure_future(rig.send(timeout_seconds=3.0))

    await rig.clock.advance(2.0)
    rig.carrier.held.set()
    await sending

    assert route.timeouts == [pytest.approx(1.0)]


async def test_what_has_no_room_at_once_waits_on_the_same_route(rig: Rig) -> None:
    route = rig.carrier.open_routes["far"] = Route(room=1)
    await rig.send()

    await rig.send()

    assert (len(route.offered), len(route.sent)) == (1, 1)
    assert rig.carrier.asked == []


async def test_a_reliable_message_waits_for_the_relays_word(rig: Rig) -> None:
    route = rig.carrier.open_routes["far"] = Route()

    outcome = await rig.send(options=RELIABLE)

    assert outcome.status is DeliveryStatus.STORED
    assert (route.offered, header(route.sent[0]).qos) == ([], "reliable")


@pytest.mark.parametrize(("asked", "granted"), [(None, 60_000), (5.0, 5000), (3600.0, 60_000)])
async def test_a_message_lives_as_long_as_asked_and_no_longer_than_granted(
    rig: Rig, asked: float | None, granted: int
) -> None:
    route = rig.carrier.open_routes["far"] = Route()

    await rig.send(options=DeliveryOptions(ttl_seconds=asked))

    delivery = header(route.offered[0]).delivery
    assert delivery is not None
    assert delivery.created_at == int(rig.clock.time() * 1000)
    assert delivery.expires_at == delivery.created_at + granted


@pytest.mark.parametrize("granted", [31 * 86_400.0, 1e18])
async def test_a_message_lives_for_thirty_days_at_most_whatever_a_relay_grants(
    rig: Rig, granted: float
) -> None:
    route = rig.carrier.open_routes["far"] = Route()
    route.ttl_seconds = granted

    await rig.send()

    delivery = header(route.offered[0]).delivery
    assert delivery is not None
    assert delivery.created_at is not None
    assert delivery.expires_at == delivery.created_at + 30 * 86_400_000


async def test_a_message_for_which_there_is_no_way_is_an_error(rig: Rig) -> None:
    rig.carrier.routes = [NoRoute(Reason.UNKNOWN_TARGET, "far is nowhere")]

    with pytest.raises(NoRoute, match="far is nowhere") as caught:
        await rig.send()
    assert caught.value.reason is Reason.UNKNOWN_TARGET
    assert rig.counters.get("relayed_refused", reason="unknown_target") == 1


async def test_a_node_without_relays_says_so(rig: Rig) -> None:
    rig.drop()

    with pytest.raises(NoRoute, match="no session with far, and no way through a relay") as caught:
        await rig.send()
    assert caught.value.reason is Reason.CAPABILITY_MISSING
    assert (await rig.forward()).reason is Reason.CAPABILITY_MISSING


async def test_what_a_relay_refuses_is_an_outcome(rig: Rig) -> None:
    route = rig.carrier.open_routes["far"] = Route()
    route.refuse(Reason.QUOTA)

    outcome = await rig.send(options=RELIABLE)

    assert (outcome.status, outcome.reason) == (DeliveryStatus.REFUSED, Reason.QUOTA)
    assert rig.counters.get("relayed_refused", reason="quota") == 1


async def test_a_message_whose_relay_left_goes_through_another_as_the_same(rig: Rig) -> None:
    gone, other = Route("gone", room=0), Route("other")
    gone.refuse(Reason.PEER_LEFT)
    rig.carrier.open_routes["far"] = gone
    rig.carrier.routes = [other]

    outcome = await rig.send()

    assert (outcome.status, outcome.relay) == (DeliveryStatus.STORED, "other")
    assert gone.sent == other.sent
    assert rig.counters.get("relayed_sent") == 1


async def test_a_message_is_sent_twice_at_most(rig: Rig) -> None:
    routes = [Route(), Route(), Route()]
    for route in routes:
        route.refuse(Reason.PEER_LEFT)
    rig.carrier.routes = list(routes)

    outcome = await rig.send()

    assert outcome.reason is Reason.PEER_LEFT
    assert [len(route.sent) for route in routes] == [1, 1, 0]


async def test_a_frame_that_the_relay_would_refuse_is_not_sent(rig: Rig) -> None:
    route = rig.carrier.open_routes["far"] = Route()

    with pytest.raises(PayloadTooLarge, match="the relay relay takes at most 2048"):
        await rig.send(payload=Payload.binary(bytes(2048)))
    assert (route.offered, route.sent) == ([], [])


async def test_a_relay_without_room_is_an_error(rig: Rig) -> None:
    route = rig.carrier.open_routes["far"] = Route(room=0)
    route.gone = OutboxFull("relay takes no more")

    with pytest.raises(OutboxFull, match="relay takes no more"):
        await rig.send()
    assert rig.faults == []


async def test_a_message_through_one_relay_goes_through_no_other(rig: Rig) -> None:
    route = Route()
    rig.carrier.open_routes["far"] = Route("another")
    rig.carrier.routes = [route]

    outcome = await rig.forward(sequence=42)

    assert outcome.relay == "relay"
    assert rig.carrier.asked == [("far", "relay", 5.0)]
    assert header(route.sent[0]).sequence == 42

    route.refuse(Reason.PEER_LEFT)
    rig.carrier.routes = [route]
    assert (await rig.forward()).reason is Reason.PEER_LEFT


async def test_that_there_is_no_way_through_one_relay_is_an_outcome(rig: Rig) -> None:
    rig.carrier.routes = [NoRoute(Reason.NO_CARD, "no card of far")]

    outcome = await rig.forward()

    assert outcome == DeliveryOutcome(
        DeliveryStatus.REFUSED, "relay", None, Reason.NO_CARD, "no card of far"
    )
    assert rig.counters.get("relayed_refused", reason="no_card") == 1


async def test_a_confirmed_message_is_delivered_when_its_receiver_says_so(rig: Rig) -> None:
    route = rig.carrier.open_routes["far"] = Route()
    sending = asyncio.ensure_future(rig.send(options=CONFIRM))
    await settle()
    assert not sending.done()

    delivery = header(route.sent[0]).delivery
    assert delivery is not None
    assert delivery.delivery_class == "reliable"
    message_id = uuid.UUID(bytes=delivery.message_id)
    rig.words.arrived("far", DeliveryAck(message_id, "ok"))

    assert await sending == DeliveryOutcome(DeliveryStatus.DELIVERED, "relay", message_id)


async def test_a_message_that_is_not_confirmed_in_time_is_as_far_as_it_came(rig: Rig) -> None:
    rig.carrier.open_routes["far"] = Route()
    sending = asyncio.ensure_future(rig.send(options=CONFIRM, timeout_seconds=5.0))

    await rig.clock.advance(5.1)

    assert (await sending).status is DeliveryStatus.STORED


async def test_nobody_waits_for_the_word_on_what_was_refused(rig: Rig) -> None:
    route = rig.carrier.open_routes["far"] = Route()
    route.refuse(Reason.QUOTA)

    assert (await rig.send(options=CONFIRM)).reason is Reason.QUOTA


async def test_over_a_session_too_a_message_can_be_confirmed(rig: Rig) -> None:
    sending = asyncio.ensure_future(
        rig.outbound.send_confirmed("near", Text("hi"), None, options=CONFIRM, timeout_seconds=5.0)
    )
    await settle()

    (message,) = rig.direct.sent
    delivery = message.delivery
    assert delivery is not None
    assert (message.body, message.sender) == (Text("hi"), "here")
    assert delivery.delivery_class is DeliveryClass.RELIABLE
    rig.words.arrived("near", DeliveryAck(delivery.message_id, "ok"))

    assert await sending == DeliveryOutcome(DeliveryStatus.DELIVERED)


async def test_an_answer_waits_for_no_route(rig: Rig) -> None:
    route, rig.carrier.held = Route(), asyncio.Event()
    rig.carrier.routes = [route]

    await rig.outbound.answer("far", Text("hi"), None)
    await settle()
    assert route.sent == []
    rig.carrier.held.set()
    await settle()

    assert len(route.sent) == 1


async def test_an_answer_goes_at_once_where_a_route_is_open(rig: Rig) -> None:
    route = rig.carrier.open_routes["far"] = Route()

    await rig.outbound.answer("far", Text("hi"), None)

    assert len(route.offered) == 1


async def test_an_answer_for_which_there_is_no_way_is_counted(rig: Rig) -> None:
    rig.carrier.routes = [NoRoute(Reason.UNKNOWN_TARGET, "far is nowhere")]

    await rig.outbound.answer("far", Text("hi"), None)
    await settle()

    assert rig.counters.get("relayed_refused", reason="unknown_target") == 1


async def test_no_more_answers_wait_for_routes_than_fit(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_ANSWERS", 2)
    rig.carrier.held = asyncio.Event()
    rig.carrier.routes = [Route() for _ in range(3)]
    await rig.outbound.answer("far", Text("1"), None)
    await rig.outbound.answer("far", Text("2"), None)
    await settle()

    with pytest.raises(OutboxFull, match="2 messages wait for a way"):
        await rig.outbound.answer("far", Text("3"), None)

    rig.carrier.held.set()
    await settle()
    await rig.outbound.answer("far", Text("3"), None)


async def test_a_relay_is_asked_for_a_binding(rig: Rig) -> None:
    options = {"store_forward": True, "qos": QoS.BULK, "ttl_seconds": 5.0, "timeout_seconds": 1.0}

    ack = await rig.outbound.bind("relay", "far", **options)  # type: ignore[arg-type]

    assert ack.ok
    assert rig.carrier.bound == [("relay", "far", options)]


@pytest.mark.parametrize("how", ["ready", "open", "send"])
async def test_a_defect_of_the_carrier_is_its_plugins_and_no_way(rig: Rig, how: str) -> None:
    defect = LookupError("no such thing")
    if how == "ready":
        rig.carrier.defect = defect
    elif how == "open":
        rig.carrier.routes = [defect]
    else:
        route = rig.carrier.open_routes["far"] = Route(room=0)
        route.gone = defect

    with pytest.raises(NoRoute, match="the service that carries messages failed"):
        await rig.send()
    assert rig.faults == [defect]


async def test_a_service_that_is_stopped_meanwhile_cancels_nobody(rig: Rig) -> None:
    rig.carrier.routes = [asyncio.CancelledError()]

    with pytest.raises(NoRoute, match="the service that carries messages failed"):
        await rig.send()


async def test_whoever_is_cancelled_while_sending_is(rig: Rig) -> None:
    rig.carrier.held = asyncio.Event()
    sending = asyncio.ensure_future(rig.send())
    await settle()

    sending.cancel()
    await settle()

    assert sending.cancelled()
    assert rig.faults == []


async def test_a_defect_in_binding_is_its_plugins(rig: Rig) -> None:
    rig.carrier.defect = LookupError("no such thing")

    ack = await rig.outbound.bind(
        "relay",
        "far",
        store_forward=False,
        qos=QoS.BULK,
        ttl_seconds=None,
        timeout_seconds=1.0,
    )

    assert (ack.ok, len(rig.faults)) == (False, 1)


async def test_one_service_carries_at_a_time(rig: Rig) -> None:
    with pytest.raises(ValueError, match="another service"):
        rig.carriers.use(Carrier(), lambda where, error: None)

    rig.drop()
    rig.carriers.use(Carrier(), lambda where, error: None)
    rig.drop()
    with pytest.raises(ValueError, match="another service"):
        rig.carriers.use(Carrier(), lambda where, error: None)
