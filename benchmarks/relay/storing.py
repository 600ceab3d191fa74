"""What is kept for a target that is away: how fast it is stored, and how fast it comes back."""

from __future__ import annotations

import asyncio
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack

from msgspec import structs

from thenodes_core import Config, Node
from thenodes_plugin_api import Ack, Frame, Message, ServiceSession

from .light import Ends, make_frames
from .processes import Process

__all__ = ["drain", "stores"]

# Reliable frames that one sender has under way when it fills the store.
_AHEAD = 512


class _Storing:
    """One sender, which sends a frame when another is stored."""

    def __init__(self, ends: Ends, session: ServiceSession, frames: Sequence[bytes]) -> None:
        self.done = asyncio.Event()
        self._session = session
        self._frames = frames
        self._sent = 0
        self._stored = 0
        ends.node.peers.serve_kind(Ack, self._take_ack)

    def begin(self, ahead: int) -> None:
        self._sent = self._session.offer(self._frames[:ahead])

    def _take_ack(self, session: ServiceSession, message: Message) -> None:
        assert isinstance(message.body, Ack)
        if message.body.status != "stored":
            raise RuntimeError(f"not stored: {message.body}")
        self._stored += 1
        if self._stored == len(self._frames):
            self.done.set()
        elif self._sent < len(self._frames):
            self._sent += session.offer(self._frames[self._sent : self._sent + 1])


async def stores(size: int, messages: int, senders: int, ahead: int = 1) -> float:
    """Frames a second that the relay has acknowledged as stored.

    Args:
        size: of the payload.
        messages: in all.
        senders: nodes that send.
        ahead: frames that each has under way.
    """
    with tempfile.TemporaryDirectory(prefix="thenodes-bench-") as directory:
        with Process("relay", state_dir=directory) as far:
            port, relay = far.said["port"], far.said["node_id"]
            to, _ = await _leave_mailbox(port, relay)
            return await _fill(port, relay, to, size, messages, senders, ahead=ahead)


async def drain(size: int, messages: int) -> float:
    """Frames a second that a node gets that comes back to so many."""
    with tempfile.TemporaryDirectory(prefix="thenodes-bench-") as directory:
        with Process("relay", state_dir=directory) as far:
            port, relay = far.said["port"], far.said["node_id"]
            to, home = await _leave_mailbox(port, relay)
            await _fill(port, relay, to, size, messages, 4, ahead=_AHEAD)
            ends, done, count = Ends(port), asyncio.Event(), 0
            ends.node = Node(home)

            def take(session: ServiceSession, frames: Sequence[Frame]) -> None:
                nonlocal count
                for frame in frames:
                    header = frame.header
                    assert header.delivery is not None
                    message_id = header.delivery.message_id
                    session.send(_ack(header.sender, to, message_id))
                count += len(frames)
                if count >= messages:
                    done.set()

            async with ends.node as node:
                session = await ends.join(relay)
                node.peers.serve_frames(take)
                started = time.perf_counter()
                await ends.bind(session, "*", "reliable")
                await done.wait()
                return messages / (time.perf_counter() - started)


def _ack(to: str, sender: str, message_id: bytes) -> Ack:
    return Ack(to, sender, 0, "ok", uuid.UUID(bytes=message_id))


async def _leave_mailbox(port: int, relay: str) -> tuple[str, Config]:
    """Open a mailbox and go; returns whose it is, and the configuration that comes back."""
    home = tempfile.mkdtemp(prefix="thenodes-bench-")
    ends = Ends(port)
    config = ends.node.config
    config = structs.replace(config, node=structs.replace(config.node, state_dir=home))
    ends.node = Node(config)
    async with ends.node as node:
        await ends.bind(await ends.join(relay), "*", "reliable")
        return node.id, config


async def _fill(
    port: int, relay: str, to: str, size: int, messages: int, senders: int, *, ahead: int
) -> float:
    each = messages // senders
    async with AsyncExitStack() as stack:
        storing = []
        for _ in range(senders):
            ends = Ends(port)
            node = await stack.enter_async_context(ends.node)
            session = await ends.join(relay)
            await ends.bind(session, to, "reliable")
            frames = make_frames(node.id, to, size, each, "reliable")
            storing.append(_Storing(ends, session, frames))
        started = time.perf_counter()
        for sender in storing:
            sender.begin(ahead)
        for sender in storing:
            await sender.done.wait()
        return each * senders / (time.perf_counter() - started)
