"""The relay by itself: frames that are made beforehand, and a receiver that counts them.

Both ends are nodes with real sessions, and no plugin: what is measured is what one process can
carry between two others.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager

from thenodes_core import Config, Node
from thenodes_core.limits import Limits
from thenodes_core.protocol.forward import pack_forward
from thenodes_plugin_api import (
    DeliveryHeader,
    ForwardHeader,
    Frame,
    Message,
    PayloadForm,
    RelayBind,
    RelayBindAck,
    ServiceSession,
)

from ..result import report
from .processes import Process

__all__ = ["Ends", "crowd", "joined", "make_frames", "rate", "receive", "round_trips"]

# Frames that are on their way at once, at most.
WINDOW = 8192
BATCH = 128


class Ends:
    """A node that binds and sends by hand.

    Args:
        port: of the relay.
    """

    def __init__(self, port: int) -> None:
        self.node = Node(Config(port=0, bootstrap_nodes=(f"ws://127.0.0.1:{port}",)))
        self._acks: asyncio.Queue[RelayBindAck] = asyncio.Queue()

    async def join(self, relay: str) -> ServiceSession:
        """Connect with the relay."""
        peers = self.node.peers
        peers.serve_kind(RelayBindAck, self._take_ack)
        await peers.wait_for(relay)
        session = peers.service_session(relay)
        assert session is not None
        return session

    async def bind(self, session: ServiceSession, target: str, qos: str) -> None:
        """Open a mailbox, or a route."""
        for nonce in range(200):
            session.send(RelayBind(target, True, qos, nonce))
            ack = await self._acks.get()
            if ack.ok:
                return
            await asyncio.sleep(0.05)
        raise RuntimeError(f"the relay refuses to bind: {ack}")

    def _take_ack(self, session: ServiceSession, message: Message) -> None:
        assert isinstance(message.body, RelayBindAck)
        self._acks.put_nowait(message.body)


def make_frames(sender: str, to: str, size: int, count: int, qos: str) -> list[bytes]:
    """Frames with ids of their own, as a node writes them."""
    now, limits, body = int(time.time() * 1000), Limits(), bytes(size)
    frames = []
    for _ in range(count):
        message_id = os.urandom(6) + b"\x70\0\x80" + os.urandom(7)
        delivery = DeliveryHeader(message_id, created_at=now, expires_at=now + 600_000)
        header = ForwardHeader(None, None, delivery, to, sender, None, qos)
        frames.append(pack_forward(header, PayloadForm.FRAME, body, limits))
    return frames


async def receive(port: int, relay: str, messages: int, *, echo_to: str | None = None) -> None:
    """Be the receiver: count what comes until that many were here, or answer each."""
    ends = Ends(port)
    done = asyncio.Event()
    count, started = 0, 0.0
    answer: list[bytes] = []

    def take(session: ServiceSession, frames: Sequence[Frame]) -> None:
        nonlocal count, started
        if echo_to is not None:
            session.offer(answer * len(frames))
            return
        if not count:
            started = time.perf_counter()
        before, count = count, count + len(frames)
        if before // WINDOW != count // WINDOW:
            report({"count": count})
        if count >= messages:
            done.set()

    async with ends.node as node:
        session = await ends.join(relay)
        await ends.bind(session, "*", "high_throughput")
        if echo_to is not None:
            await ends.bind(session, echo_to, "low_latency")
            answer = make_frames(node.id, echo_to, 256, 1, "low_latency")
        node.peers.serve_frames(take)
        report({"node_id": node.id})
        await done.wait()
        report({"rate": count / (time.perf_counter() - started), "received": count})
        await asyncio.get_running_loop().create_future()


async def rate(size: int, messages: int, *, senders: int = 1, idle: int = 0) -> float:
    """Frames a second through the relay, at most four windows of them on the way.

    Args:
        size: of the payload.
        messages: in all.
        senders: so many nodes send, in turn.
        idle: so many others are connected and have a mailbox.
    """
    messages = messages // senders * senders
    with Process("relay") as far, ExitStack() as stack:
        port, relay_id = far.said["port"], far.said["node_id"]
        if idle:
            others = stack.enter_context(Process("crowd", port=port, relay=relay_id, count=idle))
            others.result()
        with Process("light-receiver", port=port, relay=relay_id, messages=messages) as receiver:
            to = receiver.said["node_id"]
            async with joined(port, relay_id, senders) as pairs:
                for ends, session in pairs:
                    await ends.bind(session, to, "high_throughput")
                each = messages // senders
                flows = [
                    (session, make_frames(ends.node.id, to, size, each, "high_throughput"))
                    for ends, session in pairs
                ]
                return await _send(flows, receiver)


@asynccontextmanager
async def joined(
    port: int, relay: str, count: int
) -> AsyncIterator[list[tuple[Ends, ServiceSession]]]:
    """So many nodes that are connected with the relay."""
    async with AsyncExitStack() as stack:
        pairs = []
        for _ in range(count):
            ends = Ends(port)
            await stack.enter_async_context(ends.node)
            pairs.append((ends, await ends.join(relay)))
        yield pairs


async def crowd(port: int, relay: str, count: int, routes_to: str | None = None) -> None:
    """Be so many nodes with a mailbox each, and a route where one is asked for; then wait."""
    async with joined(port, relay, count) as pairs:
        report({})
        if routes_to is not None:
            await asyncio.to_thread(input)
        for ends, session in pairs:
            await ends.bind(session, "*", "high_throughput")
        report({})
        if routes_to is not None:
            await asyncio.to_thread(input)
            for ends, session in pairs:
                await ends.bind(session, routes_to, "high_throughput")
            report({})
        await asyncio.get_running_loop().create_future()


async def _send(flows: list[tuple[ServiceSession, list[bytes]]], receiver: Process) -> float:
    loop, seen, sent = asyncio.get_running_loop(), 0, 0
    result: asyncio.Future[float] = loop.create_future()
    more = asyncio.Event()

    def note(count: int) -> None:
        nonlocal seen
        seen = count
        more.set()

    def read() -> None:
        while "rate" not in (values := receiver.result()):
            loop.call_soon_threadsafe(note, values["count"])
        loop.call_soon_threadsafe(result.set_result, float(values["rate"]))

    reading = asyncio.ensure_future(asyncio.to_thread(read))
    batch = max(1, BATCH // len(flows))
    at = [0] * len(flows)
    while any(at[number] < len(frames) for number, (_, frames) in enumerate(flows)):
        for number, (session, frames) in enumerate(flows):
            taken = session.offer(frames[at[number] : at[number] + batch])
            at[number] += taken
            sent += taken
        await asyncio.sleep(0)
        while sent - seen > 4 * WINDOW:
            more.clear()
            await more.wait()
    await reading
    return await result


async def round_trips(size: int, messages: int) -> list[float]:
    """Seconds of each round trip through the relay, one after the other."""
    times: list[float] = []
    back = asyncio.Event()
    with Process("relay") as far:
        port, relay_id = far.said["port"], far.said["node_id"]
        ends = Ends(port)
        async with ends.node as node:
            session = await ends.join(relay_id)
            await ends.bind(session, "*", "low_latency")
            node.peers.serve_frames(lambda session, frames: back.set())
            options = {"port": port, "relay": relay_id, "messages": 1, "echo_to": node.id}
            with await asyncio.to_thread(Process, "light-receiver", **options) as receiver:
                to = receiver.said["node_id"]
                await ends.bind(session, to, "low_latency")
                for frame in make_frames(node.id, to, size, messages, "low_latency"):
                    back.clear()
                    started = time.perf_counter()
                    session.offer([frame])
                    await back.wait()
                    times.append(time.perf_counter() - started)
    return times
