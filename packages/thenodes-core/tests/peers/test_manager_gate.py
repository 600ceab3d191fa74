"""Managers of nodes with keys, and the gate that decides whom they admit."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from thenodes_core.address import Address, parse_address
from thenodes_core.clock import ManualClock, settle
from thenodes_core.events.counters import Counters
from thenodes_core.events.dispatcher import Dispatcher
from thenodes_core.limits import Limits
from thenodes_core.peers.manager import PeerManager, Served
from thenodes_core.protocol.close import CloseCode, Ending
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.handshake import Judge, LocalNode, Role
from thenodes_core.security.identity import Identity
from thenodes_core.transport.base import Link
from thenodes_core.transport.memory import MemoryNetwork
from thenodes_plugin_api import Hello, Message, PeerJoined, PeerLeft, Realm, Verified

A, B, C = (Identity(ec.derive_private_key(n, ec.SECP256R1())) for n in (5, 6, 7))


class Recorder:
    """A gate and a judge that remember what they are asked, and may refuse one question."""

    certificate_digests: frozenset[bytes] = frozenset()

    def __init__(self) -> None:
        self.public_hosts: tuple[str, ...] = ()
        self.refuses = ""
        self.asked: list[str] = []
        self.judged: list[tuple[Role, Address | None]] = []

    def judge(self, role: Role, remote: str, dialled: Address | None) -> Judge:
        assert remote
        self.judged.append((role, dialled))
        return self

    def _ask(self, question: str) -> Ending | None:
        self.asked.append(question)
        if question != self.refuses:
            return None
        return Ending.here(CloseCode.IDENTITY, f"the judge {question} nobody")

    def knows(self, hello: Hello) -> Ending | None:
        return self._ask("knows")

    def reads(self, hello: Hello) -> Ending | None:
        return self._ask("reads")

    def admits(self, hello: Hello) -> Ending | None:
        return self._ask("admits")

    def met(self, hello: Hello) -> Ending | None:
        return self._ask("met")


class Side:
    """A manager with a key and a gate of its own."""

    def __init__(
        self, identity: Identity, network: MemoryNetwork, clock: ManualClock, limits: Limits
    ) -> None:
        self.identity = identity
        self.network = network
        self.gate = Recorder()
        self.changes: list[PeerJoined | PeerLeft] = []
        self.counters = Counters()
        self.tasks: list[asyncio.Task[Served]] = []
        self.port = 0
        codec = BinaryCodec(limits)
        self.manager = PeerManager(
            LocalNode(
                node_id=identity.node_id,
                realm=Realm(),
                instance=identity.public_key[-16:],
                public_key=identity.public_key,
                sign=identity.sign,
            ),
            {codec.subprotocol: codec},
            self,
            Dispatcher(self.counters),
            self.counters,
            limits=limits,
            clock=clock,
            random_bytes=random.Random(identity.node_id).randbytes,
            gate=self.gate,
        )

    async def listen(self) -> None:
        self.port = (await self.network.listen("127.0.0.1", 0, self._accept, print)).port

    async def dial(self, other: Side, *, expected_id: str | None = None) -> Served | None:
        """Dial, and wait for what is soon done: None while the session goes on."""
        address = parse_address(f"127.0.0.1:{other.port}")
        link = await self.network.dial(address.url)
        serving = self.manager.serve(link, Role.DIALER, dialled=address, expected_id=expected_id)
        task = asyncio.get_running_loop().create_task(serving)
        self.tasks.append(task)
        await settle()
        return task.result() if task.done() else None

    async def _accept(self, link: Link) -> None:
        task = asyncio.get_running_loop().create_task(self.manager.serve(link, Role.ACCEPTOR))
        self.tasks.append(task)
        await asyncio.wait([task])

    def deliver(self, messages: Sequence[Message]) -> bool:
        return False

    def peer_changed(self, event: PeerJoined | PeerLeft) -> None:
        self.changes.append(event)

    @property
    def peers(self) -> list[str]:
        return [peer.node_id for peer in self.manager.all()]


MakeSide = Callable[..., Side]


@pytest.fixture
async def make_side(clock: ManualClock) -> AsyncIterator[MakeSide]:
    """Makes managers on one network: `make_side(identity)`; each is ended with the test."""
    network = MemoryNetwork(clock=clock)
    sides: list[Side] = []

    def make(identity: Identity, limits: Limits | None = None) -> Side:
        sides.append(Side(identity, network, clock, limits or Limits()))
        return sides[-1]

    yield make
    tasks = [task for side in sides for task in side.tasks]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def pair(make_side: MakeSide) -> tuple[Side, Side]:
    """`a`, which dials in the tests, and `b`, which listens."""
    one, other = make_side(A), make_side(B)
    await other.listen()
    return one, other


async def test_nodes_with_keys_see_each_other_verified(pair: tuple[Side, Side]) -> None:
    one, other = pair

    assert await one.dial(other) is None

    for side, peer in ((one, B), (other, A)):
        (info,) = side.manager.all()
        assert (info.node_id, info.fingerprint) == (peer.node_id, peer.fingerprint)
        assert info.verified is Verified.SESSION


async def test_the_gate_is_told_which_side_this_is_and_what_was_dialled(
    pair: tuple[Side, Side],
) -> None:
    one, other = pair

    await one.dial(other)

    assert one.gate.judged == [(Role.DIALER, parse_address(f"127.0.0.1:{other.port}"))]
    assert other.gate.judged == [(Role.ACCEPTOR, None)]
    assert one.gate.asked == other.gate.asked == ["knows", "reads", "admits", "met"]


@pytest.mark.parametrize("question", ["knows", "reads", "admits", "met"])
async def test_no_plugin_hears_of_whom_the_gate_refuses(
    pair: tuple[Side, Side], question: str
) -> None:
    one, other = pair
    other.gate.refuses = question

    served = await one.dial(other)

    assert served is not None
    assert (served.ending.code, served.ending.by_peer) == (CloseCode.IDENTITY, True)
    assert served.ending.detail == f"the judge {question} nobody"
    assert (one.changes, other.changes) == ([], [])
    assert "met" not in one.gate.asked
    assert other.counters.get("sessions_refused", reason="identity") == 1


@pytest.mark.parametrize("question", ["knows", "reads", "admits", "met"])
async def test_a_dialling_side_has_a_gate_too(pair: tuple[Side, Side], question: str) -> None:
    one, other = pair
    one.gate.refuses = question

    served = await one.dial(other)

    assert served is not None
    assert (served.ending.code, served.ending.by_peer) == (CloseCode.IDENTITY, False)
    assert (one.peers, other.peers, one.changes) == ([], [], [])


async def test_the_gate_has_no_last_word_on_a_session_that_is_one_too_many(
    make_side: MakeSide,
) -> None:
    full, first, second = make_side(B, Limits(max_sessions=1)), make_side(A), make_side(C)
    await full.listen()
    await first.dial(full)

    served = await second.dial(full)

    assert served is not None
    assert served.ending.code == CloseCode.OVERLOADED
    assert full.gate.asked == ["knows", "reads", "admits", "met", "knows", "reads", "admits"]


async def test_whom_the_address_names_is_dialled_and_nobody_else(pair: tuple[Side, Side]) -> None:
    one, other = pair

    served = await one.dial(other, expected_id=A.node_id[::-1])
    again = await one.dial(other, expected_id=B.node_id)

    assert served is not None
    assert (served.ending.code, served.ending.by_peer) == (CloseCode.IDENTITY, False)
    assert again is None
    assert one.peers == [B.node_id]


async def test_an_acceptor_behind_a_proxy_is_not_dialled_without_one(
    pair: tuple[Side, Side],
) -> None:
    one, other = pair
    other.gate.public_hosts = ("node.example.org",)

    served = await one.dial(other)

    assert served is not None
    assert served.ending.code == CloseCode.IDENTITY
    assert "bound to plain as this side sees it, got proxy" in served.ending.detail


async def test_who_is_trusted_no_longer_is_told_and_ended(pair: tuple[Side, Side]) -> None:
    one, other = pair
    await one.dial(other)
    other.gate.refuses = "admits"

    other.manager.judge_again()
    await settle()

    served = one.tasks[0].result()
    assert (served.ending.code, served.ending.by_peer) == (CloseCode.IDENTITY, True)
    assert served.ending.detail == "the judge admits nobody"
    assert (one.peers, other.peers) == ([], [])


async def test_who_is_still_trusted_stays(pair: tuple[Side, Side]) -> None:
    one, other = pair
    await one.dial(other)

    other.manager.judge_again()
    await settle()

    assert (one.peers, other.peers) == ([B.node_id], [A.node_id])
    assert other.gate.asked == ["knows", "reads", "admits", "met", "admits"]


async def test_a_renewed_certificate_and_card_are_shown_from_then_on(
    pair: tuple[Side, Side],
) -> None:
    one, other = pair
    one.manager.show(b"certificate", b"card")

    await one.dial(other)

    hello = other.manager._sessions[A.node_id].hello
    assert (hello.certificate, hello.card) == (b"certificate", b"card")
