"""What services get of sessions: RELAY_FWD frames, kinds of their own, comings and goings."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence

import pytest

from thenodes_core.clock import ManualClock, settle
from thenodes_core.events.counters import Counters
from thenodes_core.events.dispatcher import Dispatcher
from thenodes_core.limits import Limits
from thenodes_core.peers.manager import PeerManager, Served
from thenodes_core.protocol.codec import Codec
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.codec_json import JsonCodec
from thenodes_core.protocol.forward import pack_forward
from thenodes_core.protocol.handshake import LocalNode, Role
from thenodes_core.transport.base import Link
from thenodes_core.transport.memory import MemoryNetwork
from thenodes_plugin_api import (
    ForwardHeader,
    Frame,
    Message,
    PayloadForm,
    PeerJoined,
    PeerLeft,
    Realm,
    Reason,
    ServiceSession,
)

LIMITS = Limits()


class Side:
    """A node's sessions with a service that remembers what it is told."""

    def __init__(self, node_id: str, network: MemoryNetwork) -> None:
        self.network = network
        self.plugin_messages: list[Message] = []
        self.frames: list[tuple[str, list[Frame]]] = []
        self.life: list[tuple[str, ServiceSession]] = []
        self.counters = Counters()
        self.tasks: set[asyncio.Task[Served]] = set()
        self.port = 0
        self.make(node_id, b"first")

    def make(self, node_id: str, instance: bytes) -> None:
        """Be a process of that node."""
        codecs: list[Codec] = [BinaryCodec(LIMITS), JsonCodec(LIMITS)]
        self.manager = PeerManager(
            LocalNode(node_id=node_id, realm=Realm(), instance=instance, require_identity=False),
            {codec.subprotocol: codec for codec in codecs},
            self,
            Dispatcher(self.counters),
            self.counters,
            limits=LIMITS,
            clock=self.network.clock,
            random_bytes=random.Random(0).randbytes,
        )

    def serve(self) -> None:
        self.manager.serve_frames(self._take_frames)
        self.manager.on_session(self._joined, self._left)

    async def listen(self) -> None:
        listener = await self.network.listen("127.0.0.1", 0, self._accept, print)
        self.port = listener.port

    async def dial(self, other: Side) -> None:
        link = await self.network.dial(f"ws://127.0.0.1:{other.port}")
        self._carry(link, Role.DIALER)
        await settle()

    def session(self, node_id: str) -> ServiceSession:
        session = self.manager.service_session(node_id)
        assert session is not None
        return session

    def deliver(self, messages: Sequence[Message]) -> bool:
        self.plugin_messages += messages
        return False

    def peer_changed(self, event: PeerJoined | PeerLeft) -> None:
        pass

    def _take_frames(self, session: ServiceSession, frames: Sequence[Frame]) -> None:
        self.frames.append((session.peer.node_id, list(frames)))

    def _joined(self, session: ServiceSession) -> None:
        self.life.append(("joined", session))

    def _left(self, session: ServiceSession, reason: Reason) -> None:
        self.life.append((reason.value, session))

    async def _accept(self, link: Link) -> None:
        await asyncio.wait([self._carry(link, Role.ACCEPTOR)])

    def _carry(self, link: Link, role: Role) -> asyncio.Task[Served]:
        task = asyncio.get_running_loop().create_task(self.manager.serve(link, role))
        self.tasks.add(task)
        return task


def forward(to: str, sender: str, body: bytes = b"sealed", *, sequence: int = 1) -> bytes:
    header = ForwardHeader(None, None, None, to, sender, sequence, "high_throughput")
    return pack_forward(header, PayloadForm.SEALED, body, LIMITS)


@pytest.fixture
def network() -> MemoryNetwork:
    return MemoryNetwork(clock=ManualClock())


@pytest.fixture
async def sides(network: MemoryNetwork) -> AsyncIterator[tuple[Side, Side, Side]]:
    """A relay, and two nodes that are connected with it."""
    relay, alice, bob = Side("relay", network), Side("alice", network), Side("bob", network)
    for side in (relay, alice, bob):
        side.serve()
    await relay.listen()
    await alice.dial(relay)
    await bob.dial(relay)
    yield relay, alice, bob
    tasks = [task for side in (relay, alice, bob) for task in side.tasks]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_frame_goes_through_a_relays_handler_to_another_session(
    sides: tuple[Side, Side, Side],
) -> None:
    relay, alice, bob = sides
    frame = forward("bob", "alice")

    assert alice.session("relay").offer([frame]) == 1
    await settle()
    ((sender, (taken,)),) = relay.frames
    assert (sender, taken.header.to, taken.header.sender) == ("alice", "bob", "alice")

    assert relay.session("bob").offer([taken.data]) == 1
    await settle()
    assert bob.frames == [("relay", [taken])]
    assert taken.data == frame
    assert relay.counters.get("messages_received") == bob.counters.get("messages_received") == 1
