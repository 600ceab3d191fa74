"""Binds through the whole relay: what is refused, what is told, and that it is counted."""

from __future__ import annotations

from typing import Any

import pytest

from thenodes_plugin_api import Reason, RelayBind, RelayBindAck, RelayNotify, RelayUnbind
from thenodes_plugin_api.testing import make_peer

from .conftest import MakeRelay
from .door import Door, Session, frame


def ask(door: Door, session: Session, target: str = "*", **given: Any) -> RelayBindAck:
    """Send a RELAY_BIND as it is, and return the answer."""
    before = len(session.acks())
    door.say(session, RelayBind(target, **given))
    (answer,) = session.acks()[before:]
    return answer


def trust(door: Door, name: str) -> None:
    fingerprint = make_peer(name).fingerprint
    assert fingerprint is not None
    door.trusted.add(fingerprint)


def told_of(session: Session) -> list[tuple[Reason, str | None]]:
    """Reason and binding of the notifications that are of no frame."""
    return [
        (body.notif_type, body.binding_id)
        for body in session.bodies
        if isinstance(body, RelayNotify) and body.message_id is None
    ]


@pytest.mark.parametrize(
    ("target", "given", "reason"),
    [
        ("", {}, Reason.UNKNOWN_TARGET),
        ("alice", {}, Reason.UNKNOWN_TARGET),
        ("nobody", {"want_store_forward": True}, Reason.UNKNOWN_TARGET),
        ("bob", {"expires_at": 1}, Reason.TIMEOUT),
        ("*", {"expires_at": 1}, Reason.TIMEOUT),
        ("bob", {"qos": "fastest"}, Reason.POLICY_DENIED),
        ("bob", {"nonce": 1 << 70}, Reason.POLICY_DENIED),
    ],
)
async def test_a_bind_that_cannot_hold_is_refused_and_counted(
    make_relay: MakeRelay, target: str, given: dict[str, Any], reason: Reason
) -> None:
    relay = await make_relay(store_forward=True)
    alice, bob = relay.door.join("alice"), relay.door.join("bob")
    relay.door.bind(bob)

    answer = ask(relay.door, alice, target, **({"nonce": 5} | given))

    assert (answer.ok, answer.reason, answer.nonce) == (False, reason, given.get("nonce", 5))
    assert relay.counters[f"relay_refused_binds.{reason}"] == 1
    assert relay.counters["relay_bound"] == 1


@pytest.mark.parametrize("given", [{"want_store_forward": True}, {"qos": "reliable"}])
async def test_a_relay_without_a_store_refuses_to_store(
    make_relay: MakeRelay, given: dict[str, Any]
) -> None:
    relay = await make_relay(store_forward=False)
    alice, bob = relay.door.join("alice"), relay.door.join("bob")
    relay.door.bind(bob)

    assert ask(relay.door, alice, "bob", **given).reason is Reason.POLICY_DENIED
    assert relay.counters["relay_refused_binds.policy_denied"] == 1


async def test_a_repeated_nonce_is_told_what_stands(make_relay: MakeRelay) -> None:
    relay = await make_relay()
    alice, bob = relay.door.join("alice"), relay.door.join("bob")
    relay.door.bind(bob)
    assert ask(relay.door, alice, "bob", nonce=7).ok

    again = ask(relay.door, alice, "bob", nonce=7)

    assert (again.ok, again.reason) == (False, Reason.ALREADY_BOUND)
    assert again.binding_id == "bind:alice:bob:7"
    assert ask(relay.door, alice, "bob", nonce=8).binding_id == "bind:alice:bob:8"
    assert relay.counters["relay_refused_binds.already_bound"] == 1


async def test_binds_count_in_the_rate_of_a_node(make_relay: MakeRelay) -> None:
    relay = await make_relay(frames_per_second=10, frames_burst=100)
    mallory = relay.door.join("mallory")

    answers = [ask(relay.door, mallory, f"t{number}") for number in range(300)]

    assert sum(answer.ok for answer in answers) == 100
    assert relay.counters["relay_refused_binds.rate_limited"] == 200


async def test_so_many_mailboxes_are_open_and_strangers_have_half(make_relay: MakeRelay) -> None:
    relay = await make_relay(mailboxes_max=4)
    friends = ("friend", "other friend", "third friend")
    strangers = [relay.door.join(f"stranger{number}") for number in range(3)]
    refused = [relay.door.bind(stranger).reason for stranger in strangers]
    assert refused == [None, None, Reason.QUOTA]
    assert relay.counters["relay_refused_binds.quota"] == 1

    for name in friends:
        trust(relay.door, name)
    answers = [relay.door.bind(relay.door.join(name)).reason for name in friends]

    assert answers == [None, None, Reason.OVERLOAD]
    assert relay.counters["relay_refused_binds.overload"] == 1


@pytest.mark.parametrize("table", [{"deny": ["mallory"]}, {"allow": ["alice"]}])
async def test_who_is_not_admitted_may_not_bind(
    make_relay: MakeRelay, table: dict[str, Any]
) -> None:
    relay = await make_relay(**table)
    alice, mallory = relay.door.join("alice"), relay.door.join("mallory")

    assert relay.door.bind(alice).ok
    assert relay.door.bind(mallory).reason is Reason.POLICY_DENIED
    relay.door.bring(mallory, frame("mallory", "alice"))

    assert alice.frames == []
    assert relay.counters["relay_refused_binds.policy_denied"] == 1
    assert relay.counters["relay_dropped.not_bound"] == 1


async def test_a_fresh_card_is_handed_to_those_who_bind(make_relay: MakeRelay) -> None:
    relay = await make_relay()
    alice, bob = relay.door.join("alice"), relay.door.join("bob")
    ask(relay.door, bob, nonce=1)
    ask(relay.door, bob, nonce=2, card=b"bob:relay-node")

    assert relay.door.bind(alice, "bob").target_card == b"bob:relay-node"
    assert relay.counters["relay_bound"] == 3


async def test_either_side_that_leaves_is_told_to_the_other(make_relay: MakeRelay) -> None:
    relay = await make_relay()
    alice, bob = relay.door.join("alice"), relay.door.join("bob")
    relay.door.bind(bob)
    binding = relay.door.bind(alice, "bob").binding_id

    relay.door.leave(bob)
    assert told_of(alice) == [(Reason.PEER_LEFT, binding)]
    bob = relay.door.join("bob")
    assert relay.door.bind(bob).ok
    relay.door.leave(alice)

    assert told_of(bob) == [(Reason.PEER_LEFT, binding)]
    assert relay.counters["relay_notified.peer_left"] == 2
    assert relay.counters["relay_unbound"] == 1


async def test_who_unbinds_tells_the_other_and_may_not_forward_any_more(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay()
    alice, bob = relay.door.join("alice"), relay.door.join("bob")
    relay.door.bind(bob)
    binding = relay.door.bind(alice, "bob").binding_id
    assert binding is not None

    relay.door.say(bob, RelayUnbind(binding))
    relay.door.bring(alice, frame("alice", "bob", "one"))
    relay.door.say(alice, RelayUnbind(binding))
    relay.door.bring(alice, frame("alice", "bob", "two"))

    assert bob.texts() == ["one"]
    assert told_of(bob) == [(Reason.PEER_LEFT, binding)]
    assert relay.counters["relay_unbound"] == 1
    assert relay.counters["relay_dropped.not_bound"] == 1


async def test_a_binding_ends_when_it_expires_and_both_are_told(make_relay: MakeRelay) -> None:
    relay = await make_relay()
    alice, bob = relay.door.join("alice"), relay.door.join("bob")
    relay.door.bind(bob)
    until = int(relay.clock.time()) + 60
    binding = ask(relay.door, alice, "bob", expires_at=until).binding_id

    await relay.clock.advance(61)

    assert told_of(alice) == told_of(bob) == [(Reason.PEER_LEFT, binding)]
    assert relay.counters["relay_unbound"] == 1


async def test_a_mailbox_outlives_the_session_by_the_retention_time(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay(store_forward=True, retention_secs=600)
    trust(relay.door, "bob")
    alice, bob = relay.door.join("alice"), relay.door.join("bob")
    relay.door.bind(bob, store=True)
    relay.door.bind(alice, "bob", store=True)
    relay.door.leave(bob)

    await relay.clock.advance(590)
    relay.door.bring(alice, frame("alice", "bob", message_id=bytes(15) + b"\x01"))
    await relay.moved("relay_stored")
    await relay.clock.advance(11)
    await relay.moved("relay_dropped.peer_left")
    relay.door.bring(alice, frame("alice", "bob", message_id=bytes(15) + b"\x02"))

    assert alice.notices()[-2:] == [(Reason.PEER_LEFT, 1), (Reason.UNKNOWN_TARGET, 2)]
    assert relay.counters["relay_dropped.unknown_target"] == 1


async def test_the_empty_mailbox_of_a_stranger_ends_after_an_hours_absence(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay()
    alice, bob = relay.door.join("alice"), relay.door.join("bob")
    relay.door.bind(bob)
    relay.door.bind(alice, "bob")
    relay.door.leave(bob)

    relay.door.bring(alice, frame("alice", "bob"))
    await relay.clock.advance(3601)
    relay.door.bring(alice, frame("alice", "bob"))

    assert relay.counters["relay_dropped.peer_left"] == 1
    assert relay.counters["relay_dropped.unknown_target"] == 1


async def test_a_node_that_came_back_is_present_once_it_opens_its_mailbox(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay()
    alice, bob = relay.door.join("alice"), relay.door.join("bob")
    relay.door.bind(bob)
    relay.door.bind(alice, "bob")
    bob = relay.door.join("bob")

    relay.door.bring(alice, frame("alice", "bob", "too early"))
    relay.door.bind(bob)
    relay.door.bring(alice, frame("alice", "bob", "in time"))

    assert bob.texts() == ["in time"]
    assert relay.counters["relay_dropped.peer_left"] == 1
    assert relay.counters["relay_forwarded"] == 1


async def test_a_relay_grants_frames_of_the_size_that_its_node_takes(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay({"frame_bytes": 70_000})
    alice = relay.door.join("alice")

    answer = ask(relay.door, alice)

    assert answer.limits is not None
    assert answer.limits.frame_bytes == 70_000
