"""X.509 certificates over node keys: reading, making, renewing, and chains to a CA."""

from __future__ import annotations

import base64
import datetime
import warnings
from collections.abc import Sequence
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509 import verification
from cryptography.x509.oid import NameOID

from thenodes_plugin_api import Realm

from ..errors import CredentialError, StateDirError
from ..files import write_private
from ..node_id import fingerprint
from ..text import printable
from .certificate_profile import ca_policy, dns_name, extensions, leaf_policy, subject_name
from .identity import Identity

__all__ = [
    "CERTIFICATE_BYTES",
    "CERTIFICATE_FILE",
    "Certificate",
    "dns_name",
    "load_or_renew_certificate",
    "make_certificate",
    "parse_certificate",
    "parse_pem",
    "pem",
    "read_certificates",
    "verify_chain",
]

CERTIFICATE_FILE = "identity.crt"
CERTIFICATE_BYTES = 8192

_FILE_BYTES = 1024 * 1024
_INTERMEDIATES = 8
_REASON_CHARACTERS = 300
_CLOCK_SKEW = datetime.timedelta(hours=1)
# What cryptography raises for DER that it cannot make sense of; warnings are made errors.
_FOREIGN = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    Warning,
)


class Certificate(msgspec.Struct, frozen=True):
    """What a certificate says; nothing of it is verified by being here.

    Attributes:
        der: the certificate.
        public_key: SubjectPublicKeyInfo, DER, in its canonical encoding.
        subject: as RFC 4514 writes it, `CN=…,O=…`. From anybody: not made safe to print.
        names: DNS names and IP addresses of the subjectAltName.
        not_before: start of its validity, Unix seconds.
        not_after: end of its validity, Unix seconds.
        is_ca: says that its key may sign certificates.
    """

    der: bytes
    public_key: bytes
    subject: str
    names: tuple[str, ...]
    not_before: float
    not_after: float
    is_ca: bool

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the public key, lowercase hex."""
        return fingerprint(self.public_key)

    @property
    def self_signed(self) -> bool:
        """Whether its own key signed it; verified anew each time.

        For keys that no node has (RSA, say), whether issuer and subject are equal.
        """
        return _is_self_signed(_load(self))

    @property
    def common_name(self) -> str | None:
        """The subject's common name; read anew each time, and not made safe to print."""
        found = _load(self).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(found[0].value) if found else None


def parse_certificate(der: bytes) -> Certificate:
    """Read a certificate, from anybody.

    Raises:
        CredentialError: over 8 KiB, or no X.509 certificate.
    """
    if len(der) > CERTIFICATE_BYTES:
        raise CredentialError(f"a certificate of {len(der)} bytes: at most {CERTIFICATE_BYTES}")
    try:
        with warnings.catch_warnings():
            # A stranger must not choose what this process prints.
            warnings.simplefilter("error")
            return _describe(x509.load_der_x509_certificate(der))
    except _FOREIGN as error:
        reason = printable(str(error), most=_REASON_CHARACTERS)
        raise CredentialError(f"not a certificate (X.509, DER): {reason}") from error


def read_certificates(path: Path) -> list[Certificate]:
    """Read a PEM file of one or more certificates; blocks of other kinds are passed over.

    Raises:
        StateDirError: it cannot be read, holds no certificate, or a damaged one.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_BYTES + 1)
    except OSError as error:
        raise StateDirError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > _FILE_BYTES:
        raise StateDirError(f"{path}: over {_FILE_BYTES} bytes; expected PEM certificates")
    try:
        return parse_pem(content)
    except CredentialError as error:
        raise StateDirError(
            f"{path}: {error}. Expected PEM blocks that begin with -----BEGIN CERTIFICATE-----"
        ) from error


def parse_pem(content: bytes) -> list[Certificate]:
    """Read PEM certificates, one or more; blocks of other kinds are passed over.

    Raises:
        CredentialError: there is none, or a damaged one.
    """
    return [parse_certificate(der) for der in _pem_blocks(content)]


def pem(der: bytes) -> bytes:
    """A certificate as a PEM block."""
    body = base64.encodebytes(der).replace(b"\n", b"")
    lines = b"".join(body[i : i + 64] + b"\n" for i in range(0, len(body), 64))
    return b"-----BEGIN CERTIFICATE-----\n" + lines + b"-----END CERTIFICATE-----\n"


def make_certificate(
    identity: Identity,
    *,
    node_id: str,
    realm: Realm,
    now: float,
    days: int = 365,
    common_name: str | None = None,
    ca: bool = False,
    issuer: tuple[Identity, Certificate] | None = None,
) -> Certificate:
    """Make a certificate over a node key, for TLS as server and as client.

    Subject: CN the common name, cut to 64 characters, O the realm's code. The
    subjectAltName is that of `dns_name`. Valid from an hour before `now`.

    Args:
        identity: the key that is certified.
        node_id: whose it is.
        realm: where.
        now: Unix seconds.
        days: how long it is valid, at most until the issuer's certificate ends.
        common_name: instead of the node id.
        ca: make one whose key signs certificates, and serves no TLS.
        issuer: the CA's key and certificate; without it the certificate is self-signed.

    Raises:
        CredentialError: a CA whose key is not P-256, an issuer that is no CA or has
            another key, or values that no certificate can hold.
    """
    signer = issuer[0] if issuer else identity
    if (ca or issuer) and not isinstance(signer.key, ec.EllipticCurvePrivateKey):
        raise CredentialError("the key of a CA has to be P-256: chains to others are not verified")
    if issuer is not None:
        _check_issuer(*issuer)
    if days < 1:
        raise CredentialError(f"a certificate is valid for at least a day, not for {days}")
    label = node_id if common_name is None else common_name
    try:
        start = datetime.datetime.fromtimestamp(int(now), datetime.UTC)
        end = start + datetime.timedelta(days=days)
        if issuer is not None:
            end = min(end, datetime.datetime.fromtimestamp(issuer[1].not_after, datetime.UTC))
        subject = subject_name(label, realm)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(_load(issuer[1]).subject if issuer else subject)
            .public_key(identity.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start - _CLOCK_SKEW)
            .not_valid_after(end)
        )
        for extension, critical in extensions(identity, signer, dns_name(node_id, realm), ca=ca):
            builder = builder.add_extension(extension, critical=critical)
        made = builder.sign(signer.key, _hash_for(signer))
    except (ValueError, OverflowError, OSError) as error:
        raise CredentialError(f"the certificate cannot be made: {error}") from error
    return parse_certificate(made.public_bytes(serialization.Encoding.DER))


def verify_chain(
    leaf: Certificate,
    anchors: Sequence[Certificate],
    intermediates: Sequence[Certificate],
    *,
    now: float,
) -> str | None:
    """Whether a CA vouches for a certificate.

    The chain is built by cryptography's verifier after the rules of the Web PKI, with
    three that are looser, for what the openssl command makes by default: a CA without
    keyUsage, a leaf without authorityKeyIdentifier, and an extendedKeyUsage for servers
    or clients alone, since a node is both. CA keys are P-256 (P-384 and RSA are taken
    as well, Ed25519 is not), and the leaf has a subjectAltName, whatever it names.

    Args:
        leaf: the peer's, from anybody.
        anchors: what the operator believes; those that are no CA count for nothing.
        intermediates: what the peer sent besides, at most 8.
        now: Unix seconds.

    Returns:
        None where there is a chain, else why there is none.
    """
    believed = [_load(anchor) for anchor in anchors if anchor.is_ca]
    if not believed:
        return "no CA is known"
    if len(intermediates) > _INTERMEDIATES:
        return f"{len(intermediates)} intermediate certificates: at most {_INTERMEDIATES}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            verifier = (
                verification.PolicyBuilder()
                .store(verification.Store(believed))
                .time(datetime.datetime.fromtimestamp(now, datetime.UTC))
                .extension_policies(ca_policy=ca_policy(), ee_policy=leaf_policy())
                .build_client_verifier()
            )
            verifier.verify(_load(leaf), [_load(one) for one in intermediates])
    except (verification.VerificationError, *_FOREIGN) as error:
        return _in_words(str(error))
    return None


def load_or_renew_certificate(
    path: Path, identity: Identity, *, node_id: str, realm: Realm, now: float
) -> tuple[Certificate, bool]:
    """Read the node's own certificate, the first in the file, or make it.

    A self-signed one is made anew when under a third of its life remains, when it is of
    another key, node id or realm, and when the file is damaged; the common name stays.
    One that a CA issued, and a CA's own, is used as it is, even when expired: to renew
    it is the operator's work.

    Returns:
        The certificate, and whether it was made just now.

    Raises:
        StateDirError: it cannot be read or written, or a CA issued it for another key.
    """
    name = dns_name(node_id, realm)
    common_name: str | None = None
    found = _read_own(path)
    if found is not None:
        own_key = found.public_key == identity.public_key
        if not found.self_signed or found.is_ca:
            if own_key:
                return found, False
            raise StateDirError(
                f"{path}: the certificate is of the key {found.fingerprint}, the node has the "
                f"key {identity.fingerprint}. Give it the right key or certificate, or move "
                "the file away to get a self-signed one."
            )
        if own_key and name in found.names:
            if found.not_before <= now < found.not_after - _third(found):
                return found, False
            common_name = found.common_name
    made = make_certificate(
        identity, node_id=node_id, realm=realm, now=now, common_name=common_name
    )
    try:
        write_private(path, pem(made.der))
    except OSError as error:
        raise StateDirError(f"{path}: cannot write the certificate: {error.strerror}") from error
    return made, True


def _describe(certificate: x509.Certificate) -> Certificate:
    extensions = certificate.extensions
    names: tuple[str, ...] = ()
    is_ca = False
    for extension in extensions:
        value = extension.value
        if isinstance(value, x509.SubjectAlternativeName):
            addresses = map(str, value.get_values_for_type(x509.IPAddress))
            names = (*value.get_values_for_type(x509.DNSName), *addresses)
        elif isinstance(value, x509.BasicConstraints):
            is_ca = value.ca
    return Certificate(
        certificate.public_bytes(serialization.Encoding.DER),
        certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        certificate.subject.rfc4514_string(),
        names,
        certificate.not_valid_before_utc.timestamp(),
        certificate.not_valid_after_utc.timestamp(),
        is_ca,
    )


def _is_self_signed(certificate: x509.Certificate) -> bool:
    key = certificate.public_key()
    signature, signed = certificate.signature, certificate.tbs_certificate_bytes
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, signed)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            hash_algorithm = certificate.signature_hash_algorithm
            if hash_algorithm is None:
                return False
            key.verify(signature, signed, ec.ECDSA(hash_algorithm))
        else:
            # An RSA key can be made so that one verification takes long.
            return certificate.issuer == certificate.subject
    except (InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _pem_blocks(content: bytes) -> list[bytes]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = x509.load_pem_x509_certificates(content)
            return [one.public_bytes(serialization.Encoding.DER) for one in found]
    except _FOREIGN as error:
        reason = printable(str(error), most=_REASON_CHARACTERS)
        raise CredentialError(f"not PEM certificates: {reason}") from error


def _load(certificate: Certificate) -> x509.Certificate:
    return x509.load_der_x509_certificate(certificate.der)


def _hash_for(signer: Identity) -> hashes.SHA256 | None:
    # Ed25519 has its own.
    return None if isinstance(signer.key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def _check_issuer(identity: Identity, certificate: Certificate) -> None:
    if not certificate.is_ca:
        raise CredentialError(f"the issuer's certificate ({certificate.subject}) is not a CA's")
    if certificate.public_key != identity.public_key:
        raise CredentialError(
            f"the issuer's certificate is of the key {certificate.fingerprint}, "
            f"its key is {identity.fingerprint}"
        )


def _in_words(reason: str) -> str:
    text = reason.removeprefix("validation failed: ").partition(" (encountered")[0]
    if "no interior errors" in text:
        return "no known CA issued it"
    return printable(text.rpartition("candidates exhausted: ")[2], most=_REASON_CHARACTERS)


def _read_own(path: Path) -> Certificate | None:
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateDirError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return parse_certificate(_pem_blocks(content)[0])
    except CredentialError:
        return None


def _third(certificate: Certificate) -> float:
    return (certificate.not_after - certificate.not_before) / 3
