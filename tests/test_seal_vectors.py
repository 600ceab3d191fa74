"""The vectors of sealing, replayed through our code and read without it."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from thenodes_core.protocol.card import Card, open_card
from thenodes_core.security.refusal import Refused
from thenodes_core.security.seal import Opener
from thenodes_core.signatures import Purpose, verify
from thenodes_plugin_api import Realm
from thenodes_plugin_api.service import DeliveryHeader, ForwardHeader

from .test_handshake_vectors import KEYS
from .test_vectors import load

SEAL: dict[str, Any] = load("seal")
RECIPIENT: dict[str, str] = SEAL["recipient"]
PRIVATE = X25519PrivateKey.from_private_bytes(bytes.fromhex(RECIPIENT["private_key"]))
SEALED = [
    pytest.param(sender, message, id=f"{sender['key']} {message['qos']}")
    for sender in SEAL["sealed"]
    for message in sender["messages"]
]


def opener() -> Opener:
    def read(data: bytes, now_ms: int) -> Card:
        return open_card(data, now_ms=now_ms)

    return Opener(RECIPIENT["node_id"], Realm(*SEAL["realm"]), lambda: [PRIVATE], read)


def header_of(vector: dict[str, Any]) -> ForwardHeader:
    delivery = DeliveryHeader(
        bytes.fromhex(vector["message_id"]),
        created_at=vector["created_at"],
        expires_at=vector["expires_at"],
    )
    to, sender = vector["to"], vector["from"]
    return ForwardHeader(None, None, delivery, to, sender, vector["sequence"], vector["qos"])


@pytest.mark.parametrize(("sender", "message"), SEALED)
def test_a_sealed_vector_opens(sender: dict[str, Any], message: dict[str, Any]) -> None:
    body = bytes.fromhex(message["body"])

    key, frame = opener().open(header_of(message), body, 0)

    assert frame.hex() == message["frame"]
    assert key.sender == message["from"] == KEYS[sender["key"]]["node_id"]


@pytest.mark.parametrize(("sender", "message"), SEALED)
def test_a_sealed_vector_is_as_the_document_says(
    sender: dict[str, Any], message: dict[str, Any]
) -> None:
    version, key_hash, wrapped, epoch, counter, signature, card, ciphertext = (
        msgspec.msgpack.decode(bytes.fromhex(message["body"]))
    )
    sealing_key = bytes.fromhex(RECIPIENT["sealing_key"])
    realm = SEAL["realm"][1:]
    context = [message["from"], message["to"], sealing_key, realm, epoch]
    covered = [
        *[realm, message["to"], message["from"], message["qos"], message["sequence"]],
        *[bytes.fromhex(message["message_id"]), message["created_at"], message["expires_at"]],
    ]

    assert (version, key_hash) == (1, hashlib.sha256(sealing_key).digest()[:8])
    assert PRIVATE.public_key().public_bytes_raw() == sealing_key
    assert card.hex() == sender["card"]
    assert counter == message["counter"]
    info = msgspec.msgpack.encode(context)
    assert info.hex() == message["info"]
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    session_key = suite.decrypt(wrapped, PRIVATE, info)
    assert session_key.hex() == message["session_key"]
    signed = msgspec.msgpack.encode([*context, wrapped])
    assert signed.hex() == message["signed"]
    assert verify(bytes.fromhex(sender["public_key"]), Purpose.WRAP, signed, signature)
    data = msgspec.msgpack.encode(covered)
    assert data.hex() == message["associated_data"]
    frame = AESGCM(session_key).decrypt(counter.to_bytes(12, "big"), ciphertext, data)
    assert frame.hex() == message["frame"]


@pytest.mark.parametrize("vector", SEAL["refused"], ids=lambda vector: str(vector["why"]))
def test_what_every_reader_must_refuse_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        opener().open(header_of(vector), bytes.fromhex(vector["body"]), 0)

    assert refused.value.reason == vector["reason"]
