"""A relay whose disk is full, or whose store is damaged."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from thenodes_core import Node
from thenodes_plugin_api import (
    DeliveryOptions,
    DeliveryOutcome,
    DeliveryStatus,
    Level,
    Payload,
    PluginEvent,
    QoS,
    Reason,
    Text,
)
from thenodes_relay.store.sqlite import SqliteStore

from .town import Town, User, town

_DISK_BYTES = 512 * 1024
_FRAME_BYTES = 16_000
_FULL_AFTER = 60


async def send(
    made: Town, user: User, to: str, text: str, qos: QoS = QoS.RELIABLE, size: int = 0
) -> DeliveryOutcome:
    """Send a message of a length."""
    payload = Payload.text(text.ljust(size, "."))
    options = DeliveryOptions(qos=qos)
    ctx = user.inbox.ctx
    return await made.result(ctx.send(to, Text(""), payload, options=options), 30.0)


def texts(user: User) -> list[str]:
    return [text.rstrip(".") for text in user.inbox.texts()]


async def fill(made: Town, alice: User, to: str) -> tuple[list[str], list[DeliveryOutcome]]:
    """Send until the disk is full; returns what was stored, and how the rest ended."""
    stored: list[str] = []
    refused: list[DeliveryOutcome] = []
    for number in range(_FULL_AFTER):
        outcome = await send(made, alice, to, f"{number}", size=_FRAME_BYTES)
        if outcome.status is DeliveryStatus.STORED:
            stored.append(f"{number}")
        else:
            refused.append(outcome)
    return stored, refused


def no_faults(*nodes: Node) -> bool:
    """Whether no plugin of these failed."""
    names = [name for node in nodes for name in node.counters.snapshot()]
    return not any(name.startswith("plugin_faults") for name in names)


async def test_a_full_disk_refuses_what_is_new_and_has_room_again_after_a_drain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = partial(SqliteStore.open, max_bytes=_DISK_BYTES)
    monkeypatch.setattr("thenodes_relay.plugin.SqliteStore.open", small)
    async with town(tmp_path) as made:
        relay = await made.relay(stores=True)
        alice, bob, carol = [await made.user(name) for name in ("alice", "bob", "carol")]
        await made.until(lambda: relay.counters.get("relay_bound") >= 3)
        name = bob.node.id
        await made.stop("bob")

        stored, refused = await fill(made, alice, name)

        # Full it is, and says so; whoever is there is served.
        assert min(len(stored), len(refused)) > 5
        assert {outcome.reason for outcome in refused} == {Reason.OVERLOAD}
        assert "full" in (refused[0].detail or "")
        assert relay.counters.get("relay_dropped", reason="overload") == len(refused)
        live = await send(made, alice, carol.node.id, "live", QoS.HIGH_THROUGHPUT)
        await made.until(lambda: carol.inbox.messages)
        assert live.status is DeliveryStatus.SENT
        assert any("full" in text for text in made.logs["relay-a"].details("relay_store"))

        bob = await made.user("bob")
        await made.until(lambda: len(bob.inbox.messages) == len(stored), 60)
        await made.until(lambda: relay.counters.get("relay_acked") == len(stored))
        assert texts(bob) == stored
        await made.stop("bob")

        again = await send(made, alice, name, "again", size=_FRAME_BYTES)

        assert again.status is DeliveryStatus.STORED
        assert relay.counters.get("relay_stored") == len(stored) + 1
        full, over = [
            event
            for event in made.logs["relay-a"].events
            if isinstance(event, PluginEvent) and event.action == "relay_store"
        ]
        assert (full.level, over.level) == (Level.ERROR, Level.INFO)
        assert "stored again" in over.detail
        assert no_faults(relay, alice.node)


async def test_a_damaged_store_is_set_aside_and_told_and_the_relay_goes_on(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as made:
        relay = await made.relay(stores=True)
        alice, bob = await made.user("alice"), await made.user("bob")
        await made.until(lambda: relay.counters.get("relay_bound") >= 2)
        name = bob.node.id
        await made.stop("bob")
        lost = await send(made, alice, name, "lost")
        await made.stop("relay-a")
        (store,) = made.state("relay-a").rglob("frames.sqlite3")
        damaged = b"no database" * 1000
        store.write_bytes(damaged)

        relay = await made.relay(stores=True)
        bob = await made.user("bob")
        await made.until(lambda: relay.counters.get("relay_bound") >= 2)
        kept = await send(made, alice, name, "kept")
        await made.until(lambda: bob.inbox.messages)

        (aside,) = store.parent.glob("frames.sqlite3.damaged-*")
        assert aside.read_bytes() == damaged
        assert lost.status is kept.status is DeliveryStatus.STORED
        assert bob.inbox.texts() == ["kept"]
        (told,) = made.logs["relay-a"].details("relay_store")
        assert aside.name in told
        assert relay.counters.get("relay_stored") == 1
        assert no_faults(relay, alice.node, bob.node)


async def test_a_store_that_is_damaged_while_the_relay_runs_harms_nobody_who_is_there(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as made:
        relay = await made.relay(stores=True)
        alice, bob = await made.user("alice"), await made.user("bob")
        await made.until(lambda: relay.counters.get("relay_bound") >= 2)
        name = bob.node.id
        await made.stop("bob")
        for number in range(30):
            await send(made, alice, name, f"{number}", size=_FRAME_BYTES)
        (store,) = made.state("relay-a").rglob("frames.sqlite3")
        for path in (store, store.with_name(f"{store.name}-wal")):
            with path.open("r+b") as file:
                file.seek(8192)
                file.write(b"\x07" * (path.stat().st_size - 8192))

        bob = await made.user("bob")
        await made.until(lambda: list(store.parent.glob("frames.sqlite3.damaged-*")), 30)
        await made.until(lambda: made.logs["relay-a"].details("relay_store"))
        after = await send(made, alice, name, "after")
        await made.until(lambda: "after" in texts(bob), 30)

        assert after.status is DeliveryStatus.STORED
        await made.until(lambda: relay.counters.get("relay_acked") >= 1)
        assert no_faults(relay, alice.node, bob.node)
