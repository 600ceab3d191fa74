"""What is in a PEM file, whatever it is: certificates, public keys, private keys."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from ..errors import CredentialError, StateDirError
from ..node_id import fingerprint
from .certificates import parse_certificate
from .identity import read_private

__all__ = ["KeyBlock", "public_key_pem", "read_key_file"]

_FILE_BYTES = 1024 * 1024
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----(.*?)-----END \1-----", re.DOTALL)


class KeyBlock(msgspec.Struct, frozen=True, kw_only=True):
    """One block of a PEM file.

    Attributes:
        kind: `certificate`, `public key` or `private key`.
        fingerprint: SHA-256 of the public key, in hex.
        subject: of a certificate. From anybody: not made safe to print.
        not_after: when a certificate ends, Unix seconds.
    """

    kind: str
    fingerprint: str
    subject: str | None = None
    not_after: float | None = None


def read_key_file(path: Path) -> list[KeyBlock]:
    """Read the certificates and keys of a PEM file, in its order; other blocks are passed over.

    Raises:
        StateDirError: it cannot be read, holds none or a damaged one, or a private key
            that others can read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_BYTES + 1)
    except OSError as error:
        raise StateDirError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > _FILE_BYTES:
        raise StateDirError(f"{path}: over {_FILE_BYTES} bytes; expected a PEM file")
    found = []
    for number, match in enumerate(_BLOCK.finditer(content), 1):
        label = match[1].decode()
        kind = "PRIVATE KEY" if label.endswith("PRIVATE KEY") else label
        if kind in _READERS:
            try:
                found.append(_READERS[kind](match))
            except CredentialError as error:
                raise StateDirError(f"{path}: its PEM block {number}, {label}: {error}") from error
    if any(block.kind == "private key" for block in found):
        read_private(path)
    if not found:
        raise StateDirError(
            f"{path}: holds no certificate and no key as PEM text, which begins with -----BEGIN"
        )
    return found


def public_key_pem(public_key: bytes) -> str:
    """A SubjectPublicKeyInfo (DER) as a PEM block."""
    body = base64.b64encode(public_key).decode()
    lines = [body[i : i + 64] for i in range(0, len(body), 64)]
    return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])


def _certificate(match: re.Match[bytes]) -> KeyBlock:
    try:
        der = base64.b64decode(b"".join(match[2].split()), validate=True)
    except ValueError as error:
        raise CredentialError("damaged: not base64") from error
    certificate = parse_certificate(der)
    return KeyBlock(
        kind="certificate",
        fingerprint=certificate.fingerprint,
        subject=certificate.subject,
        not_after=certificate.not_after,
    )


def _public_key(match: re.Match[bytes]) -> KeyBlock:
    try:
        key = serialization.load_pem_public_key(match[0])
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CredentialError("damaged, or of an unknown kind") from error
    return KeyBlock(kind="public key", fingerprint=_fingerprint(key))


def _private_key(match: re.Match[bytes]) -> KeyBlock:
    try:
        key = serialization.load_pem_private_key(match[0], password=None)
    except TypeError as error:
        raise CredentialError("encrypted; give its certificate or public key instead") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CredentialError("damaged, or of an unknown kind") from error
    return KeyBlock(kind="private key", fingerprint=_fingerprint(key.public_key()))


def _fingerprint(key: PublicKeyTypes) -> str:
    encoded = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return fingerprint(encoded)


_READERS: dict[str, Callable[[re.Match[bytes]], KeyBlock]] = {
    "CERTIFICATE": _certificate,
    "PUBLIC KEY": _public_key,
    "PRIVATE KEY": _private_key,
}
