"""What the relay shows in its node's metrics."""

from __future__ import annotations

from .conftest import MakeRelay
from .door import frame
from .relay import Relay


def levels(relay: Relay) -> dict[str, float]:
    """What is not 0."""
    read = {name.removeprefix("relay_"): level() for name, level in relay.door.levels.items()}
    return {name: value for name, value in read.items() if value}


async def test_an_empty_relay_shows_nothing_but_zeros(make_relay: MakeRelay) -> None:
    relay = await make_relay()

    assert levels(relay) == {}
    assert len(relay.door.levels) == 7


async def test_mailboxes_routes_and_what_waits_are_shown(make_relay: MakeRelay) -> None:
    relay = await make_relay()
    alice, bob = relay.door.join("alice"), relay.door.join("bob")
    relay.door.bind(bob)
    relay.door.bind(alice)
    relay.door.bind(alice, "bob")
    bob.reads, bob.frames_max = False, 1
    waiting = frame("alice", "bob", "waits")
    relay.door.bring(alice, frame("alice", "bob", "first"), waiting)

    assert levels(relay) == {
        "mailboxes": 2,
        "present": 2,
        "bindings": 1,
        "queue_frames": 1,
        "queue_bytes": len(waiting.data),
    }
    relay.door.leave(alice)
    assert levels(relay)["present"] == 1


async def test_a_store_and_what_is_in_it_are_shown(make_relay: MakeRelay) -> None:
    relay = await make_relay(store_forward=True)
    alice, bob = relay.door.join("alice"), relay.door.join("bob")
    relay.door.bind(bob, store=True)
    relay.door.bind(alice, "bob", store=True)
    relay.door.leave(bob)
    relay.door.bring(alice, frame("alice", "bob", "kept"))
    await relay.moved("relay_stored")

    shown = levels(relay)

    assert shown["queue_frames"] == 1
    assert shown["store_bytes"] > 4096
    assert (shown["mailboxes"], shown.get("present", 0)) == (1, 0)
