"""Signatures of node keys: what is signed, and for which purpose (design: wire.md, Identity)."""

from __future__ import annotations

import enum
import hashlib
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from .errors import CredentialError

__all__ = ["PrivateKey", "Purpose", "check_public_key", "sign", "verify"]

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

_DOMAIN = "thenodes/v1/"
_HALF = 32
_KEY_BYTES = 512
_HASH = ec.ECDSA(hashes.SHA256())


class Purpose(enum.StrEnum):
    """What a signature is for; one made for another purpose does not verify."""

    HANDSHAKE_DIALER = "handshake-dialer"
    HANDSHAKE_ACCEPTOR = "handshake-acceptor"
    CARD = "card"
    WRAP = "wrap"
    PLUGIN = "plugin"


def sign(key: PrivateKey, purpose: Purpose, content: bytes) -> bytes:
    """Return a signature of 64 bytes: P-256 r and s over SHA-256, or Ed25519."""
    data = _signed(purpose, content)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    r, s = decode_dss_signature(key.sign(data, _HASH))
    return r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big")


def verify(public_key: bytes, purpose: Purpose, content: bytes, signature: bytes) -> bool:
    """Whether a signature is that key's, of that content, for that purpose.

    Args:
        public_key: SubjectPublicKeyInfo, DER.
        purpose: what it has to be for.
        content: what it has to be of.
        signature: from anybody.

    Raises:
        CredentialError: the key is none that this protocol uses.
    """
    key = _parse(public_key)
    if len(signature) != 2 * _HALF:
        return False
    data = _signed(purpose, content)
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, data)
        else:
            halves = (int.from_bytes(signature[i : i + _HALF], "big") for i in (0, _HALF))
            key.verify(encode_dss_signature(*halves), data, _HASH)
    except InvalidSignature:
        return False
    return True


def check_public_key(public_key: bytes) -> None:
    """Check that bytes are a key of this protocol, in the one encoding that it has.

    Raises:
        CredentialError: no SubjectPublicKeyInfo of a P-256 or Ed25519 key, or another
            encoding of one, which would have another fingerprint.
    """
    _parse(public_key)


def _parse(public_key: bytes) -> PublicKey:
    if len(public_key) > _KEY_BYTES:
        raise CredentialError(f"a public key of {len(public_key)} bytes: at most {_KEY_BYTES}")
    try:
        key = serialization.load_der_public_key(public_key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CredentialError("not a public key (SubjectPublicKeyInfo, DER)") from error
    is_p256 = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    if not is_p256 and not isinstance(key, ed25519.Ed25519PublicKey):
        raise CredentialError("expected a P-256 or Ed25519 key")
    encoded = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if encoded != public_key:
        raise CredentialError("the public key is not in its canonical encoding")
    return key  # type: ignore[return-value]  # one of the two, as checked


def _signed(purpose: Purpose, content: bytes) -> bytes:
    return f"{_DOMAIN}{purpose}".encode() + b"\0" + hashlib.sha256(content).digest()
