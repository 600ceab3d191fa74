"""A certificate's file: written, and shown to operators."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from thenodes_core.errors import StateDirError
from thenodes_core.files import write_private
from thenodes_core.security.certificates import Certificate, pem
from thenodes_core.text import printable

__all__ = [
    "CertificateFile",
    "certificate_rows",
    "day",
    "describe_certificate",
    "render_rows",
    "write_certificates",
]


class CertificateFile(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate, as operators see it.

    Attributes:
        path: its file.
        subject: whom it names, safe to print only when escaped.
        not_before: start of its validity, Unix seconds.
        not_after: end of its validity, Unix seconds.
        digest: SHA-256 of the whole certificate, in hex.
        self_signed: signed by its own key.
    """

    path: str
    subject: str
    not_before: float
    not_after: float
    digest: str
    self_signed: bool


def describe_certificate(path: Path, certificate: Certificate) -> CertificateFile:
    """What operators see of a certificate in a file."""
    return CertificateFile(
        path=str(path),
        subject=certificate.subject,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        digest=hashlib.sha256(certificate.der).hexdigest(),
        self_signed=certificate.self_signed,
    )


def write_certificates(path: Path, certificates: Sequence[Certificate]) -> None:
    """Write certificates as PEM in the place of what is there, whole or not at all.

    Raises:
        StateDirError: it cannot be written; the old file is as it was.
    """
    try:
        write_private(path, b"".join(pem(certificate.der) for certificate in certificates))
    except OSError as error:
        raise StateDirError(f"{path}: cannot write the certificate: {error.strerror}") from error


def certificate_rows(file: CertificateFile) -> list[tuple[str, str]]:
    """The lines of a certificate, each with its label."""
    return [
        ("certificate", file.path),
        ("subject", file.subject),
        ("valid", f"{day(file.not_before)} to {day(file.not_after)}"),
        ("digest", file.digest),
    ]


def render_rows(rows: Sequence[tuple[str, str]]) -> str:
    """Labels and values below each other, one line each whatever they hold."""
    return "\n".join(f"{label:<11}  {printable(value)}" for label, value in rows)


def day(moment: float) -> str:
    """The day of a moment, in UTC."""
    return time.strftime("%Y-%m-%d", time.gmtime(moment))
