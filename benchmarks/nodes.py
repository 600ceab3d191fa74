"""Two nodes: a plugin sends, a plugin on the other node receives or answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TypeAlias

from thenodes_core import Config, Limits, LoggingTable, Node
from thenodes_core.transport.websocket import WebSocketTransport
from thenodes_plugin_api import Extension, Message, Payload, Plugin, PluginContext

from .result import LAST, Far, report

__all__ = ["listen", "rate", "round_trips"]

DATA = Extension("bench.data")

Beside: TypeAlias = Callable[[Node], AbstractAsyncContextManager[object]]


def _nothing(node: Node) -> AbstractAsyncContextManager[object]:
    return nullcontext()


class _Counting(Plugin):
    """Counts messages, answers questions, and tells when the last one came."""

    abi = 1

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self._started = 0.0
        self._count = 0

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        if type(message.body) is Extension and message.body.request_id is not None:
            await ctx.reply(message, message.payload)
            return
        if not self._count:
            self._started = time.perf_counter()
        self._count += 1
        if message.payload is not None and message.payload.data == LAST:
            seconds = time.perf_counter() - self._started
            report({"rate": self._count / seconds, "received": self._count})
            self.done.set()


class _Sending(Plugin):
    abi = 1
    ctx: PluginContext

    async def on_start(self, ctx: PluginContext) -> None:
        self.ctx = ctx


def _node(
    subprotocol: str, plugin: Plugin, *bootstrap: str, logging: LoggingTable | None = None
) -> Node:
    transport = WebSocketTransport(Limits(), offered=(subprotocol,))
    config = Config(port=0, bootstrap_nodes=bootstrap, logging=logging or LoggingTable())
    return Node(config, plugins={"bench": plugin}, transport=transport)


async def listen(
    subprotocol: str, *, logging: LoggingTable | None = None, beside: Beside = _nothing
) -> None:
    """Be the far process until the last message has come.

    Args:
        subprotocol: the encoding.
        logging: where events are written.
        beside: what else the node has, meanwhile.
    """
    plugin = _Counting()
    async with _node(subprotocol, plugin, logging=logging) as node, beside(node):
        report({"port": int(node.address.rpartition(":")[2]), "node_id": node.id})
        await plugin.done.wait()


async def rate(
    far: Far,
    subprotocol: str,
    size: int,
    messages: int,
    *,
    logging: LoggingTable | None = None,
    beside: Beside = _nothing,
) -> float:
    """Messages a second, one way, decoded and dispatched to the plugin; see `listen`."""
    plugin = _Sending()
    made = _node(subprotocol, plugin, f"127.0.0.1:{far.port}", logging=logging)
    async with made as node, beside(node):
        await node.wait_for(far.node_id)
        payload = _payload(subprotocol, size)
        for _ in range(messages):
            await plugin.ctx.send(far.node_id, DATA, payload)
        await plugin.ctx.send(far.node_id, DATA, Payload.binary(LAST))
        result = await asyncio.to_thread(far.result)
    if result["received"] != messages + 1:
        raise RuntimeError(f"{messages + 1 - int(result['received'])} messages were lost")
    return float(result["rate"])


async def round_trips(far: Far, subprotocol: str, size: int, messages: int) -> list[float]:
    """Seconds of each `ctx.request`, one after the other."""
    times = []
    plugin = _Sending()
    async with _node(subprotocol, plugin, f"127.0.0.1:{far.port}") as node:
        await node.wait_for(far.node_id)
        payload = _payload(subprotocol, size)
        for _ in range(messages):
            started = time.perf_counter()
            await plugin.ctx.request(far.node_id, DATA.kind, payload)
            times.append(time.perf_counter() - started)
        await plugin.ctx.send(far.node_id, DATA, Payload.binary(LAST))
        await asyncio.to_thread(far.result)
    return times


def _payload(subprotocol: str, size: int) -> Payload:
    # Bytes are an array of numbers in the reference's JSON: text is what one sends there.
    return Payload.text("x" * size) if subprotocol.endswith("json") else Payload.binary(bytes(size))
