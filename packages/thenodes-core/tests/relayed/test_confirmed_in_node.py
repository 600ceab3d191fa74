"""The word of a receiver that is connected, in whole nodes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from thenodes_core import Config, ManualClock, MemoryNetwork, Node
from thenodes_plugin_api import (
    Body,
    DataRequest,
    DeliveryOptions,
    DeliveryOutcome,
    DeliveryStatus,
    Extension,
    Message,
    Plugin,
    PluginContext,
    QoS,
    Text,
)

CONFIRM = DeliveryOptions(qos=QoS.RELIABLE, confirm=True)


class Hearing(Plugin):
    """Has what it is sent."""

    abi = 1

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        pass


async def answered(clock: ManualClock, near: Node, far: Node, body: Body) -> DeliveryOutcome:
    """Send a plain message and one to be confirmed together; let time pass until the end."""
    await near.send(far.id, body)
    sending = asyncio.ensure_future(near.send(far.id, body, options=CONFIRM))
    for _ in range(100):
        if sending.done():
            break
        await clock.advance(0.1)
    return await sending


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (Text("hello"), DeliveryStatus.DELIVERED),
        (DataRequest(), DeliveryStatus.DELIVERED),
        (Extension("hearing.this"), DeliveryStatus.DELIVERED),
        (Extension("nobody.hears.this"), DeliveryStatus.SENT),
    ],
)
async def test_a_message_over_a_session_is_delivered_when_plugins_had_it(
    body: Body, status: DeliveryStatus
) -> None:
    clock = ManualClock()
    network = MemoryNetwork(clock=clock)
    async with AsyncExitStack() as stack:
        far = await stack.enter_async_context(
            Node(Config(port=0), plugins={"hearing": Hearing()}, transport=network, clock=clock)
        )
        config = Config(port=0, bootstrap_nodes=(far.address,))
        near = await stack.enter_async_context(Node(config, transport=network, clock=clock))
        await near.wait_for(far.id)

        assert await answered(clock, near, far, body) == DeliveryOutcome(status)
