"""A disk that fails for a while: nothing is lost, and the plugin goes on (design: relay.md, Store).

Ten faults within a minute would put the plugin into quarantine, and the relay would be gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from thenodes_plugin_api import Ack, Reason, RelayBind, RelayUnbind
from thenodes_plugin_api.testing import ManualClock
from thenodes_relay.server import RelayServer
from thenodes_relay.settings import Settings
from thenodes_relay.store.base import Gone, Notice, Stored
from thenodes_relay.store.errors import StoreError
from thenodes_relay.store.memory import MemoryStore

from .door import Door, Session, frame
from .relay import ServiceContext

SETTINGS = Settings(enabled=True, store_forward=True)


class FailingStore(MemoryStore):
    """A store whose disk fails while the test says so.

    Attributes:
        fails: whether it does.
        expires: set, unless the test holds back what expired.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fails = False
        self.expires = asyncio.Event()
        self.expires.set()

    async def take(self, to: str, after_row: int, limit: int) -> Sequence[Stored]:
        self._fail()
        return await super().take(to, after_row, limit)

    async def expire(self, now_ms: int, limit: int = 1024) -> Sequence[Gone]:
        self._fail()
        gone = await super().expire(now_ms, limit)
        await self.expires.wait()
        return gone

    async def evict_bulk(self, to: str | None, count: int) -> Sequence[Gone]:
        self._fail()
        return await super().evict_bulk(to, count)

    async def notices(self, node_id: str) -> Sequence[Notice]:
        self._fail()
        return await super().notices(node_id)

    def _fail(self) -> None:
        if self.fails:
            raise StoreError("disk I/O error")


class Served:
    """A relay on such a store."""

    def __init__(self, folder: Path, settings: Settings = SETTINGS) -> None:
        self.clock = ManualClock()
        self.store = FailingStore()
        self.door = Door({})
        self.context = ServiceContext(self.door, folder, self.clock)
        self.server = RelayServer(self.context, settings, self.store, lambda session, frames: None)
        self.door.take_frames(self.server.take_frames)
        self.door.take(RelayBind, self.server.take_bind)
        self.door.take(RelayUnbind, self.server.take_unbind)
        self.door.take(Ack, self.server.take_ack)
        self.door.on_session(self.server.session_joined, self.server.session_left)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass; the relay looks twice a second."""
        for _ in range(int(2 * seconds)):
            await self.clock.advance(0.5)
            await self.server.tick()
            await self.clock.advance(0)

    def come(self, node: str, *targets: str) -> Session:
        """Let a node have a session, its mailbox, and these bindings."""
        session = self.door.join(node)
        assert self.door.bind(session, store=True).ok
        for target in targets:
            assert self.door.bind(session, target, store=True).ok
        return session


def number(value: int) -> bytes:
    return value.to_bytes(16, "big")


async def test_a_drain_that_met_a_failing_disk_goes_on_by_itself(tmp_path: Path) -> None:
    served = Served(tmp_path)
    bob = served.come("bob")
    alice = served.come("alice", "bob")
    served.door.leave(bob)
    served.door.bring(alice, *(frame("alice", "bob", str(one)) for one in range(3)))
    await served.pass_time(0.5)

    served.store.fails = True
    bob = served.come("bob")
    await served.pass_time(10)
    assert bob.texts() == []
    served.store.fails = False
    await served.pass_time(1)

    assert bob.texts() == ["0", "1", "2"]
    assert served.context.faults == []
    assert served.door.counters["relay_delivered_from_store"] == 3


async def test_what_is_repeated_while_the_disk_fails_is_repeated_later(tmp_path: Path) -> None:
    served = Served(tmp_path)
    bob = served.come("bob")
    alice = served.come("alice", "bob")
    served.door.bring(alice, frame("alice", "bob", "x", qos="reliable", message_id=number(1)))
    await served.clock.advance(0)
    assert bob.texts() == ["x"]

    served.store.fails = True
    await served.pass_time(20)
    assert bob.texts() == ["x"]
    served.store.fails = False
    await served.pass_time(40)

    assert bob.marked()[:2] == [False, True]
    assert served.context.faults == []
    assert served.door.counters["relay_redelivered"] >= 1


async def test_frames_that_expire_while_the_disk_fails_are_told_later(tmp_path: Path) -> None:
    served = Served(tmp_path)
    bob = served.come("bob")
    alice = served.come("alice", "bob")
    served.door.leave(bob)
    ends = int(served.clock.time() * 1000) + 1000
    served.door.bring(alice, frame("alice", "bob", message_id=number(1), expires_at=ends))
    await served.clock.advance(0)

    served.store.fails = True
    await served.pass_time(20)
    served.store.fails = False
    await served.pass_time(1)

    assert (Reason.TIMEOUT, 1) in alice.notices()
    assert served.context.faults == []
    assert served.door.counters["relay_expired"] == 1
    assert served.server.quotas.total.frames == 0


async def test_a_mailbox_that_ends_while_the_disk_fails_ends_its_frames_later(
    tmp_path: Path,
) -> None:
    served = Served(tmp_path)
    bob = served.come("bob")
    alice = served.come("alice", "bob")
    served.door.leave(bob)
    served.door.bring(alice, frame("alice", "bob", "old", message_id=number(1)))
    await served.clock.advance(0)
    served.store.fails = True
    bob = served.come("bob")
    (mailbox,) = [ack.binding_id for ack in bob.acks()]
    assert mailbox is not None

    served.door.say(bob, RelayUnbind(mailbox))
    assert served.door.bind(bob, store=True).ok
    await served.pass_time(10)
    served.store.fails = False
    await served.pass_time(2)
    served.door.bring(alice, frame("alice", "bob", "new"))
    await served.clock.advance(0)

    assert (Reason.PEER_LEFT, 1) in alice.notices()
    assert bob.texts() == ["new"]
    assert served.context.faults == []
    assert served.door.counters["relay_dropped.peer_left"] == 1


async def test_bulk_that_cannot_make_way_on_a_failing_disk_is_no_fault(tmp_path: Path) -> None:
    served = Served(tmp_path, Settings(enabled=True, store_forward=True, queue_max_per_target=4))
    names = ("alice", "carol", "dave", "erin")
    bob = served.come("bob")
    sessions = [served.come(name, "bob") for name in names]
    served.door.leave(bob)
    for name, session in zip(names, sessions, strict=True):
        served.door.bring(session, frame(name, "bob", qos="bulk"))
    await served.clock.advance(0)
    frank = served.come("frank", "bob")

    served.store.fails = True
    served.door.bring(frank, frame("frank", "bob", qos="reliable"))
    await served.pass_time(10)

    assert served.context.faults == []
    assert served.door.counters["relay_stored"] == 5
    assert served.door.counters["relay_evicted"] == 0


async def test_notifications_that_are_kept_on_a_failing_disk_are_told_later_and_once(
    tmp_path: Path,
) -> None:
    served = Served(tmp_path)
    bob = served.come("bob")
    alice = served.come("alice", "bob")
    served.door.leave(bob)
    ends = int(served.clock.time() * 1000) + 1000
    served.door.bring(alice, frame("alice", "bob", message_id=number(1), expires_at=ends))
    await served.clock.advance(0)
    served.door.leave(alice)
    await served.pass_time(2)

    served.store.fails = True
    first = served.come("alice")
    await served.pass_time(10)
    served.store.fails = False
    await served.pass_time(2)

    assert first.notices() == [(Reason.TIMEOUT, 1)]
    assert served.context.faults == []
    assert served.door.counters["relay_notified.timeout"] == 1


async def test_who_comes_twice_in_a_moment_is_told_once(tmp_path: Path) -> None:
    served = Served(tmp_path)
    bob = served.come("bob")
    alice = served.come("alice", "bob")
    served.door.leave(bob)
    ends = int(served.clock.time() * 1000) + 1000
    served.door.bring(alice, frame("alice", "bob", message_id=number(1), expires_at=ends))
    await served.clock.advance(0)
    served.door.leave(alice)
    await served.pass_time(2)
    read, store = asyncio.Event(), served.store
    notices = store.notices

    async def slow(node_id: str) -> Sequence[Notice]:
        found = await notices(node_id)
        await read.wait()
        return found

    store.notices = slow  # type: ignore[method-assign]
    first = served.come("alice")
    await served.clock.advance(0)
    second = served.come("alice")
    await served.clock.advance(0)
    read.set()
    await served.clock.advance(0)

    assert first.notices() + second.notices() == [(Reason.TIMEOUT, 1)]
    assert served.door.counters["relay_notified.timeout"] == 1


async def test_a_frame_that_is_acknowledged_as_it_expires_is_not_told_as_expired(
    tmp_path: Path,
) -> None:
    served = Served(tmp_path)
    bob = served.come("bob")
    alice = served.come("alice", "bob")
    ends = int(served.clock.time() * 1000) + 900
    one = frame("alice", "bob", qos="reliable", message_id=number(1), expires_at=ends)
    served.door.bring(alice, one)
    await served.pass_time(0.5)
    served.store.expires.clear()
    await served.pass_time(0.5)

    served.store.expires.set()
    served.door.acknowledge(bob, "alice", 1)
    await served.pass_time(1)

    assert alice.notices() == []
    assert served.door.counters["relay_acked"] == 1
    assert served.door.counters["relay_expired"] == 0
    assert served.server.quotas.total.frames == 0
