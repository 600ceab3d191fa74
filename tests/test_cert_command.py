"""`thenodes cert`, as an operator runs it."""

from __future__ import annotations

import json
import os
import stat
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from thenodes_core.security.certificates import (
    Certificate,
    make_certificate,
    pem,
    read_certificates,
    verify_chain,
)
from thenodes_core.security.identity import Identity, load_identity, write_identity
from thenodes_plugin_api import Realm

from .conftest import StartNode
from .nodes import data_of, fails, thenodes, wait_until

DAY = 86_400
CA = ("--issuer-cert", "ca.crt", "--issuer-key", "ca.pem")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("THENODES_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def new(*words: str) -> dict[str, Any]:
    made: dict[str, Any] = data_of("cert", "new", *words)
    return made


def make_ca(*words: str) -> Certificate:
    thenodes("cert", "new", "--ca", "--out-cert", "ca.crt", "--out-key", "ca.pem", *words)
    return read("ca.crt")[0]


def read(path: str | Path) -> list[Certificate]:
    return read_certificates(Path(path))


def chain_problem(leaf: Certificate, *anchors: Certificate) -> str | None:
    return verify_chain(leaf, anchors, (), now=time.time())


def audited() -> list[dict[str, Any]]:
    lines = Path("data/logs/events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_certificate_is_made_over_the_nodes_key_which_is_made_where_it_is_missing() -> None:
    made = new()

    (certificate,) = read("data/identity.crt")
    assert made["key_made"] is True
    assert made["fingerprint"] == certificate.fingerprint
    assert made["fingerprint"] == load_identity(Path("data/identity.pem")).fingerprint
    assert made["certificate"]["path"] == "data/identity.crt"
    assert certificate.self_signed
    assert stat.S_IMODE(Path("data/identity.pem").stat().st_mode) == 0o600


def test_the_nodes_key_is_kept_when_its_certificate_is_replaced() -> None:
    before = new()

    after = new("--force", "--cn", "Kitchen", "--days", "90")

    (certificate,) = read("data/identity.crt")
    assert (after["fingerprint"], after["key_made"]) == (before["fingerprint"], False)
    assert certificate.subject == "CN=Kitchen,O=default"
    assert round((certificate.not_after - time.time()) / DAY) == 90


def test_a_node_goes_on_with_the_certificate_that_was_made(start_node: StartNode) -> None:
    made = new("--state-dir", "only", "--cn", "Kitchen")

    node = start_node("only")
    shown = data_of("trust", "own", "--state-dir", "only")

    assert node.status()["fingerprint"] == made["fingerprint"]
    assert shown[0]["subject"] == "CN=Kitchen,O=default"


def test_people_see_fingerprint_subject_term_and_paths() -> None:
    text = thenodes("cert", "new", "--cn", "Kitchen").stdout

    assert read("data/identity.crt")[0].fingerprint in text
    for part in ("CN=Kitchen,O=default", "valid  ", "data/identity.crt", "identity.pem, made now"):
        assert part in text


def test_a_certificate_that_is_there_is_not_replaced() -> None:
    new()
    before = Path("data/identity.crt").read_bytes()

    code, error = fails("cert", "new")

    assert code == 1
    assert error.startswith("error: data/identity.crt exists; --force replaces it")
    assert Path("data/identity.crt").read_bytes() == before


def test_a_named_key_is_made_private_and_its_certificate_stands_beside_it() -> None:
    made = new("--out-key", "keys.pem")

    assert made["certificate"]["path"] == "keys.crt"
    assert stat.S_IMODE(Path("keys.pem").stat().st_mode) == 0o600
    assert read("keys.crt")[0].fingerprint == load_identity(Path("keys.pem")).fingerprint
    assert not Path("data").exists()


def test_a_named_key_that_is_there_is_used() -> None:
    write_identity(Path("node.pem"), identity := Identity.generate())

    made = new("--out-key", "node.pem", "--out-cert", "node.crt")

    assert (made["fingerprint"], made["key_made"]) == (identity.fingerprint, False)
    assert read("node.crt")[0].public_key == identity.public_key


def test_the_settings_that_are_printed_make_a_node_use_it() -> None:
    text = thenodes("cert", "new", "--out-key", 'a "b.pem', "--out-cert", "a.crt").stdout
    settings = text[text.index("  [encryption.paths]") :]
    Path("node.toml").write_text(settings)

    paths = tomllib.loads(settings)["encryption"]["paths"]

    assert paths["own_certificate"] == str(Path("a.crt").absolute())
    shown = data_of("identity", "show", "--config", "node.toml")
    assert shown["fingerprint"] == read("a.crt")[0].fingerprint
    assert shown["certificate"]["path"] == paths["own_certificate"]


def test_a_ca_issues_a_certificate_that_is_believed_by_its_own_alone() -> None:
    authority = make_ca("--realm", "Home")
    made = new("--realm", "Home", *CA)
    (leaf,) = read("data/identity.crt")

    stranger = read(new("--ca", "--state-dir", "other")["certificate"]["path"])[0]

    assert (authority.is_ca, authority.subject) == (True, "CN=Home CA,O=home")
    assert (leaf.is_ca, leaf.self_signed, made["is_ca"]) == (False, False, False)
    assert chain_problem(leaf, authority) is None
    assert chain_problem(leaf, stranger) == "no known CA issued it"


def test_a_ca_has_a_key_of_its_own() -> None:
    node = data_of("identity", "new")

    made = new("--ca")

    assert (made["key"], made["certificate"]["path"]) == ("data/ca.pem", "data/ca.crt")
    assert made["fingerprint"] != node["fingerprint"]
    assert data_of("identity", "show")["certificate"] == node["certificate"]


def test_a_ca_below_a_ca_is_appended_to_what_it_issues() -> None:
    root = make_ca()
    new("--ca", "--out-key", "below.pem", *CA)

    below = ("--issuer-cert", "below.crt", "--issuer-key", "below.pem")
    new("--out-key", "leaf.pem", *below)

    leaf, *between = read("leaf.crt")
    assert [certificate.fingerprint for certificate in between] == [
        read("below.crt")[0].fingerprint
    ]
    assert verify_chain(leaf, [root], between, now=time.time()) is None


def test_nodes_of_one_ca_connect_where_only_it_is_believed(start_node: StartNode) -> None:
    Path("node.toml").write_text("[encryption.trust_policy]\nmode = 'ca'\n")
    make_ca()
    for name in ("first", "second", "stranger"):
        believed = Path(name, "pki/issuers/certs")
        believed.mkdir(parents=True)
        Path(believed, "ca.crt").write_bytes(Path("ca.crt").read_bytes())
        new("--state-dir", name, *(CA if name != "stranger" else ()))

    first = start_node("first", "--config", "node.toml")
    address = first.status()["listening"]
    second = start_node("second", "--config", "node.toml", "--bootstrap", address)
    stranger = start_node("stranger", "--bootstrap", address)
    wait_until(second.peers, "the nodes of the CA to connect")
    wait_until(lambda: stranger.status()["dialling"][0]["error"], "the stranger to be refused")

    assert first.peers() == [second.status()["node_id"]]
    assert "chain-invalid" in stranger.status()["dialling"][0]["error"]


def test_a_certificate_ends_with_its_issuers() -> None:
    authority = make_ca("--days", "10")

    made = new("--days", "100", *CA)

    assert made["certificate"]["not_after"] == authority.not_after


def test_a_copy_is_trusted_and_that_is_audited() -> None:
    made = new("--copy-to-trusted")

    (trusted,) = data_of("trust", "trusted")

    key = made["fingerprint"]
    assert made["trusted"] == f"data/pki/trusted/certs/{key}.pem"
    assert (trusted["fingerprint"], trusted["path"]) == (key, made["trusted"])
    assert [(e["fingerprint"], e["to_store"]) for e in audited()] == [(key, "trusted")]


def test_a_copy_of_a_key_that_is_trusted_already_changes_nothing() -> None:
    first = new("--copy-to-trusted")

    again = new("--copy-to-trusted", "--force")

    assert again["trusted"] == first["trusted"]
    assert len(audited()) == 1


def test_a_copy_of_a_ca_is_believed() -> None:
    made = new("--ca", "--copy-to-trusted")

    assert read(made["trusted"])[0].is_ca
    assert Path(made["trusted"]).parent == Path("data/pki/issuers/certs")
    assert data_of("trust", "trusted") == []
    assert [event["to_store"] for event in audited()] == ["issuers"]


def test_a_copy_goes_where_the_settings_say() -> None:
    Path("node.toml").write_text("[encryption.paths]\ntrusted_cert_dir = 'friends'\n")

    made = new("--config", "node.toml", "--copy-to-trusted")

    assert Path(made["trusted"]).parent == Path("friends").absolute()


def test_another_realm_than_the_nodes_is_told() -> None:
    done = thenodes("cert", "new", "--realm", "Müller Home")

    assert read("data/identity.crt")[0].subject.endswith("O=mueller-home")
    assert "the node's is default: the node makes its own again" in done.stderr


def test_the_realm_of_the_settings_gives_way_with_its_code() -> None:
    Path("node.toml").write_text("[realm]\nname = 'a'\ncode = 'b'\nversion = '7'\n")

    assert new("--config", "node.toml", "--out-key", "1.pem")["realm"] == "b/7"
    assert new("--config", "node.toml", "--out-key", "2.pem", "--realm", "C")["realm"] == "c/7"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--days", "0"), "0 is not in the range"),
        (("--days", "36501"), "36501 is not in the range"),
        (("--days", "x"), "'x' is not a valid integer"),
        (("--cn", " "), "--cn: expected a name"),
        (("--realm", ""), "realm.name: expected a name, got an empty one"),
        (("--issuer-cert", "ca.crt"), "belong together"),
        (("--issuer-key", "ca.pem"), "belong together"),
    ],
)
def test_wrong_options_make_nothing(words: tuple[str, ...], expected: str) -> None:
    code, error = fails("cert", "new", *words)

    assert (code, expected in error) == (2, True), error
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--out-cert", "none/a.crt"), "none: no such folder"),
        (("--out-cert", "."), ".: cannot be replaced: Is a directory"),
        (("--out-key", "."), ".: Is a directory"),
        (("--out-key", "none/a.pem"), "none: no such folder"),
        (("--out-key", "text"), "text: not an unencrypted PEM private key"),
        (("--out-key", "private"), "private: not an unencrypted PEM private key"),
        (("--out-key", "a.crt"), "a.crt: it is the file of the key"),
        (("--out-cert", "leaf.pem"), "leaf.pem: holds a private key, which is never replaced"),
        (("--issuer-cert", "none", "--issuer-key", "ca.pem"), "none: cannot be read: No such"),
        (("--issuer-cert", "text", "--issuer-key", "ca.pem"), "text: not PEM certificates"),
        (("--issuer-cert", "ca.crt", "--issuer-key", "none"), "none: there is no such key"),
        (("--issuer-cert", "ca.crt", "--issuer-key", "leaf.pem"), "the issuer's certificate is of"),
        (("--issuer-cert", "leaf.crt", "--issuer-key", "leaf.pem"), "is not a CA's"),
        (("--ca", "--out-cert", "data/identity.crt"), "a CA's certificate is no good"),
    ],
)
def test_files_that_cannot_be_used_are_named_and_nothing_is_changed(
    words: tuple[str, ...], expected: str
) -> None:
    make_ca()
    new("--out-key", "leaf.pem")
    for name, mode in (("text", 0o644), ("private", 0o600)):
        Path(name).write_text("hello")
        Path(name).chmod(mode)
    before = {path: path.read_bytes() for path in Path().iterdir()}

    code, error = fails("cert", "new", "--force", *words)

    assert (code, expected in error) == (1, True), error
    left = [path for path in Path().rglob("*") if path.is_file() and path.name != "lock"]
    assert {path: path.read_bytes() for path in left} == before


def test_a_ca_that_ended_issues_nothing() -> None:
    identity = Identity.generate()
    write_identity(Path("ca.pem"), identity)
    made = make_certificate(
        identity,
        node_id="n",
        realm=Realm(name="r", code="r", version="1"),
        now=1_700_000_000.0,
        days=1,
        ca=True,
    )
    Path("ca.crt").write_bytes(pem(made.der))

    code, error = fails("cert", "new", *CA)

    assert (code, error) == (1, "error: ca.crt: this CA's certificate ended on 2023-11-15")


def test_the_fingerprint_of_the_node_is_that_of_its_certificate_and_key() -> None:
    made = new()

    own = thenodes("cert", "fingerprint").stdout
    of_files = [
        thenodes("cert", "fingerprint", f"data/identity.{suffix}").stdout
        for suffix in ("crt", "pem")
    ]

    assert [own, *of_files] == [made["fingerprint"] + "\n"] * 3


def test_every_block_of_a_file_has_its_line() -> None:
    authority, leaf = make_ca(), new("--out-key", "leaf.pem", *CA)
    Path("all.pem").write_bytes(
        b"".join(Path(name).read_bytes() for name in ("leaf.crt", "ca.crt", "leaf.pem"))
    )
    Path("all.pem").chmod(0o600)

    lines = thenodes("cert", "fingerprint", "all.pem").stdout.splitlines()
    blocks = data_of("cert", "fingerprint", "all.pem")

    assert lines == [leaf["fingerprint"], authority.fingerprint, leaf["fingerprint"]]
    assert [block["kind"] for block in blocks] == ["certificate", "certificate", "private key"]
    assert blocks[1]["subject"] == authority.subject


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("none", "none: cannot be read: No such file or directory"),
        (".", ".: cannot be read: Is a directory"),
        ("text", "text: holds no certificate and no key as PEM text"),
    ],
)
def test_what_has_no_fingerprint_is_told(path: str, expected: str) -> None:
    Path("text").write_text("hello")

    code, error = fails("cert", "fingerprint", path)

    assert (code, expected in error) == (1, True), error


def test_a_node_without_a_key_has_no_fingerprint() -> None:
    code, error = fails("cert", "fingerprint")

    assert (code, "data holds no identity yet" in error) == (1, True)
