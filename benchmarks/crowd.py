"""Many peers, some of them frozen, some sending garbage: are the others served?"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import statistics
import time

from thenodes_core import Config, EncryptionTable, Node, TrustPolicyTable
from thenodes_core.limits import Limits
from thenodes_plugin_api import Extension, Message, Payload, Plugin, PluginContext

from .clients import Client, raise_descriptor_limit
from .connections import resident_kib
from .result import Far, Row, report

__all__ = ["listen", "measure"]

_BROADCASTS_PER_SECOND = 50
_SAMPLES = 6


class _Busy(Plugin):
    """Answers questions, and sends everybody a KiB now and then."""

    abi = 1

    async def on_start(self, ctx: PluginContext) -> None:
        news = Payload.text("x" * 1024)
        ctx.every(1 / _BROADCASTS_PER_SECOND, lambda: ctx.broadcast(Extension("crowd.news"), news))

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        if isinstance(message.body, Extension) and message.body.request_id is not None:
            await ctx.reply(message)


async def listen() -> None:
    """Be the far process: the node."""
    raise_descriptor_limit(10_000)
    config = Config(
        port=0,
        limits=Limits(outbox_bytes=1024 * 1024),
        encryption=EncryptionTable(trust_policy=TrustPolicyTable(require_identity=False)),
    )
    async with Node(config, plugins={"crowd": _Busy()}) as node:
        report({"port": int(node.address.rpartition(":")[2])})
        await node.wait_stopped()


def measure(sessions: int, frozen: int, garbage: int, seconds: float) -> list[Row]:
    """What the well-behaved peers see, and the node's memory over time."""
    raise_descriptor_limit(sessions + 100)
    with Far("crowd", "hold") as far:
        return asyncio.run(_Crowd(far, seconds).run(sessions, frozen, garbage))


class _Crowd:
    def __init__(self, far: Far, seconds: float) -> None:
        self._far = far
        self._seconds = seconds
        self._times: list[float] = []
        self._asked = 0
        self._attempts = 0
        self._lost = 0

    async def run(self, sessions: int, frozen: int, garbage: int) -> list[Row]:
        good = sessions - frozen - garbage
        clients = [await self._join(f"good-{number}") for number in range(good)]
        cold = [await self._join(f"frozen-{number}") for number in range(frozen)]
        for client in cold:
            client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        work = [asyncio.create_task(self._ask(client)) for client in clients]
        work += [asyncio.create_task(self._send_garbage(n)) for n in range(garbage)]
        memory = []
        for _ in range(_SAMPLES):
            await asyncio.sleep(self._seconds / _SAMPLES)
            memory.append(resident_kib(self._far.pid) / 1024)
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        for client in [*clients, *cold]:
            client.close()
        times = sorted(self._times)
        step = self._seconds / _SAMPLES
        return [
            {"what": "well-behaved peers", "value": good},
            {"what": "of them lost", "value": self._lost},
            {"what": "questions answered, of those asked", "value": len(times) / self._asked},
            {"what": "p50, ms", "value": statistics.median(times) * 1000},
            {"what": "p99, ms", "value": times[int(len(times) * 0.99)] * 1000},
            {"what": "attempts to send garbage", "value": self._attempts},
            *(
                {"what": f"node's memory after {step * number:g} s, MiB", "value": mib}
                for number, mib in enumerate(memory, start=1)
            ),
        ]

    async def _join(self, node_id: str) -> Client:
        client = await Client.open(self._far.port, "thenodes.v1.json")
        await client.join(node_id)
        return client

    async def _ask(self, client: Client) -> None:
        """Ask a question a second, and read everything in between."""
        await asyncio.sleep(random.random())
        try:
            while True:
                self._asked += 1
                started = time.perf_counter()
                client.send({"EXTENSION": {"kind": "crowd.ask", "request_id": "q"}})
                while "reply_to" not in (await client.receive())["msg_type"].get("EXTENSION", {}):
                    pass
                self._times.append(time.perf_counter() - started)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        while True:
                            await client.receive()
        except (OSError, EOFError):
            self._lost += 1

    async def _send_garbage(self, number: int) -> None:
        while True:
            self._attempts += 1
            with contextlib.suppress(OSError, EOFError, ValueError):
                client = await Client.open(self._far.port, "thenodes.v1.json")
                if number % 2:
                    await client.join(f"garbage-{number}")
                client.send_raw(os.urandom(512).hex().encode())
                await client.reader.read(4096)
                client.close()
            await asyncio.sleep(0.5)
