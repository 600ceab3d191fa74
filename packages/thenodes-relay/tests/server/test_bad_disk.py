"""A disk that cannot be read now and then: nothing waits for ever, and nothing is a fault."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest

from thenodes_relay.store.reader import Reader

from .conftest import MakeRelay
from .door import frame

Fail = Callable[[str, int], None]


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Fail:
    """Let the next so many reads of a kind fail."""

    def begin(name: str, times: int) -> None:
        real, left = getattr(Reader, name), [times]

        def read(reader: Reader, *args: object, **kwargs: object) -> object:
            if left[0]:
                left[0] -= 1
                raise sqlite3.OperationalError("disk I/O error")
            return real(reader, *args, **kwargs)

        monkeypatch.setattr(Reader, name, read)

    return begin


async def test_frames_that_could_not_be_read_are_handed_over_when_they_can(
    make_relay: MakeRelay, fail: Fail
) -> None:
    relay = await make_relay(store_forward=True)
    bob, alice = relay.door.join("bob"), relay.door.join("alice")
    relay.door.bind(bob, store=True)
    relay.door.bind(alice, "bob", store=True)
    relay.door.leave(bob)
    relay.door.bring(alice, *(frame("alice", "bob", qos="reliable") for _ in range(5)))
    await relay.moved("relay_stored", 5)
    fail("frames", 3)

    relay.door.bind(relay.door.join("bob"), store=True)
    await relay.moved_in_time("relay_delivered_from_store", 5)

    told = [event for event in relay.context.event_log.events if "relay_store" in repr(event)]
    assert len(told) == 1
    assert "disk I/O error" in repr(told[0])
    assert relay.context.faults == []


async def test_notifications_that_could_not_be_read_are_no_fault(
    make_relay: MakeRelay, fail: Fail
) -> None:
    relay = await make_relay(store_forward=True)
    bob = relay.door.join("bob")
    relay.door.bind(bob, store=True)
    relay.door.leave(bob)
    fail("notices", 1)

    relay.door.bind(relay.door.join("bob"), store=True)
    await relay.moved("relay_bound", 2)
    for _ in range(20):
        await relay.clock.advance(0.5)

    assert relay.context.faults == []
