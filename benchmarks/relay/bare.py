"""The yardstick: a forwarder of websockets alone, one WebSocket message a message."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from ..result import LAST, report
from .processes import Process

__all__ = ["forward", "rate", "receive", "round_trips"]


async def forward() -> None:
    """Be the forwarder: what a sender sends goes to the receiver, and back what that answers."""
    ends: dict[bytes, ServerConnection] = {}
    there = asyncio.Event()

    async def handle(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await carry(connection)

    async def carry(connection: ServerConnection) -> None:
        name = await connection.recv()
        if name == b"receiver":
            ends[b"receiver"] = connection
            there.set()
            async for message in connection:
                await ends[b"sender"].send(message)
            return
        ends[b"sender"] = connection
        await there.wait()
        receiver = ends[b"receiver"]
        async for message in connection:
            await receiver.send(message)

    async with serve(handle, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        report({"port": server.sockets[0].getsockname()[1]})
        await asyncio.get_running_loop().create_future()


async def receive(port: int, *, senders: int, echo: bool) -> None:
    """Be the receiver: count what comes until each sender has ended, or send it back."""
    async with _connected(port, b"receiver") as link:
        report({})
        started, count = 0.0, 0
        async for message in link:
            if not count:
                started = time.perf_counter()
            count += 1
            if echo:
                await link.send(message)
            elif message == LAST:
                senders -= 1
                if not senders:
                    break
        report({"rate": count / (time.perf_counter() - started), "received": count})


async def rate(size: int, messages: int, senders: int) -> float:
    """Messages a second through the forwarder, from so many connections in turn."""
    with (
        Process("bare") as far,
        Process("bare-receiver", port=far.said["port"], senders=senders) as receiver,
    ):
        async with _many(far.said["port"], senders) as links:
            data = bytes(size)
            for number in range(messages):
                await links[number % senders].send(data)
            for link in links:
                await link.send(LAST)
            result = await asyncio.to_thread(receiver.result)
    if result["received"] != messages + senders:
        raise RuntimeError(f"{messages + senders - result['received']} messages were lost")
    return float(result["rate"])


async def round_trips(size: int, messages: int) -> list[float]:
    """Seconds of each round trip through the forwarder, one after the other."""
    times = []
    with Process("bare") as far, Process("bare-receiver", port=far.said["port"], echo=True):
        async with _connected(far.said["port"], b"sender") as link:
            data = bytes(size)
            for _ in range(messages):
                started = time.perf_counter()
                await link.send(data)
                await link.recv()
                times.append(time.perf_counter() - started)
    return times


@contextlib.asynccontextmanager
async def _connected(port: int, name: bytes) -> AsyncIterator[ClientConnection]:
    async with connect(f"ws://127.0.0.1:{port}", compression=None, ping_interval=None) as link:
        await link.send(name)
        yield link


@contextlib.asynccontextmanager
async def _many(port: int, count: int) -> AsyncIterator[Sequence[ClientConnection]]:
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(_connected(port, b"sender")) for _ in range(count)]
