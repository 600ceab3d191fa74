"""A directory of keys: whatever lies in it, the good files count and the bad ones are told."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thenodes_core.errors import StateDirError
from thenodes_core.node_id import fingerprint
from thenodes_core.security.certificates import make_certificate, pem
from thenodes_core.security.identity import Identity
from thenodes_core.store.key_directory import MOST_KEYS, KeyDirectory, only_key
from thenodes_plugin_api import Realm

NOW = 1_800_000_000.0
KEYS = [Identity.generate() for _ in range(3)]
A, B, C = (key.fingerprint for key in KEYS)


def key_pem(identity: Identity) -> bytes:
    return identity.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def certificate_pem(identity: Identity) -> bytes:
    return pem(make_certificate(identity, node_id="kitchen", realm=Realm(), now=NOW).der)


PEM_A, PEM_B, PEM_C = (key_pem(key) for key in KEYS)
CERTIFICATE = certificate_pem(KEYS[2])
DER = serialization.Encoding.DER
# The version of a certificate, as the field [0] of its DER.
V3, V6 = b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05"


@pytest.fixture
def keys(tmp_path: Path) -> KeyDirectory:
    return KeyDirectory("trusted", tmp_path)


def put(keys: KeyDirectory, name: str, content: bytes) -> Path:
    path = keys.path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["x.pem", "x.crt", "x.cer", "X.PEM", f"{B}.pem", "a b\n.pem"])
def test_a_key_counts_whatever_its_file_is_called(keys: KeyDirectory, name: str) -> None:
    path = put(keys, name, PEM_A)

    assert keys.load() == []
    assert dict(keys.keys) == {A: path}


@pytest.mark.parametrize("name", ["x", "x.txt", "x.pem.new", "x.pem~", "x.key"])
def test_other_files_do_not_count(keys: KeyDirectory, name: str) -> None:
    put(keys, name, PEM_A)

    assert keys.load() == []
    assert not keys.keys


def test_a_certificate_counts_by_its_key(keys: KeyDirectory) -> None:
    put(keys, "x.pem", certificate_pem(KEYS[0]))

    assert keys.load() == []
    assert list(keys.keys) == [A]


def test_a_key_of_another_kind_counts_too(keys: KeyDirectory) -> None:
    key = rsa.generate_private_key(65537, 2048).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    put(keys, "x.pem", key.public_bytes(serialization.Encoding.PEM, form))

    keys.load()

    assert list(keys.keys) == [fingerprint(key.public_bytes(serialization.Encoding.DER, form))]


def test_every_block_of_a_file_counts(keys: KeyDirectory) -> None:
    private = KEYS[2].key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    text = b"subject: kitchen\n" + PEM_A + b"and\r\n" + private + certificate_pem(KEYS[1])
    put(keys, "x.pem", text)

    assert keys.load() == []
    assert set(keys.keys) == {A, B}


def test_a_missing_directory_is_an_empty_one(tmp_path: Path) -> None:
    keys = KeyDirectory("trusted", tmp_path / "none" / "none")

    assert keys.load() == []
    assert not keys.keys
    assert not keys.changed()
    assert not (tmp_path / "none").exists()


def _no_file(path: Path) -> None:
    path.mkdir()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def _link_to_nothing(path: Path) -> None:
    path.symlink_to(path.parent / "nothing")


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _large(path: Path) -> None:
    path.write_bytes(PEM_B + b"#" * (64 * 1024 + 1 - len(PEM_B)))


def _garbage(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(5000))


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _der(path: Path) -> None:
    path.write_bytes(KEYS[1].public_key)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_no_file, "Is a directory"),
        (_pipe, "not a regular file"),
        (_link_to_itself, "Too many levels of symbolic links"),
        (_link_to_nothing, "No such file"),
        (_endless, "not a regular file"),
        (_large, "over 65536 bytes"),
        (_garbage, "expected a certificate or public key as PEM text"),
        (_empty, "expected a certificate or public key as PEM text"),
        (_der, "expected a certificate or public key as PEM text"),
    ],
)
def test_what_cannot_be_read_is_told_and_left_out(
    keys: KeyDirectory, make: Callable[[Path], None], reason: str
) -> None:
    put(keys, "good.pem", PEM_A)
    make(keys.path / "bad.pem")

    problems = keys.load()

    assert list(keys.keys) == [A]
    assert len(problems) == 1
    assert problems[0].startswith(f"{keys.path / 'bad.pem'}: left out: ")
    assert reason in problems[0]
    assert keys.load() == problems


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_told_and_left_out(keys: KeyDirectory) -> None:
    put(keys, "bad.pem", PEM_A).chmod(0)

    problems = keys.load()

    assert "bad.pem: left out: Permission denied" in problems[0]


def test_a_directory_among_the_files_costs_no_descriptor(keys: KeyDirectory) -> None:
    (keys.path / "x.pem").mkdir()
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(10):
        keys.load()

    assert len(os.listdir("/proc/self/fd")) == before


def _block(label: str, body: bytes) -> bytes:
    return f"-----BEGIN {label}-----\n".encode() + body + f"-----END {label}-----\n".encode()


@pytest.mark.parametrize(
    "content",
    [
        _block("CERTIFICATE", b"AAAA\n"),
        _block("PUBLIC KEY", b"!!!!\n"),
        _block("CERTIFICATE", PEM_B.split(b"-----")[2]),
        _block("PUBLIC KEY", b""),
        b"-----BEGIN RSA-----\nAAAA\n-----END PUBLIC KEY-----\n",
        _block("PUBLIC KEY", b"\xff\xfe\x00\n"),
        PEM_C.replace(b"BEGIN PUBLIC KEY", b"BEGIN PUBLIC XXX"),
        PEM_C.replace(b"KEY-----\nM", b"KEY-----\n!M"),
        pem(x509.load_pem_x509_certificate(CERTIFICATE).public_bytes(DER).replace(V3, V6)),
    ],
    ids=[
        "short",
        "no base64",
        "no certificate",
        "empty",
        "labels differ",
        "binary",
        "labels differ by little",
        "not all base64",
        "unknown version",
    ],
)
def test_a_damaged_block_costs_no_other(keys: KeyDirectory, content: bytes) -> None:
    put(keys, "x.pem", PEM_A + content + PEM_B)

    problems = keys.load()

    assert set(keys.keys) == {A, B}
    assert problems == [
        f"{keys.path / 'x.pem'}: 1 of 3 certificates or keys in it are damaged",
    ]


@given(content=st.binary(max_size=400) | st.from_regex(rb"(-----(BEGIN|END) [A-Z ]*-----\n?)*"))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_no_content_raises(keys: KeyDirectory, content: bytes) -> None:
    put(keys, "x.pem", content)

    keys.load()

    assert not keys.keys


def test_many_beginnings_without_an_end_are_read_at_once(keys: KeyDirectory) -> None:
    put(keys, "x.pem", b"-----BEGIN CERTIFICATE-----\n" * 2300)

    assert len(keys.load()) == 1


def test_a_certificate_that_cryptography_warns_of_does_not_raise(keys: KeyDirectory) -> None:
    certificate = x509.load_pem_x509_certificate(certificate_pem(KEYS[0]))
    der = certificate.public_bytes(serialization.Encoding.DER)
    serial = certificate.serial_number.to_bytes(20, "big").lstrip(b"\0")
    negative = bytes([serial[0] | 0x80]) + serial[1:]
    put(keys, "x.pem", pem(der.replace(serial, negative)))

    keys.load()


def test_names_that_a_terminal_would_obey_are_escaped(keys: KeyDirectory) -> None:
    put(keys, "\x1b[2J\u202e.pem", b"")

    assert keys.load()[0].isprintable()


def test_a_name_that_is_no_text_is_told(keys: KeyDirectory) -> None:
    (keys.path / os.fsdecode(b"\xff.pem")).write_bytes(b"")

    assert "\\udcff.pem: left out" in keys.load()[0]


def test_of_ten_thousand_files_the_first_by_name_count(keys: KeyDirectory) -> None:
    put(keys, "source", PEM_A)
    for number in range(10_000):
        os.link(keys.path / "source", keys.path / f"{number:05}.pem")
    put(keys, "99999.pem", PEM_B)

    problems = keys.load()

    assert list(keys.keys) == [A]
    assert problems == [f"{keys.path}: of more than {MOST_KEYS} files the rest does not count"]
    assert keys.is_full


def test_of_too_many_files_the_first_by_name_count(
    keys: KeyDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thenodes_core.store.key_directory.MOST_KEYS", 1)
    for number in range(20, 0, -1):
        put(keys, f"{number:02}.pem", PEM_A if number > 1 else PEM_B)

    keys.load()

    assert list(keys.keys) == [B]


def test_a_directory_is_full_of_keys_as_well_as_of_files(
    keys: KeyDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thenodes_core.store.key_directory.MOST_KEYS", 2)
    put(keys, "x.pem", PEM_A)
    keys.load()
    assert not keys.is_full

    put(keys, "x.pem", PEM_A + PEM_B)
    keys.load()

    assert keys.is_full


def test_of_too_many_keys_the_first_count(
    keys: KeyDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thenodes_core.store.key_directory.MOST_KEYS", 2)
    put(keys, "x.pem", PEM_A + PEM_B + PEM_C)

    problems = keys.load()

    assert list(keys.keys) == [A, B]
    assert problems == [f"{keys.path}: 1 keys beyond 2 do not count"]


def test_a_path_that_is_no_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    problems = KeyDirectory("trusted", tmp_path / "file").load()

    assert problems == [f"{tmp_path / 'file'}: cannot be read: Not a directory"]


def test_a_directory_that_links_to_itself_is_told(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")

    problems = KeyDirectory("trusted", tmp_path / "loop").load()

    assert "Too many levels of symbolic links" in problems[0]


def test_a_path_that_is_none_is_told(tmp_path: Path) -> None:
    keys = KeyDirectory("trusted", tmp_path / "a\0b")

    assert "cannot be read" in keys.load()[0]
    with pytest.raises(StateDirError, match="cannot be written"):
        keys.add(A, PEM_A)


def test_what_was_read_goes_on_counting_while_the_directory_cannot_be_listed(
    tmp_path: Path,
) -> None:
    keys = KeyDirectory("rejected", tmp_path / "keys")
    keys.add(A, PEM_A)
    (tmp_path / "keys").rename(tmp_path / "moved")
    (tmp_path / "keys").write_bytes(b"")

    assert "Not a directory" in keys.load()[0]
    assert list(keys.keys) == [A]
    assert not keys.changed()


def test_a_directory_that_vanished_is_empty(tmp_path: Path) -> None:
    keys = KeyDirectory("trusted", tmp_path / "keys")
    keys.add(A, PEM_A)
    (tmp_path / "keys").rename(tmp_path / "moved")

    assert keys.changed()
    assert keys.load() == []
    assert not keys.keys


@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_a_directory_that_others_can_write_to_is_told(keys: KeyDirectory, mode: int) -> None:
    put(keys, "x.pem", PEM_A)
    keys.path.chmod(mode)

    problems = keys.load()

    assert "others can write to this directory" in problems[0]
    assert f"chmod go-w {keys.path}" in problems[0]
    assert list(keys.keys) == [A]


def test_nothing_changed_after_reading(keys: KeyDirectory) -> None:
    put(keys, "x.pem", PEM_A)
    (keys.path / "loop.pem").symlink_to("loop.pem")
    keys.load()

    assert not keys.changed()


def test_what_others_do_is_a_change(keys: KeyDirectory) -> None:
    path = put(keys, "x.pem", PEM_A)
    assert keys.changed()
    keys.load()

    put(keys, "x.pem", PEM_B)
    assert keys.changed()
    keys.load()
    assert list(keys.keys) == [B]

    path.unlink()
    assert keys.changed()
    keys.load()
    assert not keys.keys
    assert not keys.changed()


def test_a_change_that_hides_behind_the_old_time_and_size_is_seen(keys: KeyDirectory) -> None:
    path = put(keys, "x.pem", PEM_A)
    keys.load()
    before = path.stat()
    # The kernel's clock has a grain of some milliseconds.
    while path.stat().st_ctime_ns == before.st_ctime_ns:
        path.write_bytes(PEM_B)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert path.stat().st_size == before.st_size
    assert keys.changed()
    keys.load()
    assert list(keys.keys) == [B]


def test_what_was_written_here_is_no_change(keys: KeyDirectory) -> None:
    keys.load()

    keys.add(A, PEM_A)
    keys.add(B, PEM_B)
    keys.remove(A)

    assert not keys.changed()
    assert list(keys.keys) == [B]


def test_what_others_did_while_something_was_written_is_a_change(keys: KeyDirectory) -> None:
    keys.load()
    put(keys, "x.pem", PEM_A)

    keys.add(B, PEM_B)

    assert keys.changed()


def test_only_files_that_changed_are_read_again(keys: KeyDirectory) -> None:
    path = put(keys, "x.pem", PEM_A)
    put(keys, "y.pem", PEM_B)
    keys.load()
    # The same file by every sign, so that only a reading would see what is in it.
    keys._files["x.pem"] = keys._files["x.pem"]._replace(keys=(C,))
    put(keys, "y.pem", PEM_A)

    keys.load()

    assert dict(keys.keys) == {C: path, A: keys.path / "y.pem"}


def test_a_key_is_written_alone_under_its_name_for_its_owner(tmp_path: Path) -> None:
    keys = KeyDirectory("trusted", tmp_path / "pki" / "trusted" / "certs")

    path = keys.add(A, PEM_A)

    assert path == keys.path / f"{A}.pem"
    assert path.read_bytes() == PEM_A
    assert path.stat().st_mode & 0o777 == 0o600
    for directory in (keys.path, keys.path.parent, keys.path.parent.parent):
        assert directory.stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in keys.path.iterdir()] == [f"{A}.pem"]


def test_what_was_written_or_taken_out_survives_a_loss_of_power(
    keys: KeyDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[bool] = []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        flushed.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)

    keys.add(A, PEM_A)
    assert flushed == [False, True]
    keys.remove(A)
    assert flushed == [False, True, True]


def test_a_file_of_that_name_with_another_key_is_kept(keys: KeyDirectory) -> None:
    put(keys, f"{A}.pem", PEM_B)
    keys.load()

    path = keys.add(A, PEM_A)

    assert path.name == f"{A}-2.pem"
    assert (keys.path / f"{A}.pem").read_bytes() == PEM_B
    keys.load()
    assert set(keys.keys) == {A, B}


def test_a_key_that_cannot_be_written_is_an_error_with_the_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StateDirError, match=rf"file: the key {A} cannot be written"):
        KeyDirectory("trusted", tmp_path / "file").add(A, PEM_A)


def test_a_key_is_taken_out_of_every_file_and_others_stay(keys: KeyDirectory) -> None:
    put(keys, "one.pem", PEM_A)
    put(keys, "two.pem", b"kitchen\n" + PEM_A + b"cellar\n" + PEM_B + PEM_A)
    put(keys, "three.pem", PEM_C)
    keys.load()

    keys.remove(A)

    assert not (keys.path / "one.pem").exists()
    assert (keys.path / "two.pem").read_bytes().split() == (b"kitchen cellar " + PEM_B).split()
    assert not keys.changed()
    assert KeyDirectory("again", keys.path).load() == []
    assert set(keys.keys) == {B, C}


def test_names_count_only_where_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / f"{A}.pem").write_bytes(b"damaged")
    (tmp_path / f"{B.upper()}.PEM").mkdir()
    (tmp_path / "short.pem").write_bytes(b"")
    by_name, by_content = (
        KeyDirectory("any", tmp_path, names_count=True),
        KeyDirectory("any", tmp_path),
    )

    assert len(by_name.load()) == len(by_content.load()) == 3
    assert set(by_name.keys) == {A, B}
    assert not by_content.keys


def test_a_name_does_not_count_where_the_file_holds_a_key(tmp_path: Path) -> None:
    keys = KeyDirectory("rejected", tmp_path, names_count=True)
    put(keys, f"{A}.pem", PEM_B)

    keys.load()

    assert list(keys.keys) == [B]


def test_the_only_key_of_a_text() -> None:
    assert only_key(PEM_A) == A
    assert only_key(certificate_pem(KEYS[0])) == A
    assert only_key(PEM_A + PEM_B) is None
    assert only_key(PEM_A + PEM_A) is None
    assert only_key(b"") is None
    assert only_key(PEM_A + b"#" * 70_000) is None
