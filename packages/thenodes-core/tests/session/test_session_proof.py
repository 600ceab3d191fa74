"""Sessions of nodes with keys: what they prove, and what comes right behind a proof."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from thenodes_core.clock import ManualClock, settle
from thenodes_core.errors import LinkClosed
from thenodes_core.limits import Limits
from thenodes_core.protocol.close import CloseCode, Ending
from thenodes_core.protocol.codec import Codec
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.codec_json import JsonCodec
from thenodes_core.protocol.frame import make_head, pack
from thenodes_core.protocol.handshake import ANYBODY, Handshake, Judge, LocalNode, Role
from thenodes_core.protocol.proof import Channel, dialled_bindings
from thenodes_core.security.identity import Identity
from thenodes_core.session.session import Session
from thenodes_core.transport.base import SUBPROTOCOLS, Link
from thenodes_core.transport.memory import MemoryNetwork
from thenodes_plugin_api import (
    Auth,
    Body,
    Disconnect,
    Extension,
    Heartbeat,
    Hello,
    Message,
    Payload,
    Realm,
    Text,
    Verified,
)

A = Identity(ec.derive_private_key(5, ec.SECP256R1()))
D = Identity(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)))
BINARY, JSON = SUBPROTOCOLS
LIMITS = Limits()


def node(identity: Identity) -> LocalNode:
    return LocalNode(
        node_id=identity.node_id,
        realm=Realm("Home", "home", "1"),
        instance=bytes(16),
        public_key=identity.public_key,
        sign=identity.sign,
    )


class Recorder:
    """Keeps what a session hands on."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def deliver(self, session: Session, messages: Sequence[Message]) -> bool:
        self.messages += messages
        return False

    def control(self, session: Session, message: Message) -> None:
        raise AssertionError(message)

    def unknown_kinds(self, session: Session, kind: str, count: int, *, first: bool) -> None:
        raise AssertionError(kind)


class LastWord:
    """A judge that refuses at the very end."""

    def knows(self, hello: Hello) -> Ending | None:
        return None

    def reads(self, hello: Hello) -> Ending | None:
        return None

    def admits(self, hello: Hello) -> Ending | None:
        return None

    def met(self, hello: Hello) -> Ending | None:
        return Ending.here(CloseCode.IDENTITY, "met enough")


class Bench:
    """Two ends of one link, and handshakes and sessions on them."""

    def __init__(self, near: Link, far: Link, subprotocol: str, clock: ManualClock) -> None:
        self.near = near
        self.far = far
        self.clock = clock
        self.codec: Codec = (BinaryCodec if subprotocol == BINARY else JsonCodec)(LIMITS)
        self.tasks: list[asyncio.Task[Ending]] = []

    def handshake(self, role: Role, local: LocalNode, judge: Judge = ANYBODY) -> Handshake:
        channel = Channel(self.codec.subprotocol, dialled_bindings(encrypted=False))
        nonce = role.value.encode().ljust(32)
        return Handshake(role, local, nonce, channel, self.encode, judge=judge)

    def session(self, role: Role, local: LocalNode, judge: Judge = ANYBODY) -> Session:
        link = self.near if role is Role.DIALER else self.far
        handshake = self.handshake(role, local, judge)
        return Session(link, role, handshake, self.codec, limits=LIMITS, clock=self.clock)

    def run(self, session: Session, receiver: Recorder) -> asyncio.Task[Ending]:
        task = asyncio.get_running_loop().create_task(session.run(receiver))
        self.tasks.append(task)
        return task

    async def dialling(self) -> tuple[asyncio.Task[Ending | None], Session, Handshake]:
        """A session that dialled; the test speaks for the acceptor, whose HELLO is sent."""
        session, acceptor = (
            self.session(Role.DIALER, node(D)),
            self.handshake(Role.ACCEPTOR, node(A)),
        )
        establishing = asyncio.ensure_future(session.establish())
        for data in acceptor.open():
            await self.far.send(data)
        for _ in ("HELLO", "AUTH"):
            self.tell(acceptor, await self.far.receive())
        return establishing, session, acceptor

    async def accepting(
        self, judge: Judge = ANYBODY
    ) -> tuple[asyncio.Task[Ending | None], Session, list[bytes], Handshake]:
        """A session that waits for HELLO; the test speaks for the dialling side.

        Its HELLO and AUTH are returned and not sent.
        """
        session, dialler = (
            self.session(Role.ACCEPTOR, node(A), judge),
            self.handshake(Role.DIALER, node(D)),
        )
        establishing = asyncio.ensure_future(session.establish())
        dialler.open()
        return establishing, session, self.tell(dialler, await self.near.receive()), dialler

    def tell(self, handshake: Handshake, data: bytes) -> list[bytes]:
        (message,) = self.codec.decode(data)
        assert isinstance(message, Message)
        return handshake.receive(message.body, data)

    def encode(self, body: Body) -> bytes:
        return self.codec.encode(Message(body))


@pytest.fixture
async def benches() -> AsyncIterator[list[Bench]]:
    made: list[Bench] = []
    yield made
    tasks = [task for bench in made for task in bench.tasks]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def make_bench(benches: list[Bench], subprotocol: str = BINARY) -> Bench:
    clock = ManualClock()
    network = MemoryNetwork(clock=clock, subprotocol=subprotocol)
    accepted: asyncio.Future[Link] = asyncio.get_running_loop().create_future()

    async def accept(link: Link) -> None:
        accepted.set_result(link)
        await asyncio.Event().wait()

    listener = await network.listen("127.0.0.1", 0, accept, lambda *_: None)
    near = await network.dial(f"ws://127.0.0.1:{listener.port}")
    benches.append(Bench(near, await accepted, subprotocol, clock))
    return benches[-1]


@pytest.mark.parametrize("subprotocol", SUBPROTOCOLS)
async def test_two_sessions_of_nodes_with_keys_prove_them_in_both_encodings(
    benches: list[Bench], subprotocol: str
) -> None:
    bench = await make_bench(benches, subprotocol)
    dialling = bench.session(Role.DIALER, node(D))
    accepting = bench.session(Role.ACCEPTOR, node(A))
    at_d, at_a = Recorder(), Recorder()
    waiting = asyncio.ensure_future(dialling.establish())

    assert await accepting.establish() is None
    await settle()
    proven_one_way = (accepting.verified, waiting.done())
    bench.run(accepting, at_a)
    assert await waiting is None
    bench.run(dialling, at_d)
    question = bench.codec.encode(Message(Extension("k"), Payload.text("?"), "forged", "*"))
    await dialling.send(question, timeout_seconds=1)
    await accepting.send(bench.encode(Text("!")), timeout_seconds=1)
    await settle()

    assert proven_one_way == (Verified.SESSION, False)
    assert (dialling.verified, dialling.info.verified) == (Verified.SESSION, Verified.SESSION)
    assert accepting.info.verified is Verified.SESSION
    assert (dialling.info.fingerprint, accepting.info.fingerprint) == (A.fingerprint, D.fingerprint)
    asked = Message(Extension("k"), Payload.text("?"), sender=D.node_id, verified=Verified.SESSION)
    assert at_a.messages == [asked]
    assert at_d.messages == [Message(Text("!"), sender=A.node_id, verified=Verified.SESSION)]


async def test_an_acceptor_proves_itself_only_once_its_session_runs(benches: list[Bench]) -> None:
    bench = await make_bench(benches)
    establishing, session, (hello, auth), dialler = await bench.accepting()
    await bench.near.send(hello)
    await bench.near.send(auth)
    assert await establishing is None
    listening = asyncio.ensure_future(bench.near.receive())
    await settle()
    early = listening.done()

    bench.run(session, Recorder())
    bench.tell(dialler, await listening)

    assert not early
    assert dialler.verified is Verified.SESSION


async def test_an_acceptors_first_message_is_its_proof_whatever_is_queued(
    benches: list[Bench],
) -> None:
    bench = await make_bench(benches)
    establishing, session, (hello, auth), dialler = await bench.accepting()
    await bench.near.send(hello)
    await bench.near.send(auth)
    assert await establishing is None
    session.outbox.offer(bench.encode(Text("early")))
    session.control(Heartbeat())

    bench.run(session, Recorder())

    bench.tell(dialler, await bench.near.receive())
    assert dialler.is_established
    assert await bench.near.receive() == bench.encode(Heartbeat()) + bench.encode(Text("early"))


async def test_whom_the_judge_refuses_at_the_end_gets_no_proof(benches: list[Bench]) -> None:
    bench = await make_bench(benches)
    establishing, session, (hello, auth), _ = await bench.accepting(LastWord())
    await bench.near.send(hello)
    await bench.near.send(auth)
    assert await establishing is None

    ending = session.admit()
    assert ending is not None
    await session.refuse(ending)

    (told,) = bench.codec.decode(await bench.near.receive())
    assert isinstance(told.body, Disconnect)
    assert told.body.detail == "met enough"
    with pytest.raises(LinkClosed, match="4002"):
        await bench.near.receive()


async def test_data_in_one_message_with_the_acceptors_proof_is_delivered(
    benches: list[Bench],
) -> None:
    bench = await make_bench(benches)
    establishing, session, acceptor = await bench.dialling()
    received = Recorder()

    await bench.far.send(
        acceptor.confirmation() + bench.encode(Text("1")) + bench.encode(Text("2"))
    )
    assert await establishing is None
    bench.run(session, received)
    await bench.far.send(bench.encode(Text("3")))
    await settle()

    assert received.messages == [
        Message(Text(text), sender=A.node_id, verified=Verified.SESSION) for text in "123"
    ]


async def test_data_in_one_message_with_the_dialling_sides_proof_is_delivered(
    benches: list[Bench],
) -> None:
    bench = await make_bench(benches)
    establishing, session, (hello, auth), _ = await bench.accepting()
    received = Recorder()

    await bench.near.send(hello)
    await bench.near.send(auth + bench.encode(Text("1")))
    assert await establishing is None
    bench.run(session, received)
    await settle()

    assert received.messages == [
        Message(Text("1"), sender=D.node_id, verified=Verified.SESSION),
    ]


async def test_a_long_message_right_behind_a_proof_is_delivered(benches: list[Bench]) -> None:
    bench = await make_bench(benches)
    establishing, session, acceptor = await bench.dialling()
    received = Recorder()
    long = Message(Extension("k"), Payload.binary(bytes(200_000)))

    await bench.far.send(acceptor.confirmation())
    await bench.far.send(bench.codec.encode(long))
    assert await establishing is None
    bench.run(session, received)
    await settle()

    assert [message.payload for message in received.messages] == [long.payload]


async def test_data_before_the_proof_is_refused(benches: list[Bench]) -> None:
    bench = await make_bench(benches)
    establishing, _, (hello, auth), _ = await bench.accepting()

    await bench.near.send(hello)
    await bench.near.send(bench.encode(Text("1")) + auth)

    ending = await establishing
    assert ending is not None
    assert (ending.code, ending.by_peer) == (CloseCode.PROTOCOL, False)


UNKNOWN = pack(make_head(99, 0, b""), b"")


@pytest.mark.parametrize("before", [True, False], ids=["before", "behind"])
@pytest.mark.parametrize("what", ["AUTH", "DISCONNECT", "unknown"])
async def test_a_hello_that_shares_its_message_with_anything_is_refused(
    benches: list[Bench], what: str, before: bool
) -> None:
    bench = await make_bench(benches)
    establishing, _, (hello, auth), _ = await bench.accepting()
    other = {"AUTH": auth, "DISCONNECT": bench.encode(Disconnect()), "unknown": UNKNOWN}[what]

    await bench.near.send(other + hello if before else hello + other)

    ending = await establishing
    assert ending is not None
    assert (ending.code, ending.by_peer) == (CloseCode.PROTOCOL, False)


async def test_an_acceptors_hello_has_to_be_alone_too(benches: list[Bench]) -> None:
    bench = await make_bench(benches)
    session, acceptor = bench.session(Role.DIALER, node(D)), bench.handshake(Role.ACCEPTOR, node(A))
    establishing = asyncio.ensure_future(session.establish())

    (hello,) = acceptor.open()
    await bench.far.send(hello + UNKNOWN)

    ending = await establishing
    assert ending is not None
    assert (ending.code, ending.by_peer) == (CloseCode.PROTOCOL, False)


async def test_messages_of_unknown_kinds_between_hello_and_proof_are_passed_over(
    benches: list[Bench],
) -> None:
    bench = await make_bench(benches)
    establishing, session, (hello, auth), _ = await bench.accepting()

    for data in (UNKNOWN, hello, UNKNOWN, UNKNOWN + auth):
        await bench.near.send(data)

    assert await establishing is None
    assert session.verified is Verified.SESSION


@pytest.mark.parametrize("subprotocol", SUBPROTOCOLS)
async def test_a_peer_with_a_wrong_proof_is_told_so_and_nothing_of_it_is_believed(
    benches: list[Bench], subprotocol: str
) -> None:
    bench = await make_bench(benches, subprotocol)
    establishing, session, (hello, _), _ = await bench.accepting()

    await bench.near.send(hello)
    await bench.near.send(bench.encode(Auth(bytes(64))))

    (told,) = bench.codec.decode(await bench.near.receive())
    assert isinstance(told.body, Disconnect)
    assert "is not of its key and this connection" in (told.body.detail or "")
    with pytest.raises(LinkClosed, match="4002"):
        await bench.near.receive()
    ending = await establishing
    assert ending is not None
    assert (ending.code, session.verified) == (CloseCode.IDENTITY, Verified.NONE)


async def test_an_acceptor_with_a_wrong_proof_is_refused(benches: list[Bench]) -> None:
    bench = await make_bench(benches)
    establishing, session, _ = await bench.dialling()

    await bench.far.send(bench.encode(Auth(bytes(64))))

    ending = await establishing
    assert ending is not None
    assert (ending.code, ending.by_peer) == (CloseCode.IDENTITY, False)
    with pytest.raises(ValueError, match="no peer"):
        session.info  # noqa: B018  # the property is what is tested


async def test_an_acceptor_that_never_proves_itself_is_given_up(benches: list[Bench]) -> None:
    bench = await make_bench(benches)
    establishing, _, _ = await bench.dialling()

    await bench.clock.advance(LIMITS.handshake_seconds)

    ending = await establishing
    assert ending is not None
    assert ending.code == CloseCode.TIMEOUT


async def test_an_acceptors_heartbeat_is_no_proof(benches: list[Bench]) -> None:
    bench = await make_bench(benches)
    establishing, _, _ = await bench.dialling()

    await bench.far.send(bench.encode(Heartbeat()))

    ending = await establishing
    assert ending is not None
    assert ending.code == CloseCode.PROTOCOL


async def test_a_proof_in_an_established_session_ends_it(benches: list[Bench]) -> None:
    bench = await make_bench(benches)
    establishing, session, acceptor = await bench.dialling()
    proof = acceptor.confirmation()
    await bench.far.send(proof)
    assert await establishing is None
    running = bench.run(session, Recorder())

    await bench.far.send(proof)

    assert (await running).code == CloseCode.PROTOCOL
