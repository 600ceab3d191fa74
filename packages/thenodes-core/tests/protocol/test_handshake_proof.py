"""Two handshakes with keys against each other, and everybody who stands between them."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from thenodes_core.limits import Limits
from thenodes_core.protocol.close import CloseCode, Ending
from thenodes_core.protocol.codec import Codec
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.codec_json import JsonCodec
from thenodes_core.protocol.handshake import (
    Handshake,
    LocalNode,
    Refused,
    Role,
    State,
)
from thenodes_core.protocol.hello import Signer
from thenodes_core.protocol.proof import Bindings, Channel, Mode, dialled_bindings, proof_content
from thenodes_core.security.identity import Identity
from thenodes_core.signatures import Purpose
from thenodes_plugin_api import Auth, Binding, Body, Hello, Message, Realm, Verified

BINARY, JSON = BinaryCodec(Limits()), JsonCodec(Limits())
HOME = Realm("Home", "home", "1")
A, D, MALLORY = (Identity(ec.derive_private_key(n, ec.SECP256R1())) for n in (5, 6, 7))
ED = Identity(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)))
DIGEST, OTHER_DIGEST = b"\x01" * 32, b"\x02" * 32
NAME = "node.example.org"
PLAIN = dialled_bindings(encrypted=False)
TLS = dialled_bindings(encrypted=True, certificate_digest=DIGEST)
PROXY: Bindings = {Mode.PROXY: frozenset({NAME.encode()})}
VIA_PROXY = dialled_bindings(encrypted=True, certificate_digest=OTHER_DIGEST, verified_host=NAME)

Change = Callable[[bytes], bytes]


class Step(enum.Enum):
    """What travels, in this order."""

    HELLO_A = enum.auto()
    HELLO_D = enum.auto()
    AUTH_D = enum.auto()
    AUTH_A = enum.auto()


def node(identity: Identity, node_id: str | None = None, **changes: object) -> LocalNode:
    local = LocalNode(
        node_id=node_id or identity.node_id,
        realm=HOME,
        instance=bytes(16),
        public_key=identity.public_key,
        sign=identity.sign,
    )
    return msgspec.structs.replace(local, **changes)


def side(
    role: Role,
    local: LocalNode,
    *,
    bindings: Bindings = PLAIN,
    codec: Codec = BINARY,
    subprotocol: str | None = None,
    nonce: bytes | None = None,
    expected_id: str | None = None,
) -> Handshake:
    return Handshake(
        role,
        local,
        nonce or role.value.encode().ljust(32, b"."),
        Channel(subprotocol or codec.subprotocol, bindings),
        lambda body: codec.encode(Message(body)),
        expected_id=expected_id,
    )


def acceptor(local: LocalNode | None = None, **options: object) -> Handshake:
    return side(Role.ACCEPTOR, local or node(A), **options)  # type: ignore[arg-type]


def dialer(local: LocalNode | None = None, **options: object) -> Handshake:
    return side(Role.DIALER, local or node(D), **options)  # type: ignore[arg-type]


def body_of(data: bytes, codec: Codec = BINARY) -> Body:
    (message,) = codec.decode(data)
    assert isinstance(message, Message)
    return message.body


def hello_of(data: bytes, codec: Codec = BINARY) -> Hello:
    hello = body_of(data, codec)
    assert isinstance(hello, Hello)
    return hello


def encode(body: Body, codec: Codec = BINARY) -> bytes:
    return codec.encode(Message(body))


def give(handshake: Handshake, data: bytes, codec: Codec = BINARY) -> list[bytes]:
    return handshake.receive(body_of(data, codec), data)


def shake(
    accepting: Handshake,
    dialling: Handshake,
    *,
    codec: Codec = BINARY,
    changes: Mapping[Step, Change] | None = None,
) -> list[bytes]:
    """Let two handshakes run against each other; returns what was sent.

    Args:
        accepting: not opened yet.
        dialling: not opened yet.
        codec: of both.
        changes: what somebody in between makes of what is sent.

    Raises:
        Refused: by either side.
    """
    sent: list[bytes] = []

    def carry(step: Step, data: bytes, to: Handshake) -> list[bytes]:
        sent.append(data)
        return give(to, (changes or {}).get(step, bytes)(data), codec)

    dialling.open()
    (hello_a,) = accepting.open()
    hello_d, auth_d = carry(Step.HELLO_A, hello_a, dialling)
    assert carry(Step.HELLO_D, hello_d, accepting) == []
    assert carry(Step.AUTH_D, auth_d, accepting) == []
    assert carry(Step.AUTH_A, accepting.confirmation(), dialling) == []
    return sent


def refused(call: Callable[[], object], match: str) -> Ending:
    with pytest.raises(Refused, match=match) as caught:
        call()
    return caught.value.ending


def rewritten(**fields: object) -> Change:
    """What somebody in between does to a HELLO who has no key that would help."""
    return lambda data: encode(msgspec.structs.replace(hello_of(data), **fields))


def forged(hello: Hello, hello_a: bytes, identity: Identity) -> Iterable[bytes]:
    """HELLO and AUTH of a dialling side that says what it likes and proves all of it."""
    data = encode(hello)
    binding = hello.binding or Binding("plain")
    content = proof_content(Role.DIALER, BINARY.subprotocol, binding, hello_a, data)
    return data, encode(Auth(identity.sign(Purpose.HANDSHAKE_DIALER, content)))


def said(identity: Identity, **fields: object) -> Hello:
    """What a dialling side may say on a plain connection, but for `fields`."""
    hello = node(identity).hello(b"n" * 32)
    return msgspec.structs.replace(hello, **({"binding": Binding("plain", b"")} | fields))


PROOF = "the proof of .* is not of its key and this connection"

# Proofs that are right


@pytest.mark.parametrize("codec", [BINARY, JSON], ids=["binary", "json"])
@pytest.mark.parametrize(
    ("accepted", "dialled"),
    [(PLAIN, PLAIN), (TLS, TLS), (PROXY, VIA_PROXY)],
    ids=["plain", "tls", "proxy"],
)
@pytest.mark.parametrize(("one", "other"), [(A, D), (A, ED), (ED, D)], ids=["P", "PE", "EP"])
def test_two_nodes_prove_their_keys_to_each_other(
    codec: Codec, accepted: Bindings, dialled: Bindings, one: Identity, other: Identity
) -> None:
    accepting = acceptor(node(one), bindings=accepted, codec=codec)
    dialling = dialer(node(other), bindings=dialled, codec=codec)

    shake(accepting, dialling, codec=codec)

    assert accepting.is_established
    assert dialling.is_established
    assert (accepting.verified, dialling.verified) == (Verified.SESSION, Verified.SESSION)
    assert (accepting.peer.public_key, dialling.peer.public_key) == (
        other.public_key,
        one.public_key,
    )


def test_neither_side_is_established_before_the_others_proof() -> None:
    accepting, dialling = acceptor(), dialer()
    dialling.open()
    (hello_a,) = accepting.open()

    hello_d, _ = give(dialling, hello_a)
    give(accepting, hello_d)

    for handshake in (accepting, dialling):
        assert handshake.state is State.EXPECT_AUTH
        assert handshake.verified is Verified.NONE


def test_the_dialling_sides_hello_repeats_the_mode_and_names_its_value() -> None:
    hello_a, hello_d, *_ = shake(acceptor(bindings=TLS), dialer(bindings=TLS))

    assert hello_of(hello_a).binding == Binding("tls")
    assert hello_of(hello_d).binding == Binding("tls", DIGEST)


def test_an_acceptor_takes_the_certificate_that_it_showed_before_renewal_too() -> None:
    renewed: Bindings = {Mode.TLS: frozenset({DIGEST, OTHER_DIGEST})}

    shake(acceptor(bindings=renewed), dialer(bindings=TLS))


def test_what_is_forged_below_would_be_taken_if_it_said_nothing_wrong() -> None:
    accepting = acceptor()
    (hello_a,) = accepting.open()

    for data in forged(said(MALLORY), hello_a, MALLORY):
        give(accepting, data)

    assert accepting.peer.node_id == MALLORY.node_id


# Proofs of somebody or something else


def test_a_dialling_side_that_has_not_the_key_is_refused() -> None:
    accepting, impostor = acceptor(), dialer(node(D, sign=MALLORY.sign))

    ending = refused(lambda: shake(accepting, impostor), PROOF)

    assert ending.code == CloseCode.IDENTITY
    assert (accepting.state, accepting.verified) == (State.REFUSED, Verified.NONE)


def test_an_accepting_side_that_has_not_the_key_is_refused() -> None:
    impostor, dialling = acceptor(node(A, sign=MALLORY.sign)), dialer()

    ending = refused(lambda: shake(impostor, dialling), PROOF)

    assert ending.code == CloseCode.IDENTITY
    assert (dialling.state, dialling.verified) == (State.REFUSED, Verified.NONE)


def signing_as(identity: Identity, purpose: Purpose) -> Signer:
    return lambda _, content: identity.sign(purpose, content)


def signing_instead(identity: Identity, index: int, value: object) -> Signer:
    """Signs what a proof covers with one of its six elements changed."""

    def sign(purpose: Purpose, content: bytes) -> bytes:
        elements = msgspec.msgpack.decode(content)
        assert elements[index] != value
        elements[index] = value
        return identity.sign(purpose, msgspec.msgpack.encode(elements))

    return sign


@pytest.mark.parametrize(
    "purpose", [Purpose.HANDSHAKE_ACCEPTOR, Purpose.CARD, Purpose.WRAP, Purpose.PLUGIN]
)
def test_a_dialling_sides_signature_for_something_else_is_no_proof(purpose: Purpose) -> None:
    refused(lambda: shake(acceptor(), dialer(node(D, sign=signing_as(D, purpose)))), PROOF)


@pytest.mark.parametrize(
    "purpose", [Purpose.HANDSHAKE_DIALER, Purpose.CARD, Purpose.WRAP, Purpose.PLUGIN]
)
def test_an_accepting_sides_signature_for_something_else_is_no_proof(purpose: Purpose) -> None:
    refused(lambda: shake(acceptor(node(A, sign=signing_as(A, purpose))), dialer()), PROOF)


ELEMENTS: list[tuple[int, object]] = [
    (1, JSON.subprotocol),
    (2, "tls"),
    (3, b"value"),
    (4, bytes(32)),
    (5, bytes(32)),
]
NAMES = ["role", "subprotocol", "mode", "value", "hash a", "hash d"]


@pytest.mark.parametrize(("index", "value"), [(0, "acceptor"), *ELEMENTS], ids=NAMES)
def test_a_dialling_sides_proof_has_to_cover_all(index: int, value: object) -> None:
    impostor = dialer(node(D, sign=signing_instead(D, index, value)))

    refused(lambda: shake(acceptor(), impostor), PROOF)


@pytest.mark.parametrize(("index", "value"), [(0, "dialer"), *ELEMENTS], ids=NAMES)
def test_an_accepting_sides_proof_has_to_cover_all(index: int, value: object) -> None:
    impostor = acceptor(node(A, sign=signing_instead(A, index, value)))

    refused(lambda: shake(impostor, dialer()), PROOF)


def test_a_dialling_sides_own_proof_is_no_proof_of_the_other() -> None:
    accepting, dialling = acceptor(), dialer()
    dialling.open()
    (hello_a,) = accepting.open()
    _, auth_d = give(dialling, hello_a)

    refused(lambda: give(dialling, auth_d), PROOF)


@pytest.mark.parametrize("proof", [b"", b"x", bytes(64), b"\xff" * 64, bytes(65)])
def test_bytes_that_are_no_signature_are_no_proof(proof: bytes) -> None:
    refused(
        lambda: shake(acceptor(), dialer(), changes={Step.AUTH_D: lambda _: encode(Auth(proof))}),
        PROOF,
    )


def test_a_proof_counts_for_its_subprotocol_alone() -> None:
    dialling = dialer(subprotocol=JSON.subprotocol)

    refused(lambda: shake(acceptor(), dialling), PROOF)


# Replays


def test_a_session_repeated_to_an_accepting_side_is_refused() -> None:
    _, hello_d, auth_d, _ = shake(acceptor(), dialer())
    accepting = acceptor(nonce=b"another".ljust(32))
    accepting.open()
    give(accepting, hello_d)

    refused(lambda: give(accepting, auth_d), PROOF)


def test_a_session_repeated_to_a_dialling_side_is_refused() -> None:
    hello_a, _, _, auth_a = shake(acceptor(), dialer())
    dialling = dialer(nonce=b"another".ljust(32))
    dialling.open()
    give(dialling, hello_a)

    refused(lambda: give(dialling, auth_a), PROOF)


def test_a_proof_repeated_beside_a_new_hello_is_refused() -> None:
    _, _, auth_d, _ = shake(acceptor(), dialer())
    again = dialer(nonce=b"another".ljust(32))

    refused(lambda: shake(acceptor(), again, changes={Step.AUTH_D: lambda _: auth_d}), PROOF)


def test_a_hello_repeated_beside_a_new_proof_is_refused() -> None:
    _, hello_d, _, _ = shake(acceptor(), dialer())
    again = dialer(nonce=b"another".ljust(32))

    refused(lambda: shake(acceptor(), again, changes={Step.HELLO_D: lambda _: hello_d}), PROOF)


# HELLOs changed on the way

CHANGED: list[dict[str, object]] = [
    {"capabilities": ("relay",)},
    {"node_type": "admin"},
    {"listen_addr": "192.0.2.1:1"},
    {"instance": b"x" * 16},
    {"nonce": b"x" * 32},
    {"card": b"card"},
    {"certificate": b"certificate"},
    {"features": ("x",)},
    {"realm": Realm("HOME", "home", "1")},
    {"node_id": "somebody-else"},
    {"node_id": "mallory", "public_key": MALLORY.public_key},
    {"protocol": None},
]


@pytest.mark.parametrize("fields", CHANGED, ids=lambda fields: "+".join(fields))
@pytest.mark.parametrize("step", [Step.HELLO_A, Step.HELLO_D])
def test_a_hello_that_was_changed_on_the_way_is_refused(
    step: Step, fields: dict[str, object]
) -> None:
    accepting, dialling = acceptor(), dialer()

    refused(lambda: shake(accepting, dialling, changes={step: rewritten(**fields)}), PROOF)

    assert not accepting.is_established
    assert not dialling.is_established


def test_not_even_the_empty_value_of_an_offer_may_be_changed() -> None:
    changed = rewritten(binding=Binding("plain", b"\0"))

    refused(lambda: shake(acceptor(), dialer(), changes={Step.HELLO_A: changed}), PROOF)


def test_only_as_sent_is_a_hello_what_was_signed() -> None:
    """The same HELLO in other bytes is another one: JSON can be written in many ways."""
    codec = JSON

    def spaced(data: bytes) -> bytes:
        return data.replace(b'":', b'": ', 1)

    refused(
        lambda: shake(
            acceptor(codec=codec), dialer(codec=codec), codec=codec, changes={Step.HELLO_D: spaced}
        ),
        PROOF,
    )


def test_nobody_in_between_passes_the_dialling_side_off_as_itself() -> None:
    """An unknown key share: the acceptor would take D's messages for Mallory's."""
    accepting, dialling = acceptor(), dialer()
    dialling.open()
    (hello_a,) = accepting.open()
    hello_d, _ = give(dialling, hello_a)
    own = msgspec.structs.replace(
        hello_of(hello_d), node_id=MALLORY.node_id, public_key=MALLORY.public_key
    )

    for data in forged(own, hello_a, MALLORY):
        give(accepting, data)

    assert accepting.peer.node_id == MALLORY.node_id
    refused(lambda: give(dialling, accepting.confirmation()), PROOF)


def test_nobody_in_between_passes_the_accepting_side_off_as_itself() -> None:
    """An unknown key share: the dialling side would take A's messages for Mallory's."""
    accepting, dialling = acceptor(), dialer()
    swapped = rewritten(node_id=MALLORY.node_id, public_key=MALLORY.public_key)

    refused(lambda: shake(accepting, dialling, changes={Step.HELLO_A: swapped}), PROOF)

    assert not accepting.is_established
    assert dialling.state is State.EXPECT_AUTH


STRIPPED = {"public_key": None, "binding": None, "nonce": None}


@pytest.mark.parametrize("step", [Step.HELLO_A, Step.HELLO_D])
def test_a_key_that_was_taken_out_on_the_way_is_missed_where_one_is_required(step: Step) -> None:
    accepting, dialling = acceptor(node(A, "a")), dialer(node(D, "d"))

    ending = refused(
        lambda: shake(accepting, dialling, changes={step: rewritten(**STRIPPED)}), "shows no key"
    )

    assert ending.code == CloseCode.IDENTITY
    assert not accepting.is_established
    assert not dialling.is_established


# Bindings that the two sides see differently


def test_tls_that_somebody_else_ends_is_no_plain_connection() -> None:
    refused(
        lambda: shake(acceptor(bindings=PLAIN), dialer(bindings=TLS)),
        "bound to tls as this side sees it, got plain",
    )


def test_a_certificate_of_somebody_in_between_is_refused() -> None:
    between = dialled_bindings(encrypted=True, certificate_digest=OTHER_DIGEST)

    refused(lambda: shake(acceptor(bindings=TLS), dialer(bindings=between)), "bound to tls")


def test_a_certificate_in_between_cannot_be_swapped_in_the_hello() -> None:
    between = dialled_bindings(encrypted=True, certificate_digest=OTHER_DIGEST)
    swap = rewritten(binding=Binding("tls", DIGEST))

    refused(
        lambda: shake(
            acceptor(bindings=TLS), dialer(bindings=between), changes={Step.HELLO_D: swap}
        ),
        PROOF,
    )


def test_a_proxy_that_no_ca_vouches_for_is_refused_with_the_way_out() -> None:
    refused(
        lambda: shake(acceptor(bindings=PROXY), dialer(bindings=TLS)),
        "bound to tls as this side sees it, got proxy; a node behind a proxy needs a certificate",
    )


def test_a_proxy_of_another_name_is_refused() -> None:
    elsewhere = dialled_bindings(
        encrypted=True, certificate_digest=DIGEST, verified_host="other.example.org"
    )

    refused(lambda: shake(acceptor(bindings=PROXY), dialer(bindings=elsewhere)), "bound to proxy")


# Whom the address names


def test_whom_the_address_names_has_to_prove_it() -> None:
    shake(acceptor(), dialer(expected_id=A.node_id))
    impostor = acceptor(node(A, sign=MALLORY.sign))

    refused(lambda: shake(impostor, dialer(expected_id=A.node_id)), PROOF)


def test_somebody_else_at_an_address_that_names_a_node_is_refused() -> None:
    accepting, dialling = acceptor(node(MALLORY)), dialer(expected_id=A.node_id)

    ending = refused(lambda: shake(accepting, dialling), f"the address is of {A.node_id}")

    assert ending.code == CloseCode.IDENTITY
