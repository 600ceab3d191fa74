"""A store that is full, damaged, or lost while the relay runs."""

from __future__ import annotations

from pathlib import Path

from thenodes_plugin_api import Ack, PluginEvent, Reason, RelayBind, RelayUnbind
from thenodes_plugin_api.testing import ManualClock
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
