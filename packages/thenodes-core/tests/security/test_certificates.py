"""Certificates: made, read, renewed, and vouched for by a CA."""

from __future__ import annotations

import datetime
import ipaddress
import stat
import tempfile
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from thenodes_core.errors import CredentialError, StateDirError
from thenodes_core.security.certificate_profile import dns_name
from thenodes_core.security.certificates import (
    CERTIFICATE_FILE,
    Certificate,
    load_or_renew_certificate,
    make_certificate,
    parse_certificate,
    pem,
    read_certificates,
    verify_chain,
)
from thenodes_core.security.identity import Identity
from thenodes_plugin_api import Realm

NOW = 1_800_000_000.0
DAY = 86_400.0
REALM = Realm("Müller Home", "mueller-home", "1.0")
AnyKey: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

P256 = Identity.generate()
ED25519 = Identity(ed25519.Ed25519PrivateKey.generate())
RSA_KEY = rsa.generate_private_key(65537, 2048)
both = pytest.mark.parametrize("identity", [P256, ED25519], ids=["P-256", "Ed25519"])


def make(identity: Identity = P256, node_id: str = "kitchen", **options: Any) -> Certificate:
    options = {"realm": REALM, "now": NOW, **options}
    return make_certificate(identity, node_id=node_id, **options)


CA_IDENTITY = Identity.generate()
CA = make(CA_IDENTITY, "home ca", ca=True, common_name="Home CA", days=3650)
ISSUER = (CA_IDENTITY, CA)


def loaded(certificate: Certificate) -> x509.Certificate:
    return x509.load_der_x509_certificate(certificate.der)


def built(
    key: AnyKey,
    subject: str,
    signer: AnyKey,
    issuer: str,
    *extensions: tuple[x509.ExtensionType, bool],
    days: float = 365,
) -> Certificate:
    """A certificate of any shape, valid from a day before NOW."""
    start = datetime.datetime.fromtimestamp(NOW - DAY, datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=days))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    made = builder.sign(signer, algorithm)
    return parse_certificate(made.public_bytes(serialization.Encoding.DER))


def key_id(key: AnyKey) -> tuple[x509.ExtensionType, bool]:
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False


def issuer_id(key: AnyKey) -> tuple[x509.ExtensionType, bool]:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False


def may_sign(*, ca: bool = True, path: int | None = None) -> tuple[x509.ExtensionType, bool]:
    return x509.BasicConstraints(ca=ca, path_length=path), True


def named(name: str = "n.home") -> tuple[x509.ExtensionType, bool]:
    return x509.SubjectAlternativeName([x509.DNSName(name)]), False


def openssl_ca(key: AnyKey, subject: str = "ca") -> Certificate:
    """As `openssl req -x509` makes it."""
    return built(key, subject, key, subject, key_id(key), issuer_id(key), may_sign())


@both
def test_a_certificate_names_node_and_realm_and_is_signed_by_its_own_key(
    identity: Identity,
) -> None:
    certificate = make(identity)

    assert certificate.subject == "CN=kitchen,O=mueller-home"
    assert certificate.names == ("kitchen.mueller-home.thenodes",)
    assert certificate.public_key == identity.public_key
    assert certificate.fingerprint == identity.fingerprint
    assert certificate.self_signed
    assert not certificate.is_ca


def test_a_certificate_is_valid_from_an_hour_ago_for_the_days_asked() -> None:
    certificate = make(days=10)

    assert certificate.not_before == NOW - 3600
    assert certificate.not_after == NOW + 10 * DAY


def test_a_common_name_may_be_given_and_is_cut_at_64_characters() -> None:
    assert make(common_name="Kitchen, 2nd").subject == r"CN=Kitchen\, 2nd,O=mueller-home"
    assert make(node_id="i" * 128).subject == f"CN={'i' * 64},O=mueller-home"


def test_the_realm_of_a_subject_is_not_cut() -> None:
    assert make(realm=Realm("long", "r" * 128)).subject == f"CN=kitchen,O={'r' * 128}"


def test_a_certificate_serves_as_server_and_client() -> None:
    extensions = loaded(make()).extensions
    uses = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value

    assert set(uses) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature


def test_a_ca_may_sign_and_says_so() -> None:
    uses = loaded(CA).extensions.get_extension_for_class(x509.KeyUsage).value

    assert CA.is_ca
    assert CA.self_signed
    assert (uses.key_cert_sign, uses.crl_sign, uses.digital_signature) == (True, True, False)


def test_a_certificate_of_a_ca_is_not_self_signed_and_ends_with_it() -> None:
    leaf = make(issuer=ISSUER, days=9999)

    assert not leaf.self_signed
    assert loaded(leaf).issuer == loaded(CA).subject
    assert leaf.not_after == CA.not_after


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"days": 0}, "at least a day"),
        ({"days": 10**7}, "cannot be made"),
        ({"now": 1e30}, "cannot be made"),
        ({"common_name": ""}, "cannot be made"),
        ({"issuer": (P256, CA)}, "the issuer's certificate is of the key"),
        ({"issuer": (P256, make())}, "is not a CA's"),
        ({"identity": ED25519, "ca": True}, "has to be P-256"),
        ({"issuer": (ED25519, CA)}, "has to be P-256"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_no_certificate_can_be_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(CredentialError, match=problem):
        make(**options)


@pytest.mark.parametrize(
    ("node_id", "name"),
    [
        ("a_b-C.d", "a_b-C.d.mueller-home.thenodes"),
        ("x" * 63, f"{'x' * 63}.mueller-home.thenodes"),
        ("x" * 64, "id-"),
        (".a", "id-"),
        ("a..b", "id-"),
        ("a.", "id-"),
    ],
)
def test_an_id_that_is_no_dns_name_is_stood_in_for(node_id: str, name: str) -> None:
    made = dns_name(node_id, REALM)

    assert made == name or (name == "id-" and made.startswith("id-"))
    assert made.endswith(".mueller-home.thenodes")


def test_a_name_of_too_many_labels_is_shortened_by_the_id_first() -> None:
    labels = ".".join(["x" * 63] * 2)
    code = ".".join(["c" * 63] * 4)

    assert dns_name(labels, Realm("r", "c" * 63)).startswith("x")
    id_only = dns_name(labels, Realm("r", f"{'c' * 63}.{'c' * 63}"))
    neither = dns_name(labels, Realm("r", code))
    assert id_only.startswith("id-")
    assert id_only.endswith(f".{'c' * 63}.thenodes")
    assert neither.startswith("id-")
    assert ".realm-" in neither
    assert max(len(id_only), len(neither)) <= 253


@given(
    st.text("abcXYZ019._-", min_size=1, max_size=128),
    st.text("abc019-", max_size=200) | st.text(max_size=20),
)
def test_every_name_is_a_dns_name(node_id: str, code: str) -> None:
    name = dns_name(node_id, Realm("r", code))

    assert len(name) <= 253
    assert all(1 <= len(label) <= 63 and label.isascii() for label in name.split("."))


@given(st.lists(st.text("ab.-", min_size=1, max_size=128), min_size=2, max_size=2, unique=True))
def test_nodes_of_different_ids_have_different_names(ids: list[str]) -> None:
    assert dns_name(ids[0], REALM) != dns_name(ids[1], REALM)


@both
def test_a_made_certificate_is_read_as_it_was_made(identity: Identity) -> None:
    certificate = make(identity)

    assert parse_certificate(certificate.der) == certificate


def test_addresses_are_among_the_names() -> None:
    address = x509.IPAddress(ipaddress.ip_address("192.0.2.1"))
    names = x509.SubjectAlternativeName([x509.DNSName("a"), address, x509.DNSName("b")])

    assert built(P256.key, "n", P256.key, "n", (names, False)).names == ("a", "b", "192.0.2.1")


def test_a_name_like_the_issuers_makes_no_self_signed_certificate() -> None:
    assert not built(P256.key, "same", CA_IDENTITY.key, "same").self_signed


def test_another_issuers_name_does_not_hide_that_the_key_signed_itself() -> None:
    assert built(P256.key, "n", P256.key, "some ca").self_signed


def test_a_key_that_no_node_has_is_read_all_the_same() -> None:
    assert openssl_ca(RSA_KEY).self_signed


def test_an_oversized_certificate_is_refused_unread() -> None:
    with pytest.raises(CredentialError, match="8193 bytes: at most 8192"):
        parse_certificate(bytes(8193))


def test_a_certificate_with_bytes_after_it_is_refused() -> None:
    with pytest.raises(CredentialError, match="not a certificate"):
        parse_certificate(make().der + b"\x00")


def test_a_serial_number_that_is_deprecated_prints_nothing() -> None:
    der = bytearray(make().der)
    at = der.index(b"\x02\x14") + 2
    der[at] |= 0x80  # Negative.

    with pytest.raises(CredentialError, match="serial number"):
        parse_certificate(bytes(der))


@given(st.binary(max_size=300))
def test_bytes_of_chance_are_refused_with_our_error_alone(der: bytes) -> None:
    with pytest.raises(CredentialError):
        parse_certificate(der)


SHAPES = [
    make().der,
    make(ED25519).der,
    make(issuer=ISSUER).der,
    CA.der,
    openssl_ca(RSA_KEY).der,
]


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(SHAPES), st.integers(0, 1000), st.integers(0, 4), st.binary(max_size=4))
def test_of_a_damaged_certificate_only_our_error_comes_and_no_chain(
    whole: bytes, place: int, removed: int, inserted: bytes
) -> None:
    place %= len(whole)
    damaged = whole[:place] + inserted + whole[place + removed :]

    try:
        certificate = parse_certificate(damaged)
    except CredentialError:
        return
    reason = verify_chain(certificate, [CA], [certificate], now=NOW)
    assert (reason is None) == (damaged == SHAPES[2])
    if reason is not None:
        assert reason.isprintable()


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(SHAPES), st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 255))))
def test_of_a_certificate_with_bytes_changed_only_our_error_comes(
    whole: bytes, changes: list[tuple[int, int]]
) -> None:
    damaged = bytearray(whole)
    for place, value in changes:
        damaged[place % len(whole)] = value

    try:
        certificate = parse_certificate(bytes(damaged))
    except CredentialError:
        return
    verify_chain(certificate, [CA, certificate], [certificate], now=NOW)


@both
def test_a_certificate_of_a_ca_is_vouched_for(identity: Identity) -> None:
    assert verify_chain(make(identity, issuer=ISSUER), [CA], [], now=NOW) is None


@pytest.mark.parametrize("node_id", ["a_b", ".a..b.", "x" * 128, "-", "A"])
def test_every_node_id_can_be_vouched_for(node_id: str) -> None:
    assert verify_chain(make(node_id=node_id, issuer=ISSUER), [CA], [], now=NOW) is None


def test_an_intermediate_leads_to_the_ca() -> None:
    middle = Identity.generate()
    certificate = make(middle, "middle", ca=True, issuer=ISSUER)
    leaf = make(issuer=(middle, certificate))

    assert verify_chain(leaf, [CA], [certificate], now=NOW) is None
    assert verify_chain(leaf, [CA], [], now=NOW) == "no known CA issued it"


def test_without_a_ca_nobody_vouches() -> None:
    assert verify_chain(make(issuer=ISSUER), [], [], now=NOW) == "no CA is known"


def test_a_ca_of_the_same_name_with_another_key_does_not_vouch() -> None:
    other = Identity.generate()
    impostor = make(other, "home ca", ca=True, common_name="Home CA", days=3650)
    leaf = make(issuer=(other, impostor))

    assert verify_chain(leaf, [CA], [impostor], now=NOW) is not None


def test_a_self_signed_certificate_vouches_for_nobody_and_not_for_itself() -> None:
    own = make()

    assert verify_chain(own, [CA], [], now=NOW) == "no known CA issued it"
    assert verify_chain(own, [own], [], now=NOW) == "no CA is known"


def test_a_certificate_that_is_no_ca_cannot_issue() -> None:
    leaf = make(issuer=ISSUER)
    below = built(ED25519.key, "below", P256.key, "kitchen", named(), issuer_id(P256.key))

    assert verify_chain(below, [CA], [leaf], now=NOW) is not None


def test_a_ca_does_not_pass_for_a_node() -> None:
    assert verify_chain(CA, [CA], [], now=NOW) is not None


@pytest.mark.parametrize("now", [NOW - 3601, NOW + 366 * DAY])
def test_outside_its_validity_nobody_vouches(now: float) -> None:
    leaf = make(issuer=ISSUER)
    valid_long = openssl_ca(CA_IDENTITY.key)
    assert verify_chain(leaf, [CA], [], now=NOW) is None

    assert "not valid at" in str(verify_chain(leaf, [CA, valid_long], [], now=now))


def test_more_than_eight_intermediates_are_refused() -> None:
    leaf = make(issuer=ISSUER)

    assert verify_chain(leaf, [CA], [CA] * 8, now=NOW) is None
    assert verify_chain(leaf, [CA], [CA] * 9, now=NOW) == ("9 intermediate certificates: at most 8")


@pytest.mark.parametrize(
    "ca_key",
    [CA_IDENTITY.key, ec.generate_private_key(ec.SECP384R1()), RSA_KEY],
    ids=["P-256", "P-384", "RSA"],
)
@both
def test_what_openssl_makes_by_default_is_vouched_for(identity: Identity, ca_key: AnyKey) -> None:
    ca = openssl_ca(ca_key)

    # OpenSSL 3.2 adds the two key ids of itself, earlier ones nothing but what is asked.
    for extensions in ([named()], [named(), key_id(identity.key), issuer_id(ca_key)]):
        leaf = built(identity.key, "n", ca_key, "ca", *extensions)
        assert verify_chain(leaf, [ca], [], now=NOW) is None


def test_the_key_of_a_ca_cannot_be_ed25519() -> None:
    ca = openssl_ca(ED25519.key)
    leaf = built(P256.key, "n", ED25519.key, "ca", named())

    assert "Forbidden public key algorithm" in str(verify_chain(leaf, [ca], [], now=NOW))


@pytest.mark.parametrize(
    "use",
    [
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    ],
)
def test_a_certificate_for_one_side_of_tls_will_do(use: x509.ObjectIdentifier) -> None:
    uses = (x509.ExtendedKeyUsage([use]), False)
    leaf = built(P256.key, "n", CA_IDENTITY.key, "ca", named(), uses)

    assert verify_chain(leaf, [openssl_ca(CA_IDENTITY.key)], [], now=NOW) is None


def test_a_certificate_for_another_use_will_not_do() -> None:
    uses = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)
    leaf = built(P256.key, "n", CA_IDENTITY.key, "ca", named(), uses)

    assert "for neither servers nor clients" in str(
        verify_chain(leaf, [openssl_ca(CA_IDENTITY.key)], [], now=NOW)
    )


def test_a_certificate_without_a_subject_alternative_name_will_not_do() -> None:
    leaf = built(P256.key, "n", CA_IDENTITY.key, "ca")

    assert "2.5.29.17" in str(verify_chain(leaf, [openssl_ca(CA_IDENTITY.key)], [], now=NOW))


def test_a_ca_whose_use_is_not_to_sign_does_not_vouch() -> None:
    key = CA_IDENTITY.key
    use = loaded(make()).extensions.get_extension_for_class(x509.KeyUsage).value
    ca = built(key, "ca", key, "ca", may_sign(), (use, True))
    leaf = built(P256.key, "n", key, "ca", named())

    assert "does not let it sign" in str(verify_chain(leaf, [ca], [], now=NOW))


def test_the_length_of_a_path_is_heeded() -> None:
    key, middle = CA_IDENTITY.key, Identity.generate().key
    between = built(middle, "middle", key, "ca", may_sign(), key_id(middle), issuer_id(key))
    leaf = built(P256.key, "n", middle, "middle", named(), issuer_id(middle))

    for path, reason in ((1, None), (0, "path length constraint violated")):
        ca = built(key, "ca", key, "ca", may_sign(path=path), key_id(key))
        assert verify_chain(leaf, [ca], [between], now=NOW) == reason


def test_the_names_that_a_ca_may_vouch_for_are_heeded() -> None:
    key = CA_IDENTITY.key
    only = (x509.NameConstraints([x509.DNSName("home.thenodes")], None), True)
    ca = built(key, "ca", key, "ca", may_sign(), only)

    inside = built(P256.key, "n", key, "ca", named("n.home.thenodes"))
    outside = built(P256.key, "n", key, "ca", named("n.work.thenodes"))

    assert verify_chain(inside, [ca], [], now=NOW) is None
    assert verify_chain(outside, [ca], [], now=NOW) is not None


def test_several_certificates_of_a_file_are_read_in_order(tmp_path: Path) -> None:
    leaf, path = make(issuer=ISSUER), tmp_path / "chain.pem"
    path.write_bytes(b"a comment\n" + pem(leaf.der) + pem(CA.der))

    assert read_certificates(path) == [leaf, CA]


def test_pem_is_as_others_write_it() -> None:
    assert pem(CA.der) == loaded(CA).public_bytes(serialization.Encoding.PEM)


def test_a_private_key_beside_a_certificate_is_passed_over(tmp_path: Path) -> None:
    key = P256.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / "both.pem").write_bytes(key + pem(CA.der))

    assert read_certificates(tmp_path / "both.pem") == [CA]


DAMAGED = [
    b"",
    b"nonsense",
    b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    b"-----BEGIN CERTIFICATE-----\n???\n-----END CERTIFICATE-----\n",
    pem(make().der)[:-60],
    b"\xff" * 100,
]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_file_without_certificates_is_an_error_with_its_name(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "x.pem").write_bytes(content)

    with pytest.raises(StateDirError, match=r"x\.pem: .*BEGIN CERTIFICATE"):
        read_certificates(tmp_path / "x.pem")


def test_a_file_that_is_not_there_or_too_large_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(StateDirError, match=r"x\.pem: cannot be read: No such file"):
        read_certificates(tmp_path / "x.pem")
    (tmp_path / "x.pem").write_bytes(bytes(2**20 + 1))
    with pytest.raises(StateDirError, match=r"x\.pem: over 1048576 bytes"):
        read_certificates(tmp_path / "x.pem")


@settings(deadline=None)
@given(st.binary(max_size=200) | st.binary(max_size=60).map(pem))
def test_of_any_file_only_our_error_comes(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.pem"
        path.write_bytes(content)
        with pytest.raises(StateDirError):
            read_certificates(path)


def own(
    path: Path,
    identity: Identity = P256,
    node_id: str = "kitchen",
    *,
    realm: Realm = REALM,
    now: float = NOW,
) -> tuple[Certificate, bool]:
    file = path / CERTIFICATE_FILE
    return load_or_renew_certificate(file, identity, node_id=node_id, realm=realm, now=now)


def test_the_first_run_makes_a_certificate_and_the_next_one_uses_it(tmp_path: Path) -> None:
    first, made = own(tmp_path)
    second, again = own(tmp_path)

    assert (made, again) == (True, False)
    assert first == second
    assert [path.name for path in tmp_path.iterdir()] == [CERTIFICATE_FILE]
    assert not stat.S_IMODE((tmp_path / CERTIFICATE_FILE).stat().st_mode) & 0o022


def test_a_certificate_is_renewed_when_under_a_third_of_its_life_remains(tmp_path: Path) -> None:
    first, _ = own(tmp_path)
    third = (first.not_after - first.not_before) / 3

    assert own(tmp_path, now=first.not_after - third - 1) == (first, False)
    second, made = own(tmp_path, now=first.not_after - third)
    assert made
    assert second.not_after == first.not_after - third + 365 * DAY


def test_a_certificate_of_the_future_is_made_anew(tmp_path: Path) -> None:
    own(tmp_path, now=NOW + 2 * DAY)

    assert own(tmp_path)[1]


@pytest.mark.parametrize(
    "other",
    [
        {"identity": ED25519},
        {"node_id": "cellar"},
        {"realm": Realm("work", "work")},
    ],
    ids=["key", "node id", "realm"],
)
def test_a_certificate_of_another_is_made_anew(tmp_path: Path, other: dict[str, Any]) -> None:
    own(tmp_path)

    certificate, made = own(tmp_path, **other)

    assert made
    assert own(tmp_path, **other) == (certificate, False)


def test_a_renewed_certificate_keeps_its_common_name(tmp_path: Path) -> None:
    certificate = make(common_name="The Kitchen")
    (tmp_path / CERTIFICATE_FILE).write_bytes(pem(certificate.der))
    assert own(tmp_path) == (certificate, False)

    renewed, made = own(tmp_path, now=NOW + 300 * DAY)

    assert made
    assert renewed.subject == certificate.subject


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_certificate_is_made_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CERTIFICATE_FILE).write_bytes(content)

    assert own(tmp_path)[1]
    assert not own(tmp_path)[1]


def test_a_certificate_that_a_ca_issued_is_never_replaced(tmp_path: Path) -> None:
    leaf = make(node_id="other", issuer=ISSUER)
    (tmp_path / CERTIFICATE_FILE).write_bytes(pem(leaf.der) + pem(CA.der))

    assert own(tmp_path, now=NOW + 9999 * DAY) == (leaf, False)


def test_a_certificate_of_a_ca_that_is_called_like_it_is_never_replaced(tmp_path: Path) -> None:
    leaf = built(P256.key, "same", CA_IDENTITY.key, "same", named())
    (tmp_path / CERTIFICATE_FILE).write_bytes(pem(leaf.der))

    assert own(tmp_path) == (leaf, False)


def test_the_nodes_own_ca_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / CERTIFICATE_FILE).write_bytes(pem(CA.der))

    assert own(tmp_path, CA_IDENTITY, now=NOW + 9999 * DAY) == (CA, False)


def test_a_certificate_that_a_ca_issued_for_another_key_is_an_error(tmp_path: Path) -> None:
    content = pem(make(ED25519, issuer=ISSUER).der)
    (tmp_path / CERTIFICATE_FILE).write_bytes(content)

    with pytest.raises(StateDirError, match=f"{CERTIFICATE_FILE}: .*{ED25519.fingerprint}"):
        own(tmp_path)

    assert (tmp_path / CERTIFICATE_FILE).read_bytes() == content


def test_a_certificate_that_cannot_be_read_or_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StateDirError, match="cannot write the certificate"):
        own(tmp_path / "none")
    (tmp_path / CERTIFICATE_FILE).mkdir()
    with pytest.raises(StateDirError, match="cannot be read: Is a directory"):
        own(tmp_path)
