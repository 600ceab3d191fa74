"""What gives way where there is no room for everything (design: relay.md, QoS)."""

from __future__ import annotations

import pytest

from thenodes_plugin_api import Reason

from .conftest import MakeRelay
from .door import FRAMES_MAX, Session, frame
from .relay import Relay

NAMES = ("carol", "dave", "erin", "frank")


def number(value: int) -> bytes:
    return value.to_bytes(16, "big")


async def stuck(relay: Relay) -> tuple[Session, Session, list[Session]]:
    """Alice and others, bound to Bob, who has stopped reading and whose session is full."""
    alice, bob = relay.door.join("alice"), relay.door.join("bob")
    relay.door.bind(bob, store=True)
    relay.door.bind(alice, "bob", store=True)
    others = [relay.door.join(name) for name in NAMES]
    for other in others:
        relay.door.bind(other, "bob", store=True)
    bob.reads = False
    relay.door.bring(alice, *(frame("alice", "bob") for _ in range(FRAMES_MAX)))
    return alice, bob, others


def bring(relay: Relay, session: Session, qos: str, *numbers: int) -> None:
    name = session.peer.node_id
    frames = (frame(name, "bob", qos=qos, message_id=number(each)) for each in numbers)
    relay.door.bring(session, *frames)


@pytest.mark.parametrize("qos", ["reliable", "high_throughput", "low_latency"])
async def test_bulk_in_memory_is_the_first_to_give_way(make_relay: MakeRelay, qos: str) -> None:
    relay = await make_relay(
        store_forward=True, frames_per_second=0, queue_max_per_target=8, queue_max_global=8000
    )
    alice, _, others = await stuck(relay)
    for at, other in enumerate(others):
        bring(relay, other, "bulk", 10 * at + 1, 10 * at + 2)

    bring(relay, alice, qos, 77)

    assert others[0].notices() == [(Reason.OVERLOAD, 1)]
    assert relay.counters["relay_evicted"] == 1
    assert relay.counters["relay_dropped.overload"] == 1
    assert alice.notices() == []


async def test_without_bulk_a_full_target_is_told_by_class(make_relay: MakeRelay) -> None:
    relay = await make_relay(
        store_forward=True, frames_per_second=0, queue_max_per_target=8, queue_max_global=8000
    )
    alice, _, others = await stuck(relay)
    for at, other in enumerate(others):
        bring(relay, other, "low_latency" if at == 0 else "high_throughput", at + 1, at + 11)

    for at, qos in enumerate(("high_throughput", "bulk", "reliable", "low_latency")):
        bring(relay, alice, qos, 100 + at)

    assert alice.notices() == [
        (Reason.OVERLOAD, 100),
        (Reason.OVERLOAD, 101),
        (Reason.QUOTA, 102),
    ]
    assert others[0].notices() == [(Reason.OVERLOAD, 1)]
    assert relay.counters["relay_dropped.overload"] == 3
    assert relay.counters["relay_dropped.quota"] == 1
    assert relay.counters["relay_evicted"] == 1


@pytest.mark.parametrize("qos", ["reliable", "high_throughput"])
async def test_a_target_that_takes_nothing_is_given_as_much_as_may_wait_for_it(
    make_relay: MakeRelay, qos: str
) -> None:
    relay = await make_relay({"window_bytes": 1024 * 1024}, store_forward=True)
    alice, bob = relay.door.join("alice"), relay.door.join("bob")
    relay.door.bind(bob, store=True)
    relay.door.bind(alice, "bob", store=True)
    relay.door.leave(bob)
    relay.door.bring(alice, *(frame("alice", "bob", 50_000 * "x", qos=qos) for _ in range(30)))
    await relay.moved("relay_stored", 30)

    bob = relay.door.join("bob")
    bob.reads = False
    relay.door.bind(bob, store=True)
    await relay.moved("relay_delivered_from_store", 21)

    # The twenty-first begins within the window; what is left waits for one call.
    assert (bob.waiting_frames, bob.room_asked) == (21, 1)
    bob.reads = True
    bob.read()
    await relay.moved("relay_delivered_from_store", 30)
    assert len(bob.frames) == 30
