"""Whatever is said in whatever order: nobody is verified without a proof.

What a proof has to be is written down here a second time, and not taken from the code.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from thenodes_core.errors import ProtocolError
from thenodes_core.limits import Limits
from thenodes_core.protocol.codec import Codec, UnknownKind
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.codec_json import JsonCodec
from thenodes_core.protocol.handshake import Handshake, LocalNode, Refused, Role, State
from thenodes_core.protocol.proof import Channel, dialled_bindings
from thenodes_core.security.identity import Identity
from thenodes_core.signatures import Purpose
from thenodes_plugin_api import (
    Auth,
    Binding,
    Body,
    Disconnect,
    Heartbeat,
    Hello,
    Message,
    Realm,
    Text,
    Verified,
)

CODECS: list[Codec] = [BinaryCodec(Limits()), JsonCodec(Limits())]
HOME = Realm("Home", "home", "1")
OWN, MALLORY = (Identity(ec.derive_private_key(n, ec.SECP256R1())) for n in (5, 6))
PEERS = [
    Identity(ec.derive_private_key(7, ec.SECP256R1())),
    Identity(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))),
]


def node(identity: Identity, *, require_identity: bool = True) -> LocalNode:
    return LocalNode(
        node_id=identity.node_id,
        realm=HOME,
        instance=bytes(16),
        public_key=identity.public_key,
        sign=identity.sign,
        require_identity=require_identity,
    )


def is_proven(role: Role, hello: Hello, data: bytes, own: bytes, auth: Auth, name: str) -> bool:
    """Whether a proof is what the protocol's document says that it has to be.

    Args:
        role: the peer's.
        hello: the peer's.
        data: the peer's HELLO, as it came.
        own: the HELLO of the side that is tested, as sent.
        auth: what the peer says is its proof.
        name: of the subprotocol.
    """
    hellos = [data, own] if role is Role.ACCEPTOR else [own, data]
    digests = [hashlib.sha256(each).digest() for each in hellos]
    content = msgspec.msgpack.encode([role.value, name, "plain", b"", *digests])
    prefix = f"thenodes/v1/handshake-{role.value}".encode()
    signed = prefix + b"\0" + hashlib.sha256(content).digest()
    key = serialization.load_der_public_key(hello.public_key or b"")
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(auth.proof, signed)
        else:
            assert isinstance(key, ec.EllipticCurvePublicKey)
            halves = (int.from_bytes(auth.proof[i : i + 32], "big") for i in (0, 32))
            key.verify(encode_dss_signature(*halves), signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


class Scene:
    """The side that is tested, an honest peer of it, and somebody in between.

    Args:
        role: of the side that is tested.
        codec: of the connection.
        peer: the honest peer.
        require_identity: whether keys are required.
    """

    def __init__(
        self, role: Role, codec: Codec, peer: Identity, *, require_identity: bool = True
    ) -> None:
        self.role = role
        self.codec = codec
        self.require_identity = require_identity
        self.tested = self._handshake(role, node(OWN, require_identity=require_identity), b"t")
        self.honest = self._handshake(role.other, node(peer), b"h")
        # What the honest peer has said and nobody passed on yet.
        self.pending = deque(self.honest.open())
        # What both have said before, in another session.
        self.past = record(role, codec, peer)
        self.own = b""
        self.taken: list[tuple[Body, bytes]] = []
        self._tell(self.tested.open())

    def _handshake(self, role: Role, local: LocalNode, nonce: bytes) -> Handshake:
        channel = Channel(self.codec.subprotocol, dialled_bindings(encrypted=False))
        return Handshake(role, local, nonce * 32, channel, self.encode)

    def encode(self, body: Body) -> bytes:
        return self.codec.encode(Message(body))

    def give(self, data: bytes) -> None:
        """Let the tested side have a message, as a session would."""
        try:
            messages = self.codec.decode(data)
        except ProtocolError:
            return
        if len(messages) != 1 or isinstance(messages[0], UnknownKind):
            return
        body = messages[0].body
        if isinstance(body, Disconnect):
            return
        try:
            answer = self.tested.receive(body, data)
        except Refused:
            assert self.tested.state is State.REFUSED
            return
        self.taken.append((body, data))
        self._tell(answer)

    def _tell(self, messages: list[bytes]) -> None:
        """Let the honest peer have what the tested side says."""
        for data in messages:
            (message,) = self.codec.decode(data)
            assert isinstance(message, Message)
            if isinstance(message.body, Hello):
                self.own = data
            try:
                self.pending += self.honest.receive(message.body, data)
            except Refused:
                continue
            if self.honest.is_established and self.role is Role.DIALER:
                self.pending.append(self.honest.confirmation())

    def check(self) -> None:
        """What has to be true at any time."""
        tested = self.tested
        if tested.verified is Verified.NONE:
            if tested.is_established:
                (hello, _) = self.taken[-1]
                assert len(self.taken) == 1
                assert isinstance(hello, Hello)
                assert hello.public_key is None
                assert not self.require_identity
            return
        (hello, data), (auth, _) = self.taken
        assert isinstance(hello, Hello)
        assert isinstance(auth, Auth)
        assert not tested.is_established or tested.peer == hello
        name = self.codec.subprotocol
        assert is_proven(self.role.other, hello, data, self.own, auth, name)


def record(role: Role, codec: Codec, peer: Identity) -> list[bytes]:
    """What the peer in the other role said in a session with the tested node."""
    channel = Channel(codec.subprotocol, dialled_bindings(encrypted=False))
    sides = {
        side: Handshake(
            side,
            node(OWN if side is role else peer),
            b"p" * 32,
            channel,
            lambda body: codec.encode(Message(body)),
        )
        for side in Role
    }
    sent: dict[Role, list[bytes]] = {side: [] for side in Role}

    def carry(side: Role, data: bytes) -> list[bytes]:
        sent[side].append(data)
        (message,) = codec.decode(data)
        assert isinstance(message, Message)
        return sides[side.other].receive(message.body, data)

    sides[Role.DIALER].open()
    (hello,) = sides[Role.ACCEPTOR].open()
    for data in carry(Role.ACCEPTOR, hello):
        carry(Role.DIALER, data)
    carry(Role.ACCEPTOR, sides[Role.ACCEPTOR].confirmation())
    assert all(handshake.is_established for handshake in sides.values())
    return sent[role.other]


Move: TypeAlias = Callable[[Scene], None]
"""Something that somebody in between does."""


def pass_on(scene: Scene) -> None:
    if scene.pending:
        scene.give(scene.pending.popleft())


def lose(scene: Scene) -> None:
    if scene.pending:
        scene.pending.popleft()


def repeat_last(scene: Scene) -> None:
    if scene.taken:
        scene.give(scene.taken[-1][1])


def flip(position: int, bit: int) -> Move:
    def move(scene: Scene) -> None:
        if scene.pending:
            data = bytearray(scene.pending.popleft())
            data[position % len(data)] ^= 1 << bit
            scene.give(bytes(data))

    return move


def edit(fields: dict[str, object]) -> Move:
    def move(scene: Scene) -> None:
        if scene.pending:
            (message,) = scene.codec.decode(scene.pending[0])
            if isinstance(message.body, Hello):
                scene.pending.popleft()
                scene.give(scene.encode(msgspec.structs.replace(message.body, **fields)))

    return move


def replay(number: int) -> Move:
    return lambda scene: scene.give(scene.past[number])


def say(body: Body) -> Move:
    return lambda scene: scene.give(scene.encode(body))


def say_bytes(data: bytes) -> Move:
    return lambda scene: scene.give(data)


def prove_as(identity: Identity, purpose: Purpose) -> Move:
    """Sign what the tested side would have to be shown, with a key that one has."""

    def move(scene: Scene) -> None:
        hellos = [data for body, data in scene.taken if isinstance(body, Hello)][:1]
        parts = [*hellos, scene.own] if scene.role is Role.DIALER else [scene.own, *hellos]
        digests = [hashlib.sha256(part).digest() for part in parts]
        name = scene.codec.subprotocol
        content = [scene.role.other.value, name, "plain", b"", *digests]
        scene.give(scene.encode(Auth(identity.sign(purpose, msgspec.msgpack.encode(content)))))

    return move


KEYLESS = Hello("chosen", protocol="TheNodes", version="1", realm=HOME)
MALLORYS: Hello = msgspec.structs.replace(node(MALLORY).hello(b"m" * 32), binding=Binding("plain"))
edits = st.fixed_dictionaries(
    {},
    optional={
        "node_id": st.sampled_from([OWN.node_id, MALLORY.node_id, "a" * 32, "chosen"]),
        "public_key": st.sampled_from([None, b"", MALLORY.public_key, OWN.public_key]),
        "nonce": st.sampled_from([None, b"", bytes(32)]),
        "binding": st.sampled_from(
            [None, Binding("plain"), Binding("plain", b"x"), Binding("tls")]
        ),
        "capabilities": st.just(("relay",)),
        "realm": st.sampled_from([None, HOME, Realm("Other", "other")]),
        "version": st.sampled_from([None, "1", "2"]),
    },
)
mallorys = edits.map(lambda fields: msgspec.structs.replace(MALLORYS, **fields))
bodies: st.SearchStrategy[Body] = st.one_of(
    st.builds(Auth, st.binary(max_size=70)),
    st.builds(Text, st.text(max_size=4)),
    st.sampled_from([Heartbeat(), Disconnect()]),
)
moves: st.SearchStrategy[Move] = st.one_of(
    st.just(pass_on),
    st.sampled_from([lose, repeat_last]),
    st.just(say(KEYLESS)),
    st.builds(edit, edits),
    st.builds(flip, st.integers(0, 2000), st.integers(0, 7)),
    st.builds(replay, st.sampled_from([0, 1])),
    st.builds(say, mallorys),
    st.builds(say, bodies),
    st.builds(
        prove_as,
        st.sampled_from([MALLORY, *PEERS]),
        st.sampled_from([*Purpose]),
    ),
    st.builds(say_bytes, st.binary(max_size=40)),
)


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(Role),
    st.sampled_from(CODECS),
    st.sampled_from(PEERS),
    st.booleans(),
    st.lists(moves, max_size=8),
)
def test_nobody_is_verified_without_a_proof(
    role: Role, codec: Codec, peer: Identity, require_identity: bool, sequence: list[Move]
) -> None:
    scene = Scene(role, codec, peer, require_identity=require_identity)

    for move in sequence:
        move(scene)
        scene.check()


@settings(deadline=None, max_examples=100)
@given(
    st.sampled_from(Role),
    st.sampled_from(CODECS),
    st.sampled_from(PEERS),
    st.integers(0, 5000),
    st.integers(0, 7),
)
def test_no_bit_of_a_hello_can_be_changed_unnoticed(
    role: Role, codec: Codec, peer: Identity, position: int, bit: int
) -> None:
    scene = Scene(role, codec, peer)

    flip(position, bit)(scene)
    pass_on(scene)

    assert not scene.tested.is_established
    assert scene.tested.verified is Verified.NONE


@settings(deadline=None)
@given(st.sampled_from(Role), st.sampled_from(CODECS), st.sampled_from(PEERS))
def test_a_handshake_that_nobody_disturbs_is_verified(
    role: Role, codec: Codec, peer: Identity
) -> None:
    scene = Scene(role, codec, peer)

    for _ in range(2):
        pass_on(scene)

    scene.check()
    assert scene.tested.verified is Verified.SESSION
