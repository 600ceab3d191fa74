"""The node key's file."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from thenodes_core.errors import StateDirError
from thenodes_core.security.identity import (
    IDENTITY_FILE,
    Identity,
    load_identity,
    load_or_create_identity,
    write_identity,
)
from thenodes_core.signatures import Purpose, verify

AnyKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def store(folder: Path, key: AnyKey, *, password: bytes | None = None, mode: int = 0o600) -> Path:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password)
    path = folder / IDENTITY_FILE
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )
    path.chmod(mode)
    return path


def test_the_first_run_makes_a_p256_key(tmp_path: Path) -> None:
    key = load_or_create_identity(tmp_path).key

    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)


def test_the_key_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_or_create_identity(tmp_path)
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / IDENTITY_FILE).stat().st_mode) == 0o600


def test_nothing_but_the_key_is_left_behind(tmp_path: Path) -> None:
    load_or_create_identity(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == [IDENTITY_FILE]


def test_a_half_written_key_of_an_earlier_run_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "identity.new").write_bytes(b"half")

    identity = load_or_create_identity(tmp_path)

    assert load_or_create_identity(tmp_path).node_id == identity.node_id


def test_the_id_stays_the_same_from_run_to_run(tmp_path: Path) -> None:
    first = load_or_create_identity(tmp_path)
    second = load_or_create_identity(tmp_path)

    assert (first.node_id, first.fingerprint) == (second.node_id, second.fingerprint)


def test_two_nodes_have_different_ids() -> None:
    assert Identity.generate().node_id != Identity.generate().node_id


def test_the_id_is_the_base32_of_the_fingerprints_first_20_bytes() -> None:
    identity = Identity.generate()
    digest = hashlib.sha256(identity.public_key).digest()

    assert identity.fingerprint == digest.hex()
    assert identity.node_id == base64.b32encode(digest[:20]).decode().lower().rstrip("=")
    assert len(identity.node_id) == 32


def test_an_ed25519_key_is_taken(tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    store(tmp_path, key)

    identity = load_or_create_identity(tmp_path)

    assert identity.node_id == Identity(key).node_id


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o644, 0o610, 0o601])
def test_a_key_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    store(tmp_path, ec.generate_private_key(ec.SECP256R1()), mode=mode)

    with pytest.raises(StateDirError, match=f"mode {mode:04o}, expected 0600"):
        load_or_create_identity(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_file_that_is_no_key_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / IDENTITY_FILE
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(StateDirError, match="not an unencrypted PEM private key"):
        load_or_create_identity(tmp_path)

    assert path.read_bytes() == content


def test_an_encrypted_key_is_refused(tmp_path: Path) -> None:
    store(tmp_path, ec.generate_private_key(ec.SECP256R1()), password=b"secret")

    with pytest.raises(StateDirError, match="unencrypted"):
        load_or_create_identity(tmp_path)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP256K1()),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-384", "secp256k1", "RSA"],
)
def test_a_key_of_another_type_is_refused(tmp_path: Path, key: AnyKey) -> None:
    store(tmp_path, key)

    with pytest.raises(StateDirError, match="expected a P-256 or Ed25519 key"):
        load_or_create_identity(tmp_path)


def test_a_folder_in_the_keys_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / IDENTITY_FILE).mkdir()

    with pytest.raises(StateDirError, match=IDENTITY_FILE):
        load_or_create_identity(tmp_path)


def test_a_folder_that_is_not_there_is_an_error_of_the_state_directory(tmp_path: Path) -> None:
    with pytest.raises(StateDirError, match="cannot write the node key"):
        load_or_create_identity(tmp_path / "none")


def test_a_key_of_an_unknown_algorithm_is_refused(tmp_path: Path) -> None:
    # PKCS8 whose algorithm is the identifier 1.2.3.4.5, which nobody implements.
    algorithm = bytes.fromhex("300606042a030405")
    der = bytes.fromhex("020100") + algorithm + bytes.fromhex("040400010203")
    body = base64.b64encode(bytes([0x30, len(der)]) + der).decode()
    path = tmp_path / IDENTITY_FILE
    path.write_text(f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
    path.chmod(0o600)

    with pytest.raises(StateDirError, match=IDENTITY_FILE):
        load_or_create_identity(tmp_path)


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()],
    ids=["P-256", "Ed25519"],
)
def test_a_signature_is_of_the_key_and_for_its_purpose(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
) -> None:
    identity = Identity(key)

    signature = identity.sign(Purpose.CARD, b"content")

    assert verify(identity.public_key, Purpose.CARD, b"content", signature)
    assert not verify(identity.public_key, Purpose.WRAP, b"content", signature)


def test_a_named_key_is_used_and_no_other_is_made(tmp_path: Path) -> None:
    named, identity = tmp_path / "mine.pem", Identity.generate()
    write_identity(named, identity)

    loaded = load_or_create_identity(tmp_path, named)

    assert loaded.public_key == identity.public_key
    assert not (tmp_path / IDENTITY_FILE).exists()


def test_a_named_key_that_is_not_there_is_an_error_that_says_how_to_make_it(tmp_path: Path) -> None:
    named = tmp_path / "mine.pem"

    with pytest.raises(StateDirError, match=f"thenodes cert new --out-key {named}"):
        load_or_create_identity(tmp_path, named)

    assert list(tmp_path.iterdir()) == []


def test_a_named_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    named = tmp_path / "mine.pem"
    write_identity(named, Identity.generate())
    named.chmod(0o640)

    with pytest.raises(StateDirError, match=r"mine\.pem: others can read.*chmod 600"):
        load_identity(named)


def test_a_written_key_is_its_owners_alone_and_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "mine.pem"
    path.write_text("old")
    path.chmod(0o644)
    identity = Identity.generate()

    write_identity(path, identity)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_identity(path).public_key == identity.public_key


def test_a_key_that_cannot_be_written_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(StateDirError, match=r"mine\.pem: cannot write the node key"):
        write_identity(tmp_path / "none" / "mine.pem", Identity.generate())
