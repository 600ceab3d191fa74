"""The node key: made on first run, kept in a file that only its owner can read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from ..errors import StateDirError
from ..files import write_private
from ..node_id import derive_node_id, fingerprint

__all__ = ["IDENTITY_FILE", "Identity", "load_or_create_identity"]

IDENTITY_FILE = "identity.pem"

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class Identity:
    """A node key and what derives from it."""

    def __init__(self, key: PrivateKey) -> None:
        self.key = key
        self.public_key = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @classmethod
    def generate(cls) -> Identity:
        """Make a new key: ECDSA P-256."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @property
    def node_id(self) -> str:
        """The id that derives from the key."""
        return derive_node_id(self.public_key)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the public key, lowercase hex."""
        return fingerprint(self.public_key)


def load_or_create_identity(state_dir: Path) -> Identity:
    """Read `identity.pem`, or make a key and write it.

    Raises:
        StateDirError: unreadable, readable by others, or not a usable key.
    """
    path = state_dir / IDENTITY_FILE
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(65_536)
    except FileNotFoundError:
        return _create(path)
    except OSError as error:
        raise StateDirError(f"{path}: {error.strerror}") from error
    if mode & 0o077:
        raise StateDirError(
            f"{path}: others can read this private key (mode {mode:04o}, expected 0600). "
            f"If nobody copied it: chmod 600 {path}"
        )
    return Identity(_parse(path, content))


def _create(path: Path) -> Identity:
    identity = Identity.generate()
    content = identity.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        write_private(path, content)
    except OSError as error:
        raise StateDirError(f"{path}: cannot write the node key: {error.strerror}") from error
    return identity


def _parse(path: Path, content: bytes) -> PrivateKey:
    way_out = "Restore it from a backup, or move it away to get a new key (and a new node id)."
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise StateDirError(f"{path}: not an unencrypted PEM private key. {way_out}") from error
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise StateDirError(f"{path}: expected a P-256 or Ed25519 key. {way_out}")
