"""The relay by itself: frames that are made beforehand, and a receiver that counts them.

Both ends have real sessions, and no plugin: what is measured is what one process can carry
between two others.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack

from thenodes_core.limits import Limits
from thenodes_core.protocol.forward import pack_forward
from thenodes_plugin_api import DeliveryHeader, ForwardHeader, Frame, PayloadForm, ServiceSession

from ..result import report
from .ends import Ends, joined
from .processes import Process

__all__ = ["crowd", "make_frames", "rate", "receive", "round_trips"]

# Frames that are on their way at once, at most.
WINDOW = 8192
BATCH = 128


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


async def receive(port: int, messages: int, *, echo_to: str | None = None) -> None:
    """Be the receiver: count what comes until that many were here, or answer each."""
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

    async with Ends(port) as ends:
        await ends.bind("*", "high_throughput")
        if echo_to is not None:
            await ends.bind(echo_to, "low_latency")
            answer = make_frames(ends.id, echo_to, 256, 1, "low_latency")
        ends.peers.serve_frames(take)
        report({"node_id": ends.id})
        await done.wait()
        report({"rate": count / (time.perf_counter() - started), "received": count})
        await asyncio.get_running_loop().create_future()


async def crowd(port: int, count: int, routes_to: str | None = None) -> None:
    """Be so many nodes with a mailbox each, and a route where one is asked for; then wait."""
    async with joined(port, count) as everybody:
        report({})
        if routes_to is not None:
            await asyncio.to_thread(input)
        for ends in everybody:
            await ends.bind("*", "high_throughput")
        report({})
        if routes_to is not None:
            await asyncio.to_thread(input)
            for ends in everybody:
                await ends.bind(routes_to, "high_throughput")
            report({})
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
        port = far.said["port"]
        if idle:
            stack.enter_context(Process("crowd", port=port, count=idle)).result()
        with Process("light-receiver", port=port, messages=messages) as receiver:
            to = receiver.said["node_id"]
            async with joined(port, senders) as everybody:
                for ends in everybody:
                    await ends.bind(to, "high_throughput")
                each = messages // senders
                flows = [
                    (ends.session, make_frames(ends.id, to, size, each, "high_throughput"))
                    for ends in everybody
                ]
                return await _send(flows, receiver)


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
    while unsent := _unsent(flows, at):
        before = sent
        for number, (session, frames) in enumerate(flows):
            taken = session.offer(frames[at[number] : at[number] + batch])
            at[number] += taken
            sent += taken
        if sent == before:
            await _room(unsent[0][0])
        else:
            await asyncio.sleep(0)
        while sent - seen > 4 * WINDOW:
            more.clear()
            await more.wait()
    await reading
    return await result


def _unsent(
    flows: list[tuple[ServiceSession, list[bytes]]], at: list[int]
) -> list[tuple[ServiceSession, list[bytes]]]:
    return [flow for number, flow in enumerate(flows) if at[number] < len(flow[1])]


async def _room(session: ServiceSession) -> None:
    """Wait until the session takes more."""
    room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    session.on_room(lambda: room.set_result(None))
    await room


async def round_trips(size: int, messages: int) -> list[float]:
    """Seconds of each round trip through the relay, one after the other."""
    times: list[float] = []
    back = asyncio.Event()
    with Process("relay") as far:
        port = far.said["port"]
        async with Ends(port) as ends:
            await ends.bind("*", "low_latency")
            ends.peers.serve_frames(lambda session, frames: back.set())
            options = {"port": port, "messages": 1, "echo_to": ends.id}
            with await asyncio.to_thread(Process, "light-receiver", **options) as receiver:
                to = receiver.said["node_id"]
                await ends.bind(to, "low_latency")
                for frame in make_frames(ends.id, to, size, messages, "low_latency"):
                    back.clear()
                    started = time.perf_counter()
                    ends.session.offer([frame])
                    await back.wait()
                    times.append(time.perf_counter() - started)
    return times
