"""Links within one process, with delay, loss and cut; for tests and examples."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import deque
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

from ..clock import Clock, SystemClock
from ..errors import DialError, LinkClosed, ListenError
from .base import SUBPROTOCOLS, Accept, Answered, Listener, Report, Taken

__all__ = ["MemoryLink", "MemoryNetwork"]


class MemoryNetwork:
    """A network that exists only in this process; give the same one to several nodes.

    Args:
        clock: times the delay.
        delay_seconds: how long a message travels.
        loss: share of messages that never arrive, 0 to 1. WebSocket never loses
            a message; this is for tests of what must survive a loss.
        doubles: whether a message arrives twice; it never does where it is None.
        queue_messages: messages on their way to one end; a sender waits at more.
        subprotocol: the encoding that links agree on.
        seed: makes the loss repeatable.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        delay_seconds: float = 0.0,
        loss: float = 0.0,
        doubles: Callable[[bytes], bool] | None = None,
        queue_messages: int = 64,
        subprotocol: str = SUBPROTOCOLS[0],
        seed: int = 0,
    ) -> None:
        self.clock = clock or SystemClock()
        self.delay_seconds = delay_seconds
        self.loss = loss
        self.doubles = doubles
        self.queue_messages = queue_messages
        self.subprotocol = subprotocol
        self.random = random.Random(seed)
        self.links: set[MemoryLink] = set()
        self.is_delivering = False
        self._ports = itertools.count(40_000)
        self._listeners: dict[int, _MemoryListener] = {}

    async def listen(self, host: str, port: int, accept: Accept, report: Report) -> Listener:
        """Accept links on a port of this network; hosts are not told apart."""
        port = port or next(self._ports)
        if port in self._listeners:
            raise ListenError(f"cannot listen on {host}:{port}: the port is taken")
        listener = self._listeners[port] = _MemoryListener(self, host, port, accept)
        return listener

    async def dial(self, address: str) -> MemoryLink:
        """Link to a listener of this network."""
        listener = self._listeners.get(urlsplit(address).port or 0)
        if listener is None:
            raise DialError(f"{address}: connection refused")
        near = MemoryLink(self, address.removeprefix("ws://"))
        far = MemoryLink(self, f"127.0.0.1:{next(self._ports)}")
        near.other, far.other = far, near
        self.links |= {near, far}
        listener.serve(far)
        return near

    def cut(self) -> None:
        """Break every link, as a network does: nobody is told why."""
        for link in list(self.links):
            link.abort()

    def cut_in_message(self) -> None:
        """Break each link while the next message is on it: it was sent, and never arrives."""
        for link in self.links:
            link.is_cut_in_message = True

    def forget(self, port: int) -> None:
        """Remove a listener."""
        self._listeners.pop(port, None)


class _MemoryListener:
    def __init__(self, network: MemoryNetwork, host: str, port: int, accept: Accept) -> None:
        self.host = host
        self.port = port
        self._network = network
        self._accept = accept
        self._tasks: set[asyncio.Task[None]] = set()

    def serve(self, link: MemoryLink) -> None:
        task = asyncio.get_running_loop().create_task(self._run(link))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, link: MemoryLink) -> None:
        try:
            await self._accept(link)
        finally:
            link.abort()

    async def close(self) -> None:
        self._network.forget(self.port)


class MemoryLink:
    """One end of a link.

    Attributes:
        answers_pings: False for an end that never does.
    """

    encrypted = False
    certificate_digest: bytes | None = None
    verified_host: str | None = None

    def __init__(self, network: MemoryNetwork, remote: str) -> None:
        self.other: MemoryLink
        self.subprotocol = network.subprotocol
        self.remote = remote
        self._network = network
        self._inbox: deque[bytes] = deque()
        self._on_the_way = 0
        self._changed = asyncio.Event()
        self._message_bytes: int | None = None
        self._end: LinkClosed | None = None
        self._taken: Taken | None = None
        self.received_bytes = 0
        self.is_cut_in_message = False
        self.answers_pings = True

    @property
    def unsent_bytes(self) -> int:
        """None: what waits at the other end counts as sent."""
        return 0

    def limit(self, message_bytes: int) -> None:
        """Refuse longer messages from now on."""
        self._message_bytes = message_bytes

    async def receive(self, taken: Taken | None = None) -> bytes:
        """Return the next message; what arrived before the end is still given."""
        self._taken = taken
        try:
            while not self._inbox:
                if self._end is not None:
                    raise self._end
                await self._wait()
        finally:
            self._taken = None
        data = self._inbox.popleft()
        self.other._changed.set()
        if self._message_bytes is not None and len(data) > self._message_bytes:
            await self.close(1009, "message too big")
            raise LinkClosed(1009, "message too big", by_peer=False)
        return data

    async def send(self, data: bytes) -> None:
        """Put a message on its way."""
        while not self.send_now(data):
            if self._end is not None:
                raise self._end
            await self._wait()

    def send_now(self, *messages: bytes) -> bool:
        """Put messages on their way, unless too many are."""
        other, network = self.other, self._network
        room = network.queue_messages - other._waiting_messages
        if self._end is not None or room < len(messages):
            return False
        if self.is_cut_in_message:
            self.abort()
            return True
        if network.doubles is not None:
            messages = tuple(m for one in messages for m in (one,) * (1 + network.doubles(one)))
        for data in messages:
            if network.loss and network.random.random() < network.loss:
                continue
            if network.delay_seconds:
                other._on_the_way += 1
                network.clock.call_later(network.delay_seconds, partial(other._land, data))
            else:
                other._arrive(data)
        return True

    def ping(self, answered: Answered) -> bool:
        """Call `answered` when a message would have been there and back, however many wait."""
        if self._end is not None:
            return False
        if self.other.answers_pings:
            seconds = 2 * self._network.delay_seconds
            self._network.clock.call_later(seconds, partial(self._take_pong, answered))
        return True

    def _take_pong(self, answered: Answered) -> None:
        if self._end is None:
            answered()

    async def close(self, code: int, reason: str) -> None:
        """End both sides, telling the other once it has what was sent before."""
        self._finish(LinkClosed(code, reason, by_peer=False))
        end = LinkClosed(code, reason)
        if self._network.delay_seconds:
            self._network.clock.call_later(
                self._network.delay_seconds, lambda: self.other._finish(end)
            )
        else:
            self.other._finish(end)

    def abort(self) -> None:
        """End both sides."""
        self._finish(LinkClosed(by_peer=False))
        self.other._finish(LinkClosed())

    @property
    def _waiting_messages(self) -> int:
        return len(self._inbox) + self._on_the_way

    def _land(self, data: bytes) -> None:
        self._on_the_way -= 1
        self._arrive(data)

    def _arrive(self, data: bytes) -> None:
        if self._end is None:
            self.received_bytes += len(data)
            if self._is_taken(data):
                # There is room again for who waits to send.
                self.other._changed.set()
            else:
                self._inbox.append(data)
                self._changed.set()

    def _is_taken(self, data: bytes) -> bool:
        network = self._network
        fits = self._message_bytes is None or len(data) <= self._message_bytes
        if self._taken is None or self._inbox or not fits or network.is_delivering:
            return False
        # As with sockets, nobody gets an answer while he is still at what he answers.
        network.is_delivering = True
        try:
            return self._taken(data)
        finally:
            network.is_delivering = False

    def _finish(self, end: LinkClosed) -> None:
        if self._end is None:
            self._end = end
            self._network.links.discard(self)
            self._changed.set()

    async def _wait(self) -> None:
        # Reader and writer of one end share the event; each checks its own condition again.
        self._changed.clear()
        await self._changed.wait()
