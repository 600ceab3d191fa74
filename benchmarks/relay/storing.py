"""What is kept for a target that is away: how fast it is stored, and how fast it comes back."""

from __future__ import annotations

import asyncio
import tempfile
import time
import uuid
from collections.abc import Sequence

from thenodes_core.security.identity import Identity
from thenodes_plugin_api import Ack, Frame, Message, ServiceSession

from .ends import Ends, joined
from .light import make_frames
from .processes import Process

__all__ = ["drain", "stores"]

# Reliable frames that one sender has under way when it fills the store.
_AHEAD = 512


class _Storing:
    """One sender, which sends a frame when another is stored."""

    def __init__(self, ends: Ends, frames: Sequence[bytes]) -> None:
        self.done = asyncio.Event()
        self._session = ends.session
        self._frames = frames
        self._sent = 0
        self._stored = 0
        ends.peers.serve_kind(Ack, self._take_ack)

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
            port = far.said["port"]
            away = await _leave_mailbox(port)
            return await _fill(port, away.node_id, size, messages, senders, ahead=ahead)


async def drain(size: int, messages: int) -> float:
    """Frames a second that a node gets, and acknowledges, that comes back to so many."""
    with tempfile.TemporaryDirectory(prefix="thenodes-bench-") as directory:
        with Process("relay", state_dir=directory) as far:
            port = far.said["port"]
            away = await _leave_mailbox(port)
            await _fill(port, away.node_id, size, messages, 4, ahead=_AHEAD)
            done, count = asyncio.Event(), 0

            def take(session: ServiceSession, frames: Sequence[Frame]) -> None:
                nonlocal count
                for frame in frames:
                    header = frame.header
                    assert header.delivery is not None
                    message_id = uuid.UUID(bytes=header.delivery.message_id)
                    session.send(Ack(header.sender, away.node_id, 0, "ok", message_id))
                count += len(frames)
                if count >= messages:
                    done.set()

            async with Ends(port, away) as ends:
                ends.peers.serve_frames(take)
                started = time.perf_counter()
                await ends.bind("*", "reliable")
                await done.wait()
                return messages / (time.perf_counter() - started)


async def _leave_mailbox(port: int) -> Identity:
    """Open a mailbox and go; returns whose it is."""
    async with Ends(port) as ends:
        await ends.bind("*", "reliable")
        return ends.identity


async def _fill(port: int, to: str, size: int, messages: int, senders: int, *, ahead: int) -> float:
    each = messages // senders
    async with joined(port, senders) as everybody:
        storing = []
        for ends in everybody:
            await ends.bind(to, "reliable")
            storing.append(_Storing(ends, make_frames(ends.id, to, size, each, "reliable")))
        started = time.perf_counter()
        for sender in storing:
            sender.begin(ahead)
        for sender in storing:
            await sender.done.wait()
        return each * senders / (time.perf_counter() - started)
