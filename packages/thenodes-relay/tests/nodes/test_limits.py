"""Nodes whose operators set other limits for frames."""

from __future__ import annotations

from pathlib import Path

import pytest

from thenodes_core import Limits
from thenodes_plugin_api import DeliveryOptions, Payload, PayloadTooLarge, QoS, Text

from .town import Town, User, town


async def pair(made: Town, relays: Limits, users: Limits) -> tuple[User, User]:
    """Alice and bob with mailboxes at a relay."""
    relay = await made.relay(stores=True, limits=relays)
    alice = await made.user("alice", limits=users)
    bob = await made.user("bob", limits=users)
    await made.until(lambda: relay.counters.get("relay_bound") >= 2)
    return alice, bob


async def send(made: Town, alice: User, bob: User, size: int) -> None:
    """Send so many bytes as a reliable message."""
    payload = Payload.binary(bytes(size))
    options = DeliveryOptions(qos=QoS.RELIABLE)
    await made.result(alice.inbox.ctx.send(bob.node.id, Text(""), payload, options=options))


async def test_what_a_relay_does_not_take_is_refused_where_it_is_sent(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        alice, bob = await pair(made, Limits(frame_bytes=100_000), Limits())

        with pytest.raises(PayloadTooLarge, match="100000"):
            await send(made, alice, bob, 150_000)
        await send(made, alice, bob, 90_000)

        await made.until(lambda: len(bob.inbox.messages) == 1)


async def test_nodes_that_all_take_larger_frames_have_them_carried(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        larger = Limits(frame_bytes=800_000, window_bytes=800_000)
        alice, bob = await pair(made, larger, larger)

        await send(made, alice, bob, 700_000)

        await made.until(lambda: len(bob.inbox.messages) == 1)
