"""What a sender reads where there is no way: what is wrong, and what would mend it."""

from __future__ import annotations

import asyncio

import pytest

from thenodes_plugin_api import DeliveryOptions, Message, NoRoute, QoS, Reason, RelayNotify
from thenodes_plugin_api.testing import settle

from .rig import Rig, rig


async def no_route(made: Rig, to: str = "bob", relay: str | None = None) -> NoRoute:
    with pytest.raises(NoRoute) as caught:
        await made.carrier.open(to, DeliveryOptions(), relay=relay, timeout_seconds=0)
    return caught.value


async def test_a_node_has_no_way_to_itself() -> None:
    async with rig() as made:
        made.relay("relay-a").join()

        error = await no_route(made, "here")

        assert (error.reason, str(error)) == (Reason.UNKNOWN_TARGET, "here is this node itself")


async def test_a_target_that_no_relay_knows_is_told_with_what_it_lacks() -> None:
    async with rig() as made:
        made.relay("relay-a").join()
        opening = asyncio.ensure_future(made.open(timeout_seconds=1))
        await made.clock.advance(1.1)

        with pytest.raises(NoRoute, match="unknown_target: that node has no mailbox there"):
            await opening


async def test_without_a_relay_it_says_that_none_is_connected() -> None:
    async with rig(use=("far.example.org:1",)) as made:
        assert str(await no_route(made)) == (
            "no way to bob: no relay that may carry it is connected"
        )


async def test_a_relay_that_is_about_to_stop_is_named() -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        wire = relay.join()
        await settle()
        made.client.take_notify(wire, Message(RelayNotify(Reason.RESTARTING)))

        assert "about to stop: relay-a" in str(await no_route(made))
        assert str(await no_route(made, relay="relay-a")) == "relay-a is about to stop"


async def test_a_relay_is_named_by_its_id_and_not_by_its_address() -> None:
    async with rig() as made:
        error = await no_route(made, relay="127.0.0.1:50000")
        ack = await made.carrier.bind(
            "127.0.0.1:50000",
            "bob",
            store_forward=True,
            qos=QoS.RELIABLE,
            ttl_seconds=None,
            timeout_seconds=0,
        )

        assert "expected its node id, not an address" in str(error)
        assert ack.reason is Reason.PEER_LEFT
        assert "expected its node id" in made.context.log_lines[-1].text
