"""Memory of an idle session: a node, and a bare websockets server, each holding many."""

from __future__ import annotations

import asyncio
import subprocess
import time

from websockets.asyncio.server import ServerConnection, serve

from thenodes_core import Config, Node

from .clients import Client, raise_descriptor_limit
from .result import Far, Row, report

__all__ = ["hold", "measure", "resident_kib"]

KINDS = ("bare", "node")
_SETTLE_SECONDS = 3.0
_AT_ONCE = 100


async def hold(kind: str) -> None:
    """Be the far process: accept what comes, until it is ended."""
    raise_descriptor_limit(10_000)
    if kind == "node":
        async with Node(Config(port=0)) as node:
            report({"port": int(node.address.rpartition(":")[2])})
            await node.wait_stopped()

    async def wait(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with serve(wait, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        report({"port": server.sockets[0].getsockname()[1]})
        await asyncio.Event().wait()


def measure(sessions: int) -> list[Row]:
    """KiB a session end, and the time to establish all of them."""
    raise_descriptor_limit(sessions + 100)
    rows: list[Row] = []
    for kind in KINDS:
        with Far(kind, "hold") as far:
            before = resident_kib(far.pid)
            seconds, after = asyncio.run(_open_all(far, kind, sessions))
        each = (after - before) / sessions
        rows.append({"kind": kind, "sessions": sessions, "KiB each": each, "seconds": seconds})
    return rows


def resident_kib(pid: int) -> int:
    """A process's resident memory."""
    done = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


async def _open_all(far: Far, kind: str, sessions: int) -> tuple[float, int]:
    few_at_once = asyncio.Semaphore(_AT_ONCE)

    async def one() -> Client:
        async with few_at_once:
            client = await Client.open(far.port, None if kind == "bare" else "thenodes.v1.json")
            if kind == "node":
                await client.join_proven()
            return client

    started = time.perf_counter()
    clients = await asyncio.gather(*(one() for _ in range(sessions)))
    seconds = time.perf_counter() - started
    await asyncio.sleep(_SETTLE_SECONDS)
    kib = resident_kib(far.pid)
    for client in clients:
        client.close()
    return seconds, kib
