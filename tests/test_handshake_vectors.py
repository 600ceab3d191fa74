"""The vectors of the handshake and of cards, replayed through our code and read without it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from thenodes_core.errors import CredentialError
from thenodes_core.limits import Limits
from thenodes_core.protocol.card import open_card
from thenodes_core.protocol.codec import Codec
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.codec_json import JsonCodec
from thenodes_core.protocol.handshake import Handshake, LocalNode, Refused, Role
from thenodes_core.protocol.proof import Channel
from thenodes_core.signatures import PrivateKey, Purpose, sign, verify
from thenodes_plugin_api import Auth, Body, Hello, Message, Verified

from .test_vectors import WIRE, load, unpack

HANDSHAKE: dict[str, Any] = load("handshake")
CARD: dict[str, list[dict[str, Any]]] = load("card")
KEYS: dict[str, dict[str, str]] = HANDSHAKE["keys"]
HANDSHAKES: list[dict[str, Any]] = HANDSHAKE["handshakes"]

CODECS: dict[str, Codec] = {
    codec.subprotocol: codec for codec in (BinaryCodec(Limits()), JsonCodec(Limits()))
}

# What our refusal says, by the check that a vector names.
REFUSALS = {
    "version": "expected TheNodes 1",
    "realm": "expected realm",
    "self": "own id",
    "key": "is not usable|shows no key",
    "id": "does not derive",
    "nonce": "expected a nonce",
    "binding": "expected a proof bound to",
    "proof": "is not of its key and this connection",
    "order": "unexpected",
}
CARD_REFUSALS = {
    "size": "at most 2048",
    "form": "not a card",
    "key": "not in its canonical encoding",
    "signature": "not signed by its own key",
    "id": "does not derive",
    "life": "is valid for",
    "ahead": "ahead",
    "expired": "expired",
}


def by_name(vector: dict[str, Any]) -> str:
    if "by" in vector:
        return f"{vector['by']}: {vector['why']}"
    return str(vector.get("name") or vector["why"])


def private_key(name: str) -> PrivateKey:
    number = KEYS[name]["private_key"]
    if name == "p256":
        return ec.derive_private_key(int(number, 16), ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(number))


def public_key(name: str) -> bytes:
    return bytes.fromhex(KEYS[name]["public_key"])


def on_the_wire(vector: dict[str, Any], message: str) -> bytes:
    """The bytes of a message: text in JSON, hexadecimal in binary."""
    is_text = vector["subprotocol"] == "thenodes.v1.json"
    return message.encode() if is_text else bytes.fromhex(message)


def body_of(vector: dict[str, Any], data: bytes) -> Body:
    (message,) = CODECS[vector["subprotocol"]].decode(data)
    assert isinstance(message, Message)
    return message.body


def side(vector: dict[str, Any], role: Role, key: str, hello: str) -> Handshake:
    """One side of a vector's connection, that says of itself what the vector says."""
    codec, data = CODECS[vector["subprotocol"]], on_the_wire(vector, hello)
    own = body_of(vector, data)
    assert isinstance(own, Hello)
    assert own.realm is not None
    assert own.nonce is not None
    envelope = json.loads(data) if vector["subprotocol"] == "thenodes.v1.json" else {}
    ends = envelope.get("from", ""), envelope.get("to", "")
    local = LocalNode(
        node_id=own.node_id,
        realm=own.realm,
        instance=own.instance or b"",
        public_key=own.public_key,
        sign=lambda purpose, content: sign(private_key(key), purpose, content),
        certificate=own.certificate,
        card=own.card,
        node_type=own.node_type,
        capabilities=own.capabilities or (),
        listen_addr=own.listen_addr,
    )
    channel = Channel(
        vector["subprotocol"], {vector["mode"]: frozenset({bytes.fromhex(vector["value"])})}
    )
    return Handshake(
        role, local, own.nonce, channel, lambda body: codec.encode(Message(body, None, *ends))
    )


def give(vector: dict[str, Any], handshake: Handshake, message: str) -> list[bytes]:
    data = on_the_wire(vector, message)
    return handshake.receive(body_of(vector, data), data)


def check_proof(vector: dict[str, Any], role: Role, data: bytes) -> None:
    """What our side sent as its proof is the vector's, as far as signatures repeat."""
    described = vector[role.value]
    auth = body_of(vector, data)
    assert isinstance(auth, Auth)
    assert verify(
        public_key(described["key"]),
        role.purpose,
        bytes.fromhex(described["content"]),
        auth.proof,
    )
    if described["key"] != "p256":
        assert data == on_the_wire(vector, described["auth"])


@pytest.mark.parametrize("vector", HANDSHAKES, ids=by_name)
def test_the_accepting_side_takes_a_vectors_handshake(vector: dict[str, Any]) -> None:
    own, theirs = vector["acceptor"], vector["dialer"]
    handshake = side(vector, Role.ACCEPTOR, own["key"], own["hello"])

    assert handshake.open() == [on_the_wire(vector, own["hello"])]
    assert give(vector, handshake, theirs["hello"]) == []
    assert not handshake.is_established
    assert give(vector, handshake, theirs["auth"]) == []

    assert handshake.is_established
    assert handshake.verified is Verified.SESSION
    assert handshake.peer.public_key == public_key(theirs["key"])
    check_proof(vector, Role.ACCEPTOR, handshake.confirmation())


@pytest.mark.parametrize(
    "vector", [vector for vector in HANDSHAKES if "foreign" not in vector], ids=by_name
)
def test_the_dialling_side_takes_a_vectors_handshake(vector: dict[str, Any]) -> None:
    own, theirs = vector["dialer"], vector["acceptor"]
    handshake = side(vector, Role.DIALER, own["key"], own["hello"])

    assert handshake.open() == []
    hello, auth = give(vector, handshake, theirs["hello"])
    assert hello == on_the_wire(vector, own["hello"])
    check_proof(vector, Role.DIALER, auth)
    assert not handshake.is_established
    assert give(vector, handshake, theirs["auth"]) == []

    assert handshake.is_established
    assert handshake.verified is Verified.SESSION
    assert handshake.peer.public_key == public_key(theirs["key"])


@pytest.mark.parametrize("vector", HANDSHAKE["refused"], ids=by_name)
def test_a_handshake_that_is_not_allowed_fails_at_its_check(vector: dict[str, Any]) -> None:
    handshake = side(vector, Role(vector["by"]), **vector["own"])
    handshake.open()
    *passed, last = vector["received"]
    for message in passed:
        give(vector, handshake, message)

    with pytest.raises(Refused, match=REFUSALS[vector["check"]]) as caught:
        give(vector, handshake, last)

    assert caught.value.ending.code == vector["close_code"]
    assert not handshake.is_established
    assert handshake.verified is Verified.NONE


def test_every_check_has_a_vector() -> None:
    assert {vector["check"] for vector in HANDSHAKE["refused"]} == set(REFUSALS)
    assert {vector["check"] for vector in CARD["refused"]} == set(CARD_REFUSALS)


@pytest.mark.parametrize("name", KEYS)
def test_a_key_has_the_fingerprint_and_id_of_its_vector_without_our_code(name: str) -> None:
    digest = hashlib.sha256(public_key(name)).digest()

    assert KEYS[name]["fingerprint"] == digest.hex()
    assert KEYS[name]["node_id"] == base64.b32encode(digest[:20]).decode().lower()


@pytest.mark.parametrize("role", ["acceptor", "dialer"])
@pytest.mark.parametrize("vector", HANDSHAKES, ids=by_name)
def test_a_proof_is_of_what_the_document_says_read_without_our_code(
    vector: dict[str, Any], role: str
) -> None:
    hellos = [on_the_wire(vector, vector[name]["hello"]) for name in ("acceptor", "dialer")]
    hashes = [hashlib.sha256(hello).digest() for hello in hellos]
    described = vector[role]
    content = bytes.fromhex(described["content"])
    expected = [role, vector["subprotocol"], vector["mode"], bytes.fromhex(vector["value"])]
    signed = f"thenodes/v1/handshake-{role}".encode() + b"\0" + hashlib.sha256(content).digest()

    assert described["sha256"] == hashes[role == "dialer"].hex()
    assert unpack(content) == ([*expected, *hashes], len(content))
    assert described["signed"] == signed.hex()
    if described["key"] != "p256":
        key = private_key(described["key"])
        assert isinstance(key, ed25519.Ed25519PrivateKey)
        assert described["signature"] == key.sign(signed).hex()
    auth = body_of(vector, on_the_wire(vector, described["auth"]))
    assert auth == Auth(bytes.fromhex(described["signature"]))


def test_tls_is_bound_to_the_certificate_of_the_vectors() -> None:
    certificate = bytes.fromhex(HANDSHAKE["certificate"])
    (vector,) = (vector for vector in HANDSHAKES if vector["mode"] == "tls")
    hello = body_of(vector, on_the_wire(vector, vector["acceptor"]["hello"]))

    assert isinstance(hello, Hello)
    assert hello.certificate == certificate
    assert vector["value"] == hashlib.sha256(certificate).hexdigest()


@pytest.mark.parametrize("vector", CARD["valid"], ids=by_name)
def test_a_card_says_what_its_vector_says(vector: dict[str, Any]) -> None:
    card = open_card(bytes.fromhex(vector["card"]), now_ms=vector["now"])
    said = msgspec.structs.asdict(card)
    said |= {name: said[name].hex() for name in ("public_key", "sealing_key")}

    assert msgspec.to_builtins(said) == vector["means"] | {"relays": (*vector["means"]["relays"],)}


@pytest.mark.parametrize("vector", CARD["valid"], ids=by_name)
def test_a_card_is_what_the_document_says_read_without_our_code(vector: dict[str, Any]) -> None:
    content, signature = (bytes.fromhex(vector[name]) for name in ("content", "signature"))
    fields = list(vector["means"].values())
    fields[1], fields[2] = bytes.fromhex(fields[1]), bytes.fromhex(fields[2])
    fields[3] = [*fields[3].values()]

    assert unpack(bytes.fromhex(vector["card"]))[0] == [content, signature]
    assert unpack(content)[0][: len(fields)] == fields
    assert verify(public_key(vector["key"]), Purpose.CARD, content, signature)


@pytest.mark.parametrize("vector", CARD["refused"], ids=by_name)
def test_a_card_that_is_not_allowed_fails_at_its_check(vector: dict[str, Any]) -> None:
    with pytest.raises(CredentialError, match=CARD_REFUSALS[vector["check"]]):
        open_card(bytes.fromhex(vector["card"]), now_ms=vector["now"])


def test_the_document_shows_the_vectors_handshake() -> None:
    vector = HANDSHAKES[0]
    shown = [
        *(vector[role]["hello"] for role in ("acceptor", "dialer")),
        *(vector[role]["auth"] for role in ("dialer", "acceptor")),
    ]
    (proof,) = re.findall(r"```msgpack\n(.*?)```", WIRE, re.DOTALL)
    digits = "".join(line.partition("#")[0] for line in proof.splitlines())

    assert "\n".join(shown) in WIRE
    assert bytes.fromhex(digits).hex() == vector["dialer"]["content"]
    assert vector["dialer"]["signature"] in re.sub(r"\s", "", WIRE)


@pytest.mark.parametrize(("name", "key_bytes"), [("p256", 64), ("ed25519", 32)])
def test_the_document_shows_how_a_key_is_encoded(name: str, key_bytes: int) -> None:
    prefix, size = public_key(name)[:-key_bytes], len(public_key(name))

    assert prefix.hex(" ") in WIRE
    assert re.search(rf"\b{size} bytes", WIRE)
    assert f"`{KEYS[name]['node_id']}`" in WIRE
