"""The yardstick: websockets alone, one WebSocket message a message."""

from __future__ import annotations

import asyncio
import time

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from .result import LAST, Far, report

__all__ = ["listen", "rate", "round_trips"]


async def listen() -> None:
    """Be the far process: count what comes, or send it back, until the sender is done."""
    done = asyncio.Event()

    async def handle(connection: ServerConnection) -> None:
        echo = await connection.recv() == b"echo"
        started, count = time.perf_counter(), 0
        async for message in connection:
            count += 1
            if echo:
                await connection.send(message)
            elif message == LAST:
                break
        report({"rate": count / (time.perf_counter() - started)})
        done.set()

    async with serve(handle, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        report({"port": server.sockets[0].getsockname()[1]})
        await done.wait()


async def rate(far: Far, size: int, messages: int) -> float:
    """Messages a second, one way."""
    async with connect(f"ws://127.0.0.1:{far.port}", compression=None, ping_interval=None) as link:
        await link.send(b"count")
        data = bytes(size)
        for _ in range(messages):
            await link.send(data)
        await link.send(LAST)
        await link.wait_closed()
    return float(far.result()["rate"])


async def round_trips(far: Far, size: int, messages: int) -> list[float]:
    """Seconds of each round trip, one after the other."""
    times = []
    async with connect(f"ws://127.0.0.1:{far.port}", compression=None, ping_interval=None) as link:
        await link.send(b"echo")
        data = bytes(size)
        for _ in range(messages):
            started = time.perf_counter()
            await link.send(data)
            await link.recv()
            times.append(time.perf_counter() - started)
    return times
