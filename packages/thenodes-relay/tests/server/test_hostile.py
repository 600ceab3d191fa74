"""Peers that mean harm: everything stays bounded, counted and told."""

from __future__ import annotations

import random
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from thenodes_plugin_api import (
    Ack,
    DeliveryHeader,
    ForwardHeader,
    Frame,
    NetworkEvent,
    Reason,
    RelayBind,
    RelayNotify,
    RelayUnbind,
)
from thenodes_plugin_api.testing import make_peer
from thenodes_relay.store.base import NOTICES_PER_NODE

from .conftest import MakeRelay
from .door import frame
from .relay import Relay, start


async def test_ten_thousand_binds_of_one_node_stop_at_its_limit(make_relay: MakeRelay) -> None:
    relay = await make_relay(frames_per_second=0)
    mallory = relay.door.join("mallory")

    for number in range(10_000):
        relay.door.bind(mallory, f"target-{number}")

    assert relay.counters["relay_bound"] == 1024
    assert relay.counters["relay_refused_binds.quota"] == 10_000 - 1024
    assert "routes     1024" in await relay.command("relay")


async def test_a_card_that_is_forged_old_or_anothers_opens_no_mailbox(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay()
    mallory = relay.door.join("mallory")

    relay.door.outdated.add(b"mallory:relay-1")

    for card in (b"forged", b"alice", b"x" * 20_000, b"mallory:relay-1"):
        relay.door.say(mallory, RelayBind("*", card=card))

    assert [answer.reason for answer in mallory.acks()] == [Reason.UNAUTHENTICATED] * 4
    assert relay.counters["relay_refused_binds.unauthenticated"] == 4


async def test_nobody_is_a_target_whose_name_is_no_node_id(make_relay: MakeRelay) -> None:
    relay = await make_relay()
    mallory = relay.door.join("mallory")

    for target in ("x" * 129, "a b", "", "mallory"):
        assert relay.door.bind(mallory, target).reason is Reason.UNKNOWN_TARGET

    assert relay.counters["relay_refused_binds.unknown_target"] == 4


async def test_those_whom_the_operator_denies_may_not_bind(make_relay: MakeRelay) -> None:
    relay = await make_relay(deny=("mallory",), allow=("alice", make_peer("bob").fingerprint))
    names = ("mallory", "carol", "alice", "bob")
    answers = [relay.door.bind(relay.door.join(name)) for name in names]

    assert [answer.ok for answer in answers] == [False, False, True, True]
    assert relay.counters["relay_refused_binds.policy_denied"] == 2


async def test_strangers_get_half_of_the_mailboxes(make_relay: MakeRelay) -> None:
    relay = await make_relay(mailboxes_max=8)
    fingerprint = make_peer("friend").fingerprint
    assert fingerprint is not None
    relay.door.trusted.add(fingerprint)

    answers = [relay.door.bind(relay.door.join(f"stranger-{one}")) for one in range(6)]

    assert [answer.ok for answer in answers] == [True] * 4 + [False] * 2
    assert relay.door.bind(relay.door.join("friend")).ok
    assert relay.counters["relay_refused_binds.quota"] == 2


async def test_an_origin_that_takes_no_notifications_is_told_how_many_it_missed(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay(frames_per_second=0)
    mallory = relay.door.join("mallory")
    mallory.control_room, mallory.reads = 0, False

    relay.door.bring(mallory, *(frame("mallory", "bob") for _ in range(NOTICES_PER_NODE + 44)))
    mallory.control_room, mallory.reads = 1000, True
    mallory.read()
    await relay.clock.advance(1)

    told = [body for body in mallory.bodies if isinstance(body, RelayNotify)]
    assert len(told) == NOTICES_PER_NODE + 1
    assert told[-1].detail is not None
    assert told[-1].detail.startswith("44 more")
    assert relay.counters["relay_notices_lost.overload"] == 44
    assert relay.counters["relay_dropped.not_bound"] == NOTICES_PER_NODE + 44


async def test_notifications_that_an_earlier_session_did_not_take_are_given_to_the_next(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay()
    first = relay.door.join("mallory")
    first.reads, first.control_room = False, 0
    relay.door.bring(first, frame("mallory", "nobody"), frame("mallory", "nobody"))

    second = relay.door.join("mallory")
    relay.door.bring(second, frame("mallory", "nobody"))

    assert [reason for reason, _ in second.notices()] == [Reason.NOT_BOUND] * 3
    assert relay.counters["relay_notified.not_bound"] == 3


async def test_frames_that_expire_behind_one_who_takes_nothing_leave_nothing_behind(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay(store_forward=True)
    server = relay.plugin._server
    assert server is not None
    mallory, bob = relay.door.join("mallory"), relay.door.join("bob")
    assert relay.door.bind(bob, store=True).ok
    assert relay.door.bind(mallory, "bob", store=True).ok
    relay.door.leave(bob)
    relay.door.bring(mallory, frame("mallory", "bob"))
    await relay.moved("relay_stored")
    bob = relay.door.join("bob")
    bob.reads, bob.frames_max = False, 0
    assert relay.door.bind(bob, store=True).ok
    flow = server.targets.flows["bob"]
    await relay.until(lambda: flow.blocked_since is not None)

    for turn in range(3):
        ends = int(relay.clock.time() * 1000) + 400
        relay.door.bring(mallory, *(frame("mallory", "bob", expires_at=ends) for _ in range(100)))
        await relay.moved("relay_stored", 100 * turn + 101)
        await relay.moved_in_time("relay_expired", 100 * turn + 100)

    assert flow.is_draining
    assert len(flow.ended) == 0


async def test_one_hostile_sender_does_not_keep_others_from_storing(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay(store_forward=True, frames_per_second=0, bytes_per_second=0)
    bob, mallory, alice = (relay.door.join(name) for name in ("bob", "mallory", "alice"))
    relay.door.bind(bob, store=True)
    relay.door.bind(mallory, "bob", store=True)
    relay.door.bind(alice, "bob", store=True)
    relay.door.leave(bob)

    for _ in range(40):
        relay.door.bring(mallory, *(frame("mallory", "bob", qos="reliable") for _ in range(100)))
    relay.door.bring(alice, frame("alice", "bob", qos="reliable"))
    await relay.moved("relay_stored", 257)

    assert alice.words() == ["stored"]
    assert relay.counters["relay_dropped.quota"] == 4000 - 256


async def test_the_operator_hears_of_a_refused_node_once_and_not_of_every_frame(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay(frames_per_second=1, frames_burst=1)
    mallory = relay.door.join("mallory")

    for _ in range(50):
        relay.door.bring(mallory, frame("mallory", "bob"))

    refused = [event for event in relay.context.event_log.events if "relay_refused" in repr(event)]
    (event,) = refused
    assert isinstance(event, NetworkEvent)
    assert event.detail.startswith("refused mallory: rate_limited, over network.relay.")
    assert relay.counters["relay_dropped.rate_limited"] == 49


NAMES = st.sampled_from(["alice", "bob", "mallory", "relay-node", "*", "", "é" * 50])
HEADERS = st.builds(
    ForwardHeader,
    st.none(),
    st.none(),
    st.none()
    | st.builds(
        DeliveryHeader,
        st.binary(min_size=16, max_size=16),
        st.sampled_from(["fire_and_forget", "reliable", "ordered_reliable", "?"]),
        st.none(),
        st.none(),
        st.none() | st.integers(0, (1 << 63) - 1),
        st.none() | st.integers(0, (1 << 63) - 1),
    ),
    NAMES,
    NAMES,
    st.none() | st.integers(0, (1 << 63) - 1),
    st.none() | st.sampled_from(["low_latency", "high_throughput", "bulk", "reliable", "?"]),
)


@given(st.randoms(use_true_random=False), st.lists(HEADERS, max_size=12))
@settings(max_examples=25, deadline=None)
async def test_no_order_of_messages_makes_a_handler_raise(
    randomness: random.Random, headers: list[ForwardHeader]
) -> None:
    with TemporaryDirectory() as folder:
        relay = await start(Path(folder), {"store_forward": True, "queue_max_per_target": 8})
        try:
            await disturb(relay, randomness, headers)
        finally:
            await relay.stop()

        assert relay.context.faults == []


async def disturb(relay: Relay, randomness: random.Random, headers: list[ForwardHeader]) -> None:
    """Bring frames, and let something else happen before each."""
    door = relay.door
    for header in headers:
        name = randomness.choice(["alice", "bob", "mallory"])
        session = door.sessions.get(name) or door.join(name)
        match randomness.randrange(8):
            case 0:
                door.leave(session)
            case 1:
                door.join(name)
            case 2:
                session.reads = not session.reads
                session.control_room = randomness.choice([0, 3, 1000])
            case 3:
                door.say(session, Ack(header.to, header.sender, header.sequence or 0, "ok"))
            case 4:
                door.say(session, RelayUnbind(f"bind:{header.sender}:{header.to}:0"))
            case _:
                target = randomness.choice(["*", "bob", header.to])
                expires_at = randomness.choice([None, 0, 1 << 62])
                door.say(session, RelayBind(target, True, header.qos, None, expires_at))
        if session.is_open:
            door.bring(session, Frame(header, bytes(40)))
        await relay.clock.advance(randomness.choice([0, 0, 0.5, 2]))
