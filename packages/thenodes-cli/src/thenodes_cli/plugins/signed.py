"""Signatures beside wheels: made, and held against the keys that may sign."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

import msgspec

from thenodes_core.errors import CommandError, CommandFailed, CredentialError
from thenodes_core.files import write_private
from thenodes_core.plugins.archive import ARCHIVE_BYTES
from thenodes_core.plugins.signing import (
    SIGNATURE_BYTES,
    SIGNATURE_SUFFIX,
    sign_wheel,
    signer_of,
)
from thenodes_core.security.identity import Identity

__all__ = ["Signed", "read_signature", "read_wheel_file", "sign", "signature_path", "verify"]


class Signed(msgspec.Struct, frozen=True):
    """A wheel with a valid signature.

    Attributes:
        wheel: its file.
        signature: the signature's file.
        signer: the key's fingerprint.
        is_named: whether that key is among the signers that were named; None where none were.
    """

    wheel: str
    signature: str
    signer: str
    is_named: bool | None = None


def signature_path(wheel: Path) -> Path:
    """Where a wheel's signature is."""
    return wheel.with_name(wheel.name + SIGNATURE_SUFFIX)


def read_wheel_file(path: Path) -> bytes:
    """The content of a wheel.

    Raises:
        CommandError: it is not called a wheel.
        CommandFailed: it cannot be read, or no plugin is so large.
    """
    if path.suffix != ".whl":
        raise CommandError(f"{path}: expected a wheel (*.whl); to make one: thenodes plugin build")
    content = _read(path, ARCHIVE_BYTES)
    if content is None:
        raise CommandFailed(f"{path}: no such file")
    return content


def read_signature(wheel: Path) -> bytes | None:
    """The content of the signature beside a wheel; None where there is none.

    Raises:
        CommandFailed: it cannot be read, or is too large to be one.
    """
    return _read(signature_path(wheel), SIGNATURE_BYTES)


def sign(wheel: Path, identity: Identity) -> Signed:
    """Sign a wheel; a signature that is there is replaced.

    Raises:
        CommandError: it is not called a wheel.
        CommandFailed: it cannot be read, or the signature cannot be written.
    """
    content = sign_wheel(identity.key, identity.public_key, read_wheel_file(wheel))
    path = signature_path(wheel)
    try:
        write_private(path, content)
        # It goes wherever the wheel goes, and holds no secret.
        path.chmod(0o644)
    except OSError as error:
        raise CommandFailed(f"{path}: {error.strerror}") from error
    return Signed(str(wheel), str(path), identity.fingerprint)


def verify(wheel: Path, signers: Iterable[str]) -> Signed:
    """Verify the signature beside a wheel.

    Args:
        wheel: the file.
        signers: fingerprints of the keys that may sign; none where any may.

    Raises:
        CommandError: it is not called a wheel.
        CommandFailed: a file cannot be read, the signature is invalid, or nobody's of `signers`.
    """
    content, path, named = read_wheel_file(wheel), signature_path(wheel), sorted(signers)
    signature = read_signature(wheel)
    if signature is None:
        raise CommandFailed(f"TN-P004: {path}: there is no signature; get it beside the wheel")
    try:
        signer = signer_of(content, signature)
    except CredentialError as error:
        raise CommandFailed(
            f"TN-P004: {path}: {error}; get wheel and signature from their source again"
        ) from error
    if named and signer not in named:
        raise CommandFailed(
            f"TN-P004: {wheel}: expected a signature by {', '.join(named)}, received one by "
            f"{signer}"
        )
    return Signed(str(wheel), str(path), signer, True if named else None)


def _read(path: Path, limit: int) -> bytes | None:
    try:
        # A pipe would be waited on.
        if not stat.S_ISREG(path.stat().st_mode):
            raise CommandFailed(f"{path}: expected a file, received a folder, pipe or device")
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CommandFailed(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > limit:
        raise CommandFailed(f"{path}: larger than {limit} bytes")
    return content
