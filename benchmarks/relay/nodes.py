"""Three nodes: a plugin sends, through the relay, to a plugin on a node it has no session with."""

from __future__ import annotations

import asyncio
import time
from typing import Literal

from msgspec import structs

from thenodes_core import Config, Node
from thenodes_core.config import NetworkTable, RelayTable
from thenodes_plugin_api import (
    DeliveryOptions,
    Extension,
    Message,
    NotConnected,
    Payload,
    Plugin,
    PluginContext,
    QoS,
)

from ..result import LAST, report
from .processes import Process

__all__ = ["rate", "receive", "relay", "relay_config", "round_trips"]

DATA = Extension("bench.data")
PROGRESS = Extension("bench.progress")
WINDOW = 4096

FAST = DeliveryOptions(qos=QoS.HIGH_THROUGHPUT, store=False)
Seal = Literal["required", "off"]


def relay_config(*, frames: int = 1_000_000) -> Config:
    """The configuration of a relay without limits of rate, whose queues hold so many frames.

    One sender has a quarter of a target's, and a twentieth of all.
    """
    relay = RelayTable(
        enabled=True,
        store_forward=True,
        frames_per_second=0,
        bytes_per_second=0,
        queue_max_per_target=4 * frames,
        queue_max_global=20 * frames,
        queue_bytes_per_target=1_000_000_000,
        max_bindings_per_node=10_000,
    )
    return Config(port=0, network=NetworkTable(relay=relay))


def user_config(port: int, seal: Seal) -> Config:
    """The configuration of a node that uses that relay."""
    relay = RelayTable(use=(f"ws://127.0.0.1:{port}",), seal=seal)
    return Config(port=0, network=NetworkTable(relay=relay))


async def relay(state_dir: str | None = None) -> None:
    """Be the relay."""
    config = relay_config()
    if state_dir is not None:
        config = with_state(config, state_dir)
    async with Node(config) as node:
        report({"port": int(node.address.rpartition(":")[2]), "node_id": node.id})
        await asyncio.get_running_loop().create_future()


def with_state(config: Config, state_dir: str) -> Config:
    """The same, kept in a directory."""
    return structs.replace(config, node=structs.replace(config.node, state_dir=state_dir))


class Receiving(Plugin):
    """Counts what comes, tells the sender of it, and answers questions."""

    abi = 1

    def __init__(self, senders: int = 1) -> None:
        self.done = asyncio.Event()
        self._senders = senders
        self._started = 0.0
        self._count = 0

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        if type(message.body) is Extension and message.body.request_id is not None:
            await ctx.reply(message, message.payload)
            return
        if not self._count:
            self._started = time.perf_counter()
        self._count += 1
        if self._count % WINDOW == 0:
            await ctx.send(message.sender, PROGRESS, Payload.json(self._count), options=FAST)
        if message.payload is not None and message.payload.data == LAST:
            self._senders -= 1
            if not self._senders:
                seconds = time.perf_counter() - self._started
                report({"rate": self._count / seconds, "received": self._count})
                self.done.set()


class Sending(Plugin):
    """Hears how far the receiver is."""

    abi = 1
    ctx: PluginContext

    def __init__(self) -> None:
        self.seen = 0
        self.more = asyncio.Event()

    async def on_start(self, ctx: PluginContext) -> None:
        self.ctx = ctx

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        if message.payload is not None:
            self.seen = message.payload.as_json(int)
            self.more.set()


async def receive(port: int, relay: str, seal: Seal, senders: int = 1) -> None:
    """Be the receiver, until the last message of every sender has come."""
    plugin = Receiving(senders)
    async with Node(user_config(port, seal), plugins={"bench": plugin}) as node:
        await node.wait_for(relay)
        report({"node_id": node.id})
        await plugin.done.wait()


async def rate(seal: Seal, size: int, messages: int) -> float:
    """Messages a second, plugin to plugin, at most four windows of them on the way."""
    plugin = Sending()
    with (
        Process("relay") as far,
        Process(
            "receiver", port=far.said["port"], relay=far.said["node_id"], seal=seal
        ) as receiver,
    ):
        to = receiver.said["node_id"]
        config = user_config(far.said["port"], seal)
        async with Node(config, plugins={"bench": plugin}) as node:
            await node.wait_for(far.said["node_id"])
            await reach(plugin.ctx, to)
            payload, send = Payload.binary(bytes(size)), plugin.ctx.send
            for number in range(messages):
                await send(to, DATA, payload, options=FAST)
                while number - plugin.seen > 4 * WINDOW:
                    plugin.more.clear()
                    await plugin.more.wait()
            await send(to, DATA, Payload.binary(LAST), options=FAST)
            result = await asyncio.to_thread(receiver.result)
    # The question that opened the way is not counted there.
    if result["received"] != messages + 1:
        raise RuntimeError(f"{messages + 1 - result['received']} messages were lost")
    return float(result["rate"])


async def round_trips(seal: Seal, size: int, messages: int) -> list[float]:
    """Seconds of each question and its answer, plugin to plugin, one after the other."""
    times = []
    plugin = Sending()
    with (
        Process("relay") as far,
        Process(
            "receiver", port=far.said["port"], relay=far.said["node_id"], seal=seal
        ) as receiver,
    ):
        to = receiver.said["node_id"]
        config = user_config(far.said["port"], seal)
        async with Node(config, plugins={"bench": plugin}) as node:
            await node.wait_for(far.said["node_id"])
            await reach(plugin.ctx, to)
            payload = Payload.binary(bytes(size))
            for _ in range(messages):
                started = time.perf_counter()
                await plugin.ctx.request(to, DATA.kind, payload)
                times.append(time.perf_counter() - started)
    return times


async def reach(ctx: PluginContext, to: str) -> None:
    """Ask until there is an answer: the receiver's mailbox may not be open yet."""
    for _ in range(100):
        try:
            await ctx.request(to, DATA.kind, timeout_seconds=5)
            return
        except NotConnected:
            await asyncio.sleep(0.1)
    raise RuntimeError(f"{to} cannot be reached through the relay")
