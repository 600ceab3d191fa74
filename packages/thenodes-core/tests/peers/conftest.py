"""Managers over a network in memory, on a clock that the test moves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from thenodes_core.clock import ManualClock, settle
from thenodes_core.events.counters import Counters
from thenodes_core.events.dispatcher import Dispatcher
from thenodes_core.limits import Limits
from thenodes_core.peers.manager import PeerManager, Served
from thenodes_core.protocol.codec import Codec
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.codec_json import JsonCodec
from thenodes_core.protocol.handshake import LocalNode, Role
from thenodes_core.transport.base import Link
from thenodes_core.transport.memory import MemoryNetwork
from thenodes_plugin_api import (
    Direction,
    Event,
    Message,
    PeerJoined,
    PeerLeft,
    Realm,
)

LIMITS = Limits(frame_bytes=8192, outbox_frames=4, close_seconds=1.0)


class Side:
    """A manager that listens, dials, and remembers what it is told."""

    def __init__(
        self,
        node_id: str,
        instance: bytes,
        network: MemoryNetwork,
        clock: ManualClock,
        limits: Limits = LIMITS,
    ) -> None:
        self.network = network
        self.messages: list[Message] = []
        self.changes: list[PeerJoined | PeerLeft] = []
        self.events: list[Event] = []
        self.counters = Counters()
        self.dispatcher = Dispatcher(self.counters)
        self.tasks: set[asyncio.Task[Served]] = set()
        self.port = 0
        codecs: list[Codec] = [BinaryCodec(limits), JsonCodec(limits)]
        self.manager = PeerManager(
            LocalNode(node_id=node_id, realm=Realm(), instance=instance, require_identity=False),
            {codec.subprotocol: codec for codec in codecs},
            self,
            self.dispatcher,
            self.counters,
            limits=limits,
            clock=clock,
            random_bytes=random.Random(0).randbytes,
        )

    async def listen(self, port: int = 0) -> None:
        self.dispatcher.add_sink(self)
        listener = await self.network.listen("127.0.0.1", port, self._accept, print)
        self.port = listener.port

    async def dial(self, other: Side) -> asyncio.Task[Served]:
        link = await self.network.dial(f"ws://127.0.0.1:{other.port}")
        return self._serve(link, Role.DIALER)

    async def _accept(self, link: Link) -> None:
        await asyncio.wait([self._serve(link, Role.ACCEPTOR)])

    def _serve(self, link: Link, role: Role) -> asyncio.Task[Served]:
        task = asyncio.get_running_loop().create_task(self.manager.serve(link, role))
        self.tasks.add(task)
        return task

    def deliver(self, messages: Sequence[Message]) -> bool:
        self.messages += messages
        return False

    def peer_changed(self, event: PeerJoined | PeerLeft) -> None:
        self.changes.append(event)

    async def handle(self, event: Event) -> None:
        self.events.append(event)

    @property
    def peers(self) -> list[tuple[str, Direction]]:
        return [(peer.node_id, peer.direction) for peer in self.manager.all()]

    @property
    def open_sessions(self) -> int:
        return sum(not task.done() for task in self.tasks)

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.network.forget(self.port)
        await self.dispatcher.__aexit__(None, None, None)


MakeSide = Callable[..., Side]


@pytest.fixture
def network(clock: ManualClock) -> MemoryNetwork:
    return MemoryNetwork(clock=clock)


@pytest.fixture
async def make_side(network: MemoryNetwork, clock: ManualClock) -> AsyncIterator[MakeSide]:
    """Makes managers: `make_side("id", instance=b"…")`; each is ended with the test."""
    sides: list[Side] = []

    def make(
        node_id: str,
        instance: bytes = b"1",
        *,
        on: MemoryNetwork | None = None,
        limits: Limits = LIMITS,
    ) -> Side:
        side = Side(node_id, instance, on or network, clock, limits)
        sides.append(side)
        return side

    yield make
    for side in sides:
        await side.close()


@pytest.fixture
async def pair(make_side: MakeSide) -> tuple[Side, Side]:
    """`a`, which dialled, and `b`."""
    one, other = make_side("a"), make_side("b")
    await one.listen()
    await other.listen()
    await one.dial(other)
    await settle()
    return one, other
