"""What is in a PEM file, whatever it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from thenodes_core.errors import StateDirError
from thenodes_core.security.certificates import make_certificate, pem
from thenodes_core.security.identity import Identity, write_identity
from thenodes_core.security.key_files import public_key_pem, read_key_file
from thenodes_plugin_api import Realm

IDENTITY = Identity.generate()
CERTIFICATE = make_certificate(
    IDENTITY, node_id="n", realm=Realm(name="R", code="r", version="1"), now=1_700_000_000.0
)
PASSWORD = serialization.BestAvailableEncryption(b"secret")


def write(folder: Path, content: bytes) -> Path:
    path = folder / "file"
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def pkcs8(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def test_certificate_and_keys_of_one_pair_have_one_fingerprint(tmp_path: Path) -> None:
    write_identity(tmp_path / "file", IDENTITY)
    private = (tmp_path / "file").read_bytes()
    public = public_key_pem(IDENTITY.public_key).encode()

    blocks = read_key_file(write(tmp_path, pem(CERTIFICATE.der) + public + private))

    assert [block.kind for block in blocks] == ["certificate", "public key", "private key"]
    assert {block.fingerprint for block in blocks} == {IDENTITY.fingerprint}
    assert (blocks[0].subject, blocks[0].not_after) == ("CN=n,O=r", CERTIFICATE.not_after)


def test_text_around_the_blocks_and_blocks_of_other_kinds_are_passed_over(tmp_path: Path) -> None:
    other = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    path = write(tmp_path, b"Bag Attributes\n" + other + pem(CERTIFICATE.der) + b"\x00 the end")

    assert [block.kind for block in read_key_file(path)] == ["certificate"]


@pytest.mark.parametrize(
    "key",
    [ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)],
    ids=["ed25519", "rsa"],
)
def test_keys_that_no_node_would_have_are_told_as_well(
    tmp_path: Path, key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
) -> None:
    (block,) = read_key_file(write(tmp_path, pkcs8(key)))

    assert block.kind == "private key"
    assert len(block.fingerprint) == 64


def test_a_private_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, pkcs8(ed25519.Ed25519PrivateKey.generate()))
    path.chmod(0o640)

    with pytest.raises(StateDirError, match=r"others can read this private key \(mode 0640"):
        read_key_file(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "holds no certificate and no key"),
        (CERTIFICATE.der, "holds no certificate and no key"),
        (b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----", "block 1, CERTIFICATE: dam"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "not a certificate"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "PUBLIC KEY: damaged"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "PRIVATE KEY: damaged"),
        (pem(CERTIFICATE.der) + b"x" * 1024 * 1024, "over 1048576 bytes"),
        (
            IDENTITY.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, PASSWORD
            ),
            "ENCRYPTED PRIVATE KEY: encrypted",
        ),
    ],
    ids=["empty", "der", "base64", "certificate", "public", "private", "large", "encrypted"],
)
def test_what_cannot_be_used_is_told_with_the_file(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    path = write(tmp_path, content)

    with pytest.raises(StateDirError, match=expected) as caught:
        read_key_file(path)

    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(("name", "expected"), [("none", "No such file"), (".", "Is a directory")])
def test_a_file_that_is_not_there_is_told(tmp_path: Path, name: str, expected: str) -> None:
    with pytest.raises(StateDirError, match=expected):
        read_key_file(tmp_path / name)


def test_a_public_key_is_written_as_others_read_it() -> None:
    text = public_key_pem(IDENTITY.public_key)

    assert text.encode() == IDENTITY.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
