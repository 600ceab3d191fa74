"""The node key: made on first run, kept in a file that only its owner can read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from .. import signatures
from ..errors import StateDirError
from ..files import write_private
from ..node_id import derive_node_id, fingerprint
from ..signatures import PrivateKey, Purpose

__all__ = [
    "IDENTITY_FILE",
    "Identity",
    "load_identity",
    "load_or_create_identity",
    "read_private",
    "write_identity",
]

IDENTITY_FILE = "identity.pem"

_FILE_BYTES = 65_536


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

    def sign(self, purpose: Purpose, content: bytes) -> bytes:
        """Return this key's signature of `content`, good for `purpose` alone: 64 bytes."""
        return signatures.sign(self.key, purpose, content)


def load_or_create_identity(state_dir: Path, private_key: Path | None = None) -> Identity:
    """Read the node key; where none is named, `identity.pem`, made on the first run.

    Args:
        state_dir: where `identity.pem` is.
        private_key: a file that holds the node key instead. It has to exist: a key
            made in the place of one that was mistyped would be another node's.

    Raises:
        StateDirError: unreadable, readable by others, not a usable key, or a named
            file that is not there.
    """
    if private_key is not None:
        return load_identity(private_key)
    path = state_dir / IDENTITY_FILE
    identity = _read(path)
    if identity is None:
        identity = Identity.generate()
        write_identity(path, identity)
    return identity


def load_identity(path: Path) -> Identity:
    """Read a node key.

    Raises:
        StateDirError: not there, unreadable, readable by others, or not a usable key.
    """
    identity = _read(path)
    if identity is None:
        raise StateDirError(
            f"{path}: there is no such key. To make one: thenodes cert new --out-key {path}"
        )
    return identity


def write_identity(path: Path, identity: Identity) -> None:
    """Write a node key, mode 0600, in the place of whatever is there.

    Raises:
        StateDirError: it cannot be written; the old file is as it was.
    """
    content = identity.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        write_private(path, content)
    except OSError as error:
        raise StateDirError(f"{path}: cannot write the node key: {error.strerror}") from error


def read_private(path: Path) -> bytes | None:
    """The content of a private key's file, up to 64 KiB; None where there is none.

    Raises:
        StateDirError: it cannot be read, or others can.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_FILE_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateDirError(f"{path}: {error.strerror}") from error
    # A file without one, named by mistake, is for its reader to refuse.
    if mode & 0o077 and b"PRIVATE KEY" in content:
        raise StateDirError(
            f"{path}: others can read this private key (mode {mode:04o}, expected 0600). "
            f"If nobody copied it: chmod 600 {path}"
        )
    return content


def _read(path: Path) -> Identity | None:
    content = read_private(path)
    return None if content is None else Identity(_parse(path, content))


def _parse(path: Path, content: bytes) -> PrivateKey:
    if b"PRIVATE KEY" not in content and b"BEGIN CERTIFICATE" in content:
        raise StateDirError(f"{path}: expected a private key, and it holds a certificate")
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
