"""Sessions over links in memory, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from thenodes_core.clock import ManualClock
from thenodes_core.errors import LinkClosed
from thenodes_core.limits import Limits
from thenodes_core.protocol.close import Ending
from thenodes_core.protocol.codec import Codec
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.codec_json import JsonCodec
from thenodes_core.protocol.frame import make_head, pack
from thenodes_core.protocol.handshake import Handshake, LocalNode, Role
from thenodes_core.protocol.proof import Channel, dialled_bindings
from thenodes_core.session.session import Session
from thenodes_core.transport.base import SUBPROTOCOLS, Link
from thenodes_core.transport.memory import MemoryNetwork
from thenodes_plugin_api import (
    Body,
    Heartbeat,
    Message,
    Payload,
    Realm,
)

HOME = Realm("Home", "home", "1")
DIALER = LocalNode(node_id="dialer", realm=HOME, instance=b"d" * 16, require_identity=False)
ACCEPTOR = LocalNode(
    node_id="acceptor",
    realm=HOME,
    instance=b"a" * 16,
    require_identity=False,
    node_type="gateway",
    capabilities=("relay",),
    listen_addr="127.0.0.1:7",
)
BINARY, JSON = SUBPROTOCOLS


class Recorder:
    """Keeps what a session hands on."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.control_messages: list[Message] = []
        self.unknown: list[tuple[str, int, bool]] = []
        self.wants_turn = False

    def deliver(self, session: Session, messages: Sequence[Message]) -> bool:
        self.messages += messages
        return self.wants_turn

    def control(self, session: Session, message: Message) -> None:
        self.control_messages.append(message)

    def unknown_kinds(self, session: Session, kind: str, count: int, *, first: bool) -> None:
        self.unknown.append((kind, count, first))


class Bench:
    """A clock, a network, and the sessions and tasks made on them."""

    def __init__(self, subprotocol: str, limits: Limits, *, queue_messages: int = 64) -> None:
        self.clock = ManualClock()
        self.limits = limits
        self.codec: Codec = (BinaryCodec if subprotocol == BINARY else JsonCodec)(limits)
        self.received = Recorder()
        self.tasks: list[asyncio.Task[Ending]] = []
        self._network = MemoryNetwork(
            clock=self.clock, subprotocol=subprotocol, queue_messages=queue_messages
        )

    async def links(self) -> tuple[Link, Link]:
        """The dialling and the accepting end of a new link."""
        accepted: asyncio.Future[Link] = asyncio.get_running_loop().create_future()

        async def accept(link: Link) -> None:
            accepted.set_result(link)
            await asyncio.Event().wait()

        listener = await self._network.listen("127.0.0.1", 0, accept, lambda *_: None)
        near = await self._network.dial(f"ws://127.0.0.1:{listener.port}")
        return near, await accepted

    def session(self, link: Link, role: Role, local: LocalNode) -> Session:
        channel = Channel(self.codec.subprotocol, dialled_bindings(encrypted=False))
        handshake = Handshake(
            role, local, bytes(32), channel, lambda body: self.codec.encode(Message(body))
        )
        return Session(link, role, handshake, self.codec, limits=self.limits, clock=self.clock)

    def run(self, session: Session, receiver: Recorder) -> asyncio.Task[Ending]:
        task = asyncio.get_running_loop().create_task(session.run(receiver))
        self.tasks.append(task)
        return task

    async def two(
        self, dialer: LocalNode = DIALER, acceptor: LocalNode = ACCEPTOR
    ) -> tuple[Session, Session, tuple[Ending | None, Ending | None]]:
        """Two sessions, dialler first, and what came of their handshake."""
        near, far = await self.links()
        dialling = self.session(near, Role.DIALER, dialer)
        accepting = self.session(far, Role.ACCEPTOR, acceptor)

        async def accept() -> Ending | None:
            ending = await accepting.establish()
            if ending is None:
                self.run(accepting, Recorder())
            return ending

        first, second = await asyncio.gather(dialling.establish(), accept())
        return dialling, accepting, (first, second)

    async def accepting(self) -> tuple[Session, asyncio.Task[Ending | None], Link]:
        """A session that waits for HELLO, and the end of the link that the test speaks on."""
        near, far = await self.links()
        session = self.session(far, Role.ACCEPTOR, ACCEPTOR)
        establishing = asyncio.ensure_future(session.establish())
        await near.receive()
        return session, establishing, near

    async def running(self) -> tuple[Session, asyncio.Task[Ending], Link]:
        """A session that runs, and the end of the link that the test speaks on."""
        session, establishing, peer = await self.accepting()
        await peer.send(self.encode(DIALER.hello(bytes(32))))
        assert await establishing is None
        running = self.run(session, self.received)
        assert await peer.receive() == self.encode(Heartbeat())
        return session, running, peer

    def encode(self, body: Body, payload: Payload | None = None) -> bytes:
        return self.codec.encode(Message(body, payload))

    async def told(self, peer: Link) -> tuple[list[Body], LinkClosed]:
        """Everything the peer gets until the link ends, and how it ends."""
        bodies: list[Body] = []
        while True:
            try:
                messages = self.codec.decode(await peer.receive())
            except LinkClosed as end:
                return bodies, end
            bodies += [message.body for message in messages if isinstance(message, Message)]

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class Benches:
    """Makes benches and clears them away."""

    def __init__(self) -> None:
        self._made: list[Bench] = []

    def __call__(
        self,
        subprotocol: str = BINARY,
        limits: Limits | None = None,
        *,
        queue_messages: int = 64,
    ) -> Bench:
        bench = Bench(subprotocol, limits or Limits(), queue_messages=queue_messages)
        self._made.append(bench)
        return bench

    async def close(self) -> None:
        for bench in self._made:
            await bench.close()


@pytest.fixture
async def make_bench() -> AsyncIterator[Benches]:
    """Makes benches of either encoding and any limits."""
    benches = Benches()
    yield benches
    await benches.close()


@pytest.fixture
async def bench(make_bench: Benches) -> Bench:
    """A bench of the binary encoding with the default limits."""
    return make_bench()


def unknown_frame(kind: int, size: int = 0) -> bytes:
    return pack(make_head(kind, 0, b""), bytes(size))
