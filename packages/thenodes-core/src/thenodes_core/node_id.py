"""Node ids and fingerprints: pure functions of a public key."""

from __future__ import annotations

import base64
import hashlib

__all__ = ["derive_node_id", "fingerprint"]


def fingerprint(public_key: bytes) -> str:
    """SHA-256 of a SubjectPublicKeyInfo (DER), lowercase hex."""
    return hashlib.sha256(public_key).hexdigest()


def derive_node_id(public_key: bytes) -> str:
    """The id that belongs to a key: base32 of its fingerprint's first 20 bytes, 32 characters."""
    return base64.b32encode(hashlib.sha256(public_key).digest()[:20]).decode().lower()
