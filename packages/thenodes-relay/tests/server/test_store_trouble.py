"""A store that is full, damaged, or lost while the relay runs."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from thenodes_plugin_api import Ack, PluginEvent, Reason, RelayBind, RelayUnbind
from thenodes_plugin_api.testing import ManualClock
from thenodes_relay.quotas import Load
from thenodes_relay.server import RelayServer
from thenodes_relay.settings import Settings
from thenodes_relay.store.memory import MemoryStore

from .conftest import MakeRelay
from .door import Door, Session, frame
from .relay import ServiceContext


def serve(folder: Path, store: MemoryStore) -> tuple[RelayServer, Door]:
    """A relay that keeps frames in this store."""
    door = Door({})
    context = ServiceContext(door, folder, ManualClock())
    settings = Settings(enabled=True, store_forward=True)
    server = RelayServer(context, settings, store, lambda session, frames: None)
    door.take_frames(server.take_frames)
    door.take(RelayBind, server.take_bind)
    door.take(RelayUnbind, server.take_unbind)
    door.take(Ack, server.take_ack)
    door.on_session(server.session_joined, server.session_left)
    return server, door


def pair(door: Door) -> tuple[Session, Session]:
    alice, bob = door.join("alice"), door.join("bob")
    assert door.bind(bob, store=True).ok
    assert door.bind(alice, "bob", store=True).ok
    return alice, bob


async def test_a_frame_that_finds_the_disk_full_is_told_overload_and_service_goes_on(
    tmp_path: Path,
) -> None:
    server, door = serve(tmp_path, MemoryStore(max_bytes=1000))
    alice, bob = pair(door)
    door.leave(bob)

    door.bring(alice, frame("alice", "bob", "x" * 2000, qos="reliable", message_id=bytes(16)))
    door.bring(alice, frame("alice", "bob", "small", qos="reliable"))
    await ManualClock().advance(0)

    assert alice.words() == ["stored"]
    assert alice.notices() == [(Reason.PEER_LEFT, None), (Reason.OVERLOAD, 0)]
    assert door.counters["relay_dropped.overload"] == 1
    assert server.quotas.total.frames == 1


async def test_a_store_that_is_lost_leaves_no_room_taken_and_keeps_the_mailboxes(
    tmp_path: Path,
) -> None:
    store = MemoryStore()
    server, door = serve(tmp_path, store)
    alice, bob = pair(door)
    door.bring(alice, *(frame("alice", "bob", str(one), qos="reliable") for one in range(3)))
    await ManualClock().advance(0)
    store.remove([one.row for one in await store.take("bob", 0, 10)])
    store.drop_mailbox("bob")

    server.store_lost()

    assert server.quotas.total.frames == 0
    assert [kept.node_id for kept in await store.mailboxes()] == ["bob"]
    door.bring(alice, frame("alice", "bob", "after", qos="reliable"))
    await ManualClock().advance(0)
    assert bob.texts() == ["0", "1", "2", "after"]
    assert door.counters["relay_stored"] == 4


async def test_a_damaged_store_is_set_aside_and_told_and_the_relay_goes_on(
    make_relay: MakeRelay, tmp_path: Path
) -> None:
    (tmp_path / "frames.sqlite3").write_bytes(b"not a database, not at all" * 1000)

    relay = await make_relay(store_forward=True)
    alice, bob = pair(relay.door)
    relay.door.leave(bob)
    relay.door.bring(alice, frame("alice", "bob", qos="reliable"))
    await relay.moved("relay_stored")

    told = [
        event.detail
        for event in relay.context.event_log.events
        if isinstance(event, PluginEvent) and event.action == "relay_store"
    ]
    assert len(told) == 1
    assert "set aside" in told[0]
    assert alice.words() == ["stored"]


async def test_frames_of_before_a_loss_that_are_acknowledged_after_it_leave_no_bytes_taken(
    tmp_path: Path,
) -> None:
    store = MemoryStore()
    server, door = serve(tmp_path, store)
    alice, bob = pair(door)
    old = frame("alice", "bob", "old", qos="reliable", message_id=(1).to_bytes(16, "big"))
    new = frame("alice", "bob", "n" * 500, qos="reliable", message_id=(2).to_bytes(16, "big"))

    # The writer tells of the loss between what it was handed and what became of that.
    door.bring(alice, old)
    server.store_lost()
    await ManualClock().advance(0)
    door.bring(alice, new)
    await ManualClock().advance(0)
    door.acknowledge(bob, "alice", 1)
    door.acknowledge(bob, "alice", 2)

    assert server.quotas.total == Load()
    assert door.counters["relay_acked"] == 2


async def test_a_frame_that_is_stored_after_its_mailbox_ended_ends_alone(tmp_path: Path) -> None:
    store = MemoryStore()
    server, door = serve(tmp_path, store)
    alice, bob = pair(door)
    door.leave(bob)
    bob = door.join("bob")
    mailbox = door.bind(bob, store=True).binding_id
    assert mailbox is not None
    await ManualClock().advance(0)

    door.bring(alice, frame("alice", "bob", "late", qos="reliable", message_id=bytes(16)))
    held, store._answers = store._answers, deque()
    door.say(bob, RelayUnbind(mailbox))
    store.remove([1])
    await ManualClock().advance(0)
    assert door.bind(bob, store=True).ok
    await ManualClock().advance(0)
    bob.reads, bob.frames_max = False, 0
    door.bring(alice, frame("alice", "bob", "new", qos="reliable"))
    await ManualClock().advance(0)
    for appended, told in held:
        told(appended)
    await ManualClock().advance(0)
    bob.frames_max = 9
    bob.read()
    await ManualClock().advance(0)
    bob.read()

    assert bob.texts() == ["new"]
    assert [number for _, number in alice.notices() if number is not None] == [0]
    assert door.counters["relay_dropped.peer_left"] == 1
    assert server.quotas.total.frames == 1
