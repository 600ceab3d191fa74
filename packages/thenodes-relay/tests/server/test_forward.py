"""Binding, and forwarding to targets that are there."""

from __future__ import annotations

import pytest

from thenodes_plugin_api import NetworkEvent, Reason, RelayNotify, Verified

from .conftest import MakeRelay
from .door import frame


async def test_frames_reach_a_bound_target_unchanged_and_in_order(make_relay: MakeRelay) -> None:
    relay = await make_relay()
    alice, bob = relay.door.join("alice"), relay.door.join("bob")

    assert relay.door.bind(bob).ok
    answer = relay.door.bind(alice, "bob")
    frames = [frame("alice", "bob", str(number)) for number in range(3)]
    relay.door.bring(alice, *frames)

    assert (answer.ok, answer.peer_present, answer.target_card) == (True, True, b"bob")
    assert bob.frames == [one.data for one in frames]
    assert relay.counters["relay_forwarded"] == 3
    assert relay.counters["relay_bound"] == 2


async def test_forwarding_needs_a_binding(make_relay: MakeRelay) -> None:
    relay = await make_relay()
    alice, bob = relay.door.join("alice"), relay.door.join("bob")
    relay.door.bind(bob)

    relay.door.bring(alice, frame("alice", "bob", message_id=bytes(15) + b"\x07"))

    assert alice.notices() == [(Reason.NOT_BOUND, 7)]
    assert bob.frames == []
    assert relay.counters["relay_dropped.not_bound"] == 1


async def test_a_forged_sender_is_refused_and_the_rest_of_the_batch_is_not(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay()
    mallory, bob = relay.door.join("mallory"), relay.door.join("bob")
    relay.door.bind(bob)
    relay.door.bind(mallory, "bob")

    relay.door.bring(mallory, frame("alice", "bob", "forged"), frame("mallory", "bob", "own"))

    assert bob.texts() == ["own"]
    assert [reason for reason, _ in mallory.notices()] == [Reason.UNAUTHENTICATED]
    assert relay.counters["relay_dropped.unauthenticated"] == 1


async def test_a_peer_without_proof_may_neither_bind_nor_forward(make_relay: MakeRelay) -> None:
    relay = await make_relay()
    ghost, bob = relay.door.join("ghost", verified=Verified.NONE), relay.door.join("bob")
    relay.door.bind(bob)

    answer = relay.door.bind(ghost, "bob")
    relay.door.bring(ghost, frame("ghost", "bob"), frame("ghost", "bob"))

    assert (answer.ok, answer.reason) == (False, Reason.POLICY_DENIED)
    assert bob.frames == []
    assert relay.counters["relay_dropped.unauthenticated"] == 2
    assert relay.counters["relay_refused_binds.policy_denied"] == 1


async def test_frames_for_the_relays_own_node_go_to_its_client(make_relay: MakeRelay) -> None:
    relay = await make_relay(use=("other",))
    other = relay.door.join("other")

    relay.door.bring(other, frame("alice", "relay-node", "for us"))

    assert [one.header.sender for one in relay.door.delivered] == ["alice"]


async def test_a_frame_to_an_absent_target_that_is_not_stored_is_told(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay()
    alice, bob = relay.door.join("alice"), relay.door.join("bob")
    relay.door.bind(bob)
    relay.door.bind(alice, "bob")
    relay.door.leave(bob)

    relay.door.bring(alice, frame("alice", "bob", message_id=bytes(15) + b"\x09"))

    assert alice.notices() == [(Reason.PEER_LEFT, None), (Reason.PEER_LEFT, 9)]
    assert relay.counters["relay_dropped.peer_left"] == 1


async def test_expired_frames_are_told_and_not_delivered(make_relay: MakeRelay) -> None:
    relay = await make_relay()
    alice, bob = relay.door.join("alice"), relay.door.join("bob")
    relay.door.bind(bob)
    relay.door.bind(alice, "bob")
    now_ms = int(relay.clock.time() * 1000)

    relay.door.bring(
        alice,
        frame("alice", "bob", "late", expires_at=now_ms),
        frame("alice", "bob", "in time", expires_at=now_ms + 1),
    )

    assert bob.texts() == ["in time"]
    assert relay.counters["relay_dropped.timeout"] == 1


async def test_a_target_without_a_mailbox_is_unknown(make_relay: MakeRelay) -> None:
    relay = await make_relay()
    alice = relay.door.join("alice")
    assert relay.door.bind(alice, "bob").ok

    relay.door.bring(alice, frame("alice", "bob"))

    assert relay.counters["relay_dropped.unknown_target"] == 1
    assert [reason for reason, _ in alice.notices()] == [Reason.UNKNOWN_TARGET]


async def test_a_batch_over_the_rate_is_refused_and_says_when_to_come_again(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay(frames_per_second=10, frames_burst=5)
    alice, bob = relay.door.join("alice"), relay.door.join("bob")
    relay.door.bind(bob)
    relay.door.bind(alice, "bob")

    for _ in range(3):
        relay.door.bring(alice, *(frame("alice", "bob") for _ in range(4)))

    assert relay.counters["relay_dropped.rate_limited"] == 8
    assert relay.counters["relay_forwarded"] == 4


async def test_a_target_that_does_not_read_holds_up_its_own_frames_alone(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay()
    alice, bob, carol = (relay.door.join(name) for name in ("alice", "bob", "carol"))
    for session in (bob, carol):
        relay.door.bind(session)
        relay.door.bind(alice, session.peer.node_id)
    bob.reads = False

    for _ in range(20):
        relay.door.bring(alice, *(frame("alice", "bob", "x" * 60_000) for _ in range(10)))
        relay.door.bring(alice, *(frame("alice", "carol", "y") for _ in range(10)))
    for _ in range(8):
        await relay.clock.advance(0.5)

    assert len(carol.frames) == 200
    assert relay.counters["relay_stalled.bob"] == 1
    assert relay.counters["relay_dropped.overload"] > 0
    assert "stalled    bob" in await relay.command("relay status")


async def test_a_target_for_which_nothing_waits_any_more_is_stalled_no_more(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay(frames_per_second=0)
    alice, bob = relay.door.join("alice"), relay.door.join("bob")
    relay.door.bind(bob)
    relay.door.bind(alice, "bob")
    bob.reads, bob.frames_max = False, 1
    ends = int(relay.clock.time() * 1000) + 5000
    relay.door.bring(alice, *(frame("alice", "bob", expires_at=ends) for _ in range(2)))
    await relay.clock.advance(10)
    assert relay.counters["relay_stalled.bob"] == relay.counters["relay_expired"] == 1

    bob.reads = True
    bob.read()
    await relay.clock.advance(1)

    assert "stalled    bob" not in await relay.command("relay status")


async def test_what_waited_goes_on_in_order_when_the_target_reads_again(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay()
    alice, bob = relay.door.join("alice"), relay.door.join("bob")
    relay.door.bind(bob)
    relay.door.bind(alice, "bob")
    bob.reads = False
    texts = [f"{number:06d}" * 10_000 for number in range(100)]

    relay.door.bring(alice, *(frame("alice", "bob", text) for text in texts))
    bob.reads = True
    bob.read()
    await relay.clock.advance(1)

    assert bob.texts() == texts
    assert relay.counters["relay_forwarded"] == 100


async def test_a_relay_that_is_drained_refuses_what_is_new_and_tells_everybody(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay()
    alice, bob = relay.door.join("alice"), relay.door.join("bob")
    relay.door.bind(bob)
    relay.door.bind(alice, "bob")

    assert "2 connected nodes were told" in await relay.command("relay drain")
    relay.door.bring(alice, frame("alice", "bob", message_id=bytes(15) + b"\x03"))

    assert relay.door.bind(alice, "carol").reason is Reason.RESTARTING
    assert alice.notices() == [(Reason.RESTARTING, None), (Reason.RESTARTING, 3)]
    assert bob.notices() == [(Reason.RESTARTING, None)]
    event = relay.context.event_log.events[-1]
    assert isinstance(event, NetworkEvent)
    assert event.detail == "the relay takes no new binds and frames; it told 2 nodes"
    assert relay.counters["relay_dropped.restarting"] == 1


async def test_a_node_that_drains_gives_the_users_of_its_relay_a_second_to_move(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay()
    alice = relay.door.join("alice")
    relay.door.bind(alice)

    relay.door.drain()
    soon = relay.door.is_drained()
    await relay.clock.advance(1)

    assert alice.notices() == [(Reason.RESTARTING, None)]
    assert (soon, relay.door.is_drained()) == (False, True)


async def test_a_node_that_drains_waits_for_what_its_relay_has_for_who_is_there(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay()
    alice, bob = relay.door.join("alice"), relay.door.join("bob")
    relay.door.bind(bob)
    relay.door.bind(alice, "bob")
    bob.reads = False
    texts = [f"{number:06d}" * 10_000 for number in range(100)]
    relay.door.bring(alice, *(frame("alice", "bob", text) for text in texts))

    relay.door.drain()
    await relay.clock.advance(2)
    assert not relay.door.is_drained()

    bob.reads = True
    bob.read()
    await relay.clock.advance(1)
    assert bob.texts() == texts
    assert relay.door.is_drained()


async def test_a_relay_that_an_operator_drained_before_tells_its_users_once(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay()
    alice = relay.door.join("alice")
    relay.door.bind(alice)
    await relay.command("relay drain")
    await relay.clock.advance(1)

    relay.door.drain()

    assert alice.notices() == [(Reason.RESTARTING, None)]
    assert relay.door.is_drained()


async def test_a_relay_that_nobody_uses_has_drained_at_once(make_relay: MakeRelay) -> None:
    relay = await make_relay()

    relay.door.drain()

    assert relay.door.is_drained()


@pytest.mark.parametrize(
    ("stores", "words"),
    [
        (False, "network.relay.store_forward is off at this relay"),
        (True, "bob or the binding asked for no storing"),
    ],
)
async def test_who_sends_reliably_where_nothing_is_stored_is_told_whose_choice_that_is(
    make_relay: MakeRelay, stores: bool, words: str
) -> None:
    relay = await make_relay(store_forward=stores)
    alice, bob = relay.door.join("alice"), relay.door.join("bob")
    relay.door.bind(bob)
    relay.door.bind(alice, "bob")

    relay.door.bring(alice, frame("alice", "bob", qos="reliable"))

    notice = alice.bodies[-1]
    assert isinstance(notice, RelayNotify)
    assert words in (notice.detail or "")
    assert relay.counters["relay_dropped.policy_denied"] == 1
