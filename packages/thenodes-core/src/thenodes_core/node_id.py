"""Node ids and fingerprints: pure functions of a public key."""

from __future__ import annotations

import base64
import hashlib
import re

__all__ = ["derive_node_id", "fingerprint", "id_of_fingerprint", "may_be_derived"]

_ID_BYTES = 20
_DERIVED = re.compile("[a-z2-7]{32}")


def fingerprint(public_key: bytes) -> str:
    """SHA-256 of a SubjectPublicKeyInfo (DER), lowercase hex."""
    return hashlib.sha256(public_key).hexdigest()


def derive_node_id(public_key: bytes) -> str:
    """The id that belongs to a key: base32 of its fingerprint's first 20 bytes, 32 characters."""
    return _encode(hashlib.sha256(public_key).digest())


def id_of_fingerprint(fingerprint: str) -> str:
    """As `derive_node_id`, where only the key's fingerprint is known."""
    return _encode(bytes.fromhex(fingerprint))


def may_be_derived(node_id: str) -> bool:
    """Whether an id looks like a key's; one that does not was chosen."""
    return _DERIVED.fullmatch(node_id) is not None


def _encode(digest: bytes) -> str:
    return base64.b32encode(digest[:_ID_BYTES]).decode().lower()
