"""Signatures: one key, one purpose, one content."""

from __future__ import annotations

import hashlib
from typing import TypeAlias

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from thenodes_core.errors import CredentialError
from thenodes_core.signatures import PrivateKey, Purpose, check_public_key, sign, verify

AnyPublicKey: TypeAlias = (
    ec.EllipticCurvePublicKey
    | ed25519.Ed25519PublicKey
    | ed448.Ed448PublicKey
    | rsa.RSAPublicKey
    | x25519.X25519PublicKey
)

P256 = ec.generate_private_key(ec.SECP256R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()
# The order of P-256's group (SEC 2, 2.4.2).
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

both = pytest.mark.parametrize("key", [P256, ED25519], ids=["P-256", "Ed25519"])
keys = st.sampled_from([P256, ED25519])


def spki(key: AnyPublicKey) -> bytes:
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def public(key: PrivateKey) -> bytes:
    return spki(key.public_key())


def compressed(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The same key with its point compressed, which is another SubjectPublicKeyInfo."""
    full = public(key)
    point = key.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
    )
    algorithm = full[2 : len(full) - 68]
    bits = b"\x03" + bytes([len(point) + 1]) + b"\x00" + point
    return b"\x30" + bytes([len(algorithm) + len(bits)]) + algorithm + bits


@both
@pytest.mark.parametrize("purpose", Purpose)
def test_a_signature_verifies_for_its_key_purpose_and_content(
    key: PrivateKey, purpose: Purpose
) -> None:
    signature = sign(key, purpose, b"content")

    assert len(signature) == 64
    assert verify(public(key), purpose, b"content", signature)


@both
def test_a_signature_for_one_purpose_is_none_for_another(key: PrivateKey) -> None:
    for made_for in Purpose:
        signature = sign(key, made_for, b"content")
        good = [one for one in Purpose if verify(public(key), one, b"content", signature)]
        assert good == [made_for]


def test_the_purposes_are_the_words_of_the_wire_protocol() -> None:
    assert set(Purpose) == {"handshake-dialer", "handshake-acceptor", "card", "wrap", "plugin"}


@both
def test_a_signature_of_one_key_is_none_of_another(key: PrivateKey) -> None:
    signature = sign(key, Purpose.CARD, b"content")

    for other in (ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()):
        assert not verify(public(other), Purpose.CARD, b"content", signature)


@both
def test_a_signature_of_other_content_is_refused(key: PrivateKey) -> None:
    signature = sign(key, Purpose.CARD, b"content")

    assert not verify(public(key), Purpose.CARD, b"Content", signature)
    assert not verify(public(key), Purpose.CARD, b"", signature)


def test_signed_are_domain_purpose_and_the_contents_digest() -> None:
    signed = b"thenodes/v1/wrap\x00" + hashlib.sha256(b"content").digest()

    ED25519.public_key().verify(sign(ED25519, Purpose.WRAP, b"content"), signed)


def test_a_p256_signature_is_r_and_s() -> None:
    signed = b"thenodes/v1/wrap\x00" + hashlib.sha256(b"content").digest()
    r, s = decode_dss_signature(P256.sign(signed, ec.ECDSA(hashes.SHA256())))

    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")

    assert verify(public(P256), Purpose.WRAP, b"content", signature)


@both
@given(data=st.data(), content=st.binary(max_size=64))
def test_a_signature_with_one_bit_changed_is_refused(
    key: PrivateKey, data: st.DataObject, content: bytes
) -> None:
    signature = bytearray(sign(key, Purpose.CARD, content))
    bit = data.draw(st.integers(0, 511))
    signature[bit // 8] ^= 1 << bit % 8

    assert not verify(public(key), Purpose.CARD, content, bytes(signature))


@both
@given(signature=st.binary(max_size=200) | st.binary(min_size=64, max_size=64))
def test_bytes_of_chance_are_no_signature(key: PrivateKey, signature: bytes) -> None:
    assert verify(public(key), Purpose.CARD, b"content", signature) is False


@both
@pytest.mark.parametrize("half", [0, 1, ORDER - 1, ORDER, 2**256 - 1])
def test_halves_at_the_edges_are_no_signature(key: PrivateKey, half: int) -> None:
    edge = half.to_bytes(32, "big")
    good = sign(key, Purpose.CARD, b"content")

    for signature in (edge + edge, edge + good[32:], good[:32] + edge):
        assert verify(public(key), Purpose.CARD, b"content", signature) is False


@both
@pytest.mark.parametrize("length", [0, 63, 65, 128])
def test_a_signature_of_another_length_is_refused(key: PrivateKey, length: int) -> None:
    signature = (sign(key, Purpose.CARD, b"content") * 2)[:length]

    assert verify(public(key), Purpose.CARD, b"content", signature) is False


def test_a_p256_signature_in_der_is_refused() -> None:
    signed = b"thenodes/v1/card\x00" + hashlib.sha256(b"content").digest()
    signature = P256.sign(signed, ec.ECDSA(hashes.SHA256()))

    assert not verify(public(P256), Purpose.CARD, b"content", signature)


@both
def test_a_key_of_this_protocol_is_taken(key: PrivateKey) -> None:
    check_public_key(public(key))


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048).public_key(),
        ec.generate_private_key(ec.SECP384R1()).public_key(),
        ec.generate_private_key(ec.SECP256K1()).public_key(),
        ed448.Ed448PrivateKey.generate().public_key(),
        x25519.X25519PrivateKey.generate().public_key(),
    ],
    ids=["RSA", "P-384", "secp256k1", "Ed448", "X25519"],
)
def test_a_key_of_another_kind_is_refused(key: AnyPublicKey) -> None:
    with pytest.raises(CredentialError, match="expected a P-256 or Ed25519 key"):
        check_public_key(spki(key))
    with pytest.raises(CredentialError, match="expected a P-256 or Ed25519 key"):
        verify(spki(key), Purpose.CARD, b"content", bytes(64))


def test_a_key_in_another_encoding_is_refused() -> None:
    other = compressed(P256)
    assert serialization.load_der_public_key(other) == P256.public_key()

    with pytest.raises(CredentialError, match="canonical"):
        check_public_key(other)
    with pytest.raises(CredentialError, match="canonical"):
        verify(other, Purpose.CARD, b"content", sign(P256, Purpose.CARD, b"content"))


@both
def test_a_key_with_bytes_after_it_is_refused(key: PrivateKey) -> None:
    with pytest.raises(CredentialError):
        check_public_key(public(key) + b"\x00")


def test_a_point_that_is_not_on_the_curve_is_refused() -> None:
    off = bytearray(public(P256))
    off[-1] ^= 1

    with pytest.raises(CredentialError):
        check_public_key(bytes(off))


def test_an_oversized_key_is_refused_unread() -> None:
    with pytest.raises(CredentialError, match="513 bytes: at most 512"):
        check_public_key(bytes(513))


@given(public_key=st.binary(max_size=600))
def test_of_bytes_of_chance_for_a_key_only_our_error_comes(public_key: bytes) -> None:
    with pytest.raises(CredentialError):
        verify(public_key, Purpose.CARD, b"content", bytes(64))


@settings(deadline=None)
@given(
    key=keys,
    place=st.integers(0, 200),
    removed=st.integers(0, 4),
    inserted=st.binary(max_size=4),
    signature=st.binary(min_size=64, max_size=64),
)
def test_of_a_damaged_key_comes_a_refusal_and_no_other_error(
    key: PrivateKey, place: int, removed: int, inserted: bytes, signature: bytes
) -> None:
    whole = public(key)
    place %= len(whole) + 1
    damaged = whole[:place] + inserted + whole[place + removed :]

    try:
        assert verify(damaged, Purpose.CARD, b"content", signature) is False
    except CredentialError:
        assert damaged != whole
