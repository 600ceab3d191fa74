"""Certificates in Python's own TLS: served, presented and verified for real, in memory."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from thenodes_core.security.certificates import Certificate, make_certificate, pem
from thenodes_core.security.identity import Identity, write_identity
from thenodes_plugin_api import Realm

REALM = Realm("home", "home", "1.0")
NOW = time.time()  # OpenSSL judges by the clock of the machine.
CA_IDENTITY = Identity.generate()
CA = make_certificate(CA_IDENTITY, node_id="ca", realm=REALM, now=NOW, ca=True)
Make: TypeAlias = Callable[[], Identity]


def generate_ed25519() -> Identity:
    return Identity(ed25519.Ed25519PrivateKey.generate())


every_key = pytest.mark.parametrize(
    "generate", [Identity.generate, generate_ed25519], ids=["P-256", "Ed25519"]
)


def certify(identity: Identity, *, node_id: str = "n", by_ca: bool = True) -> Certificate:
    issuer = (CA_IDENTITY, CA) if by_ca else None
    return make_certificate(identity, node_id=node_id, realm=REALM, now=NOW, issuer=issuer)


def context(
    side: int, folder: Path, identity: Identity | None, certificate: Certificate | None
) -> ssl.SSLContext:
    """TLS 1.3, the CA alone believed, the other side's certificate required."""
    made = ssl.SSLContext(side)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    # As strict as Python's default from 3.13 on.
    made.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    made.verify_mode = ssl.CERT_REQUIRED if side == ssl.PROTOCOL_TLS_SERVER else made.verify_mode
    made.load_verify_locations(cadata=pem(CA.der).decode())
    if identity is not None and certificate is not None:
        key_file, certificate_file = folder / "key.pem", folder / "certificate.pem"
        write_identity(key_file, identity)
        certificate_file.write_bytes(pem(certificate.der))
        made.load_cert_chain(certificate_file, key_file)
    return made


def shake_hands(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Run both sides until done; raises what either does."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    served = server.wrap_bio(up, down, server_side=True)
    dialled = client.wrap_bio(down, up, server_hostname=name)
    for side in (dialled, served) * 4:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return served, dialled


@every_key
def test_a_certificate_of_a_ca_serves_tls_and_is_presented_as_a_client(
    tmp_path: Path, generate: Make
) -> None:
    here, there = generate(), generate()
    server_certificate, client_certificate = certify(here, node_id="here"), certify(there)
    server = context(ssl.PROTOCOL_TLS_SERVER, tmp_path, here, server_certificate)
    client = context(ssl.PROTOCOL_TLS_CLIENT, tmp_path, there, client_certificate)

    served, dialled = shake_hands(server, client, "here.home.thenodes")

    assert served.version() == dialled.version() == "TLSv1.3"
    assert dialled.getpeercert(binary_form=True) == server_certificate.der
    assert served.getpeercert(binary_form=True) == client_certificate.der


@pytest.mark.parametrize("node_id", ["a_b", "A.b", "x" * 128, ".a..b.", "-"])
def test_a_node_of_any_id_serves_and_is_a_client(tmp_path: Path, node_id: str) -> None:
    identity = Identity.generate()
    certificate = certify(identity, node_id=node_id)
    server = context(ssl.PROTOCOL_TLS_SERVER, tmp_path, identity, certificate)
    client = context(ssl.PROTOCOL_TLS_CLIENT, tmp_path, identity, certificate)
    client.check_hostname = False

    served, dialled = shake_hands(server, client, "whatever.example")

    assert dialled.getpeercert(binary_form=True) == certificate.der
    assert served.getpeercert(binary_form=True) == certificate.der


@every_key
def test_a_self_signed_certificate_serves_tls_to_those_who_do_not_verify_it(
    tmp_path: Path, generate: Make
) -> None:
    identity = generate()
    certificate = certify(identity, by_ca=False)
    server = context(ssl.PROTOCOL_TLS_SERVER, tmp_path, identity, certificate)
    server.verify_mode = ssl.CERT_NONE
    client = context(ssl.PROTOCOL_TLS_CLIENT, tmp_path, None, None)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE

    _, dialled = shake_hands(server, client, "n")

    assert dialled.getpeercert(binary_form=True) == certificate.der


@every_key
def test_a_self_signed_certificate_that_is_believed_itself_is_verified(
    tmp_path: Path, generate: Make
) -> None:
    identity = generate()
    certificate = certify(identity, by_ca=False)
    server = context(ssl.PROTOCOL_TLS_SERVER, tmp_path, identity, certificate)
    server.verify_mode = ssl.CERT_NONE
    client = context(ssl.PROTOCOL_TLS_CLIENT, tmp_path, None, None)
    client.load_verify_locations(cadata=pem(certificate.der).decode())

    _, dialled = shake_hands(server, client, "n.home.thenodes")

    assert dialled.getpeercert(binary_form=True) == certificate.der


def test_a_self_signed_client_is_refused_where_a_ca_is_asked_for(tmp_path: Path) -> None:
    here, there = Identity.generate(), Identity.generate()
    server = context(ssl.PROTOCOL_TLS_SERVER, tmp_path, here, certify(here))
    client = context(ssl.PROTOCOL_TLS_CLIENT, tmp_path, there, certify(there, by_ca=False))

    with pytest.raises(ssl.SSLCertVerificationError, match="self-signed certificate"):
        shake_hands(server, client, "n.home.thenodes")


def test_a_client_without_a_certificate_is_refused_where_one_is_asked_for(tmp_path: Path) -> None:
    here = Identity.generate()
    server = context(ssl.PROTOCOL_TLS_SERVER, tmp_path, here, certify(here))
    client = context(ssl.PROTOCOL_TLS_CLIENT, tmp_path, None, None)

    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        shake_hands(server, client, "n.home.thenodes")


def test_a_certificate_of_another_name_is_refused_where_the_name_is_verified(
    tmp_path: Path,
) -> None:
    here = Identity.generate()
    server = context(ssl.PROTOCOL_TLS_SERVER, tmp_path, here, certify(here))
    client = context(ssl.PROTOCOL_TLS_CLIENT, tmp_path, here, certify(here))

    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(server, client, "other.home.thenodes")
