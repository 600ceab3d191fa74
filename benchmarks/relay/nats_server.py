"""NATS: nats-server, with nats-py at both ends; where either is missing, none is measured."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from ..result import LAST, report
from .processes import Process

__all__ = ["missing", "rate", "receive", "round_trips", "stores"]

_SUBJECT = "bench.data"
_WINDOW = 4096


def missing() -> str:
    """What is not there that this needs; empty where nothing is."""
    if shutil.which("nats-server") is None:
        return "nats-server is not installed (apt-get install nats-server)"
    try:
        import nats  # noqa: F401
    except ImportError:
        return "nats-py is not installed (pip install nats-py)"
    return ""


async def receive(port: int, *, echo: bool) -> None:
    """Be the receiver: count what comes, or send it back."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    started, count = 0.0, 0

    async def take(message: Any) -> None:
        nonlocal started, count
        if echo:
            await message.respond(message.data)
            return
        if not count:
            started = time.perf_counter()
        count += 1
        if count % _WINDOW == 0:
            await client.publish("bench.progress", str(count).encode())
        if message.data == LAST:
            done.set_result(None)

    async with _client(port) as client:
        await client.subscribe(_SUBJECT, cb=take, pending_msgs_limit=-1, pending_bytes_limit=-1)
        await client.flush()
        report({})
        await done
        report({"rate": count / (time.perf_counter() - started), "received": count})


async def rate(size: int, messages: int) -> float:
    """Messages a second through the server, one way, at most four windows of them on the way."""
    with _server() as port, Process("nats-receiver", port=port) as receiver:
        async with _client(port) as client:
            seen, more = 0, asyncio.Event()

            async def progress(message: Any) -> None:
                nonlocal seen
                seen = int(message.data)
                more.set()

            await client.subscribe("bench.progress", cb=progress)
            data = bytes(size)
            for number in range(messages):
                await client.publish(_SUBJECT, data)
                while number - seen > 4 * _WINDOW:
                    more.clear()
                    await more.wait()
            await client.publish(_SUBJECT, LAST)
            await client.flush()
            result = await asyncio.to_thread(receiver.result)
    if result["received"] != messages + 1:
        raise RuntimeError(f"{messages + 1 - result['received']} messages were lost")
    return float(result["rate"])


async def round_trips(size: int, messages: int) -> list[float]:
    """Seconds of each request and its answer, one after the other."""
    times = []
    with _server() as port, Process("nats-receiver", port=port, echo=True):
        async with _client(port) as client:
            data = bytes(size)
            for _ in range(messages):
                started = time.perf_counter()
                await client.request(_SUBJECT, data, timeout=5)
                times.append(time.perf_counter() - started)
    return times


async def stores(size: int, messages: int, senders: int) -> float:
    """Messages a second that JetStream has acknowledged, each sender waiting for each."""
    with _server() as port:
        async with _client(port) as client:
            stream = client.jetstream()
            await stream.add_stream(name="bench", subjects=[_SUBJECT])
            data = bytes(size)

            async def publish(count: int) -> None:
                for _ in range(count):
                    await stream.publish(_SUBJECT, data)

            started = time.perf_counter()
            await asyncio.gather(*(publish(messages // senders) for _ in range(senders)))
            return messages // senders * senders / (time.perf_counter() - started)


@contextlib.contextmanager
def _server() -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="thenodes-bench-") as directory:
        server = subprocess.Popen(
            ["nats-server", "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", directory],
            stderr=subprocess.DEVNULL,
        )
        try:
            while not _listens(port):
                time.sleep(0.02)
            yield port
        finally:
            server.terminate()
            server.wait(timeout=10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.asynccontextmanager
async def _client(port: int) -> AsyncIterator[Any]:
    import nats

    client = await nats.connect(f"nats://127.0.0.1:{port}")
    try:
        yield client
    finally:
        await client.close()
