"""`thenodes identity`, as an operator runs it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from thenodes_core.node_id import derive_node_id, fingerprint
from thenodes_core.security.certificates import make_certificate, pem, read_certificates
from thenodes_core.security.identity import Identity
from thenodes_plugin_api import Realm

from .conftest import StartNode
from .nodes import data_of, fails, thenodes

EVIL = "a\x1b[2Jb\n\u202e"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("THENODES_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def mode(path: Path | str) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


def test_a_new_identity_is_what_is_shown_then() -> None:
    made = data_of("identity", "new")

    shown = data_of("identity", "show")

    assert made | {"previous": []} == shown | {"previous": []}
    assert (made["previous"], made["realm"]) == ([], "default/1.0")
    assert mode("data/identity.pem") == 0o600


def test_id_and_fingerprint_derive_from_the_public_key_that_is_shown() -> None:
    shown = data_of("identity", "new")

    der = serialization.load_pem_public_key(shown["public_key"].encode()).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    assert shown["fingerprint"] == fingerprint(der)
    assert shown["node_id"] == derive_node_id(der)


def test_the_certificate_that_is_shown_is_the_file() -> None:
    shown = data_of("identity", "new")["certificate"]

    (certificate,) = read_certificates(Path(shown["path"]))

    assert (shown["subject"], shown["not_after"]) == (certificate.subject, certificate.not_after)
    assert shown["self_signed"] is True
    assert len(shown["digest"]) == 64


def test_people_see_the_same() -> None:
    shown = data_of("identity", "new")

    text = thenodes("identity", "show").stdout

    for value in (shown["node_id"], shown["fingerprint"], shown["certificate"]["digest"]):
        assert value in text
    assert shown["public_key"] in text


def test_to_show_makes_nothing() -> None:
    code, error = fails("identity", "show")

    assert (code, error) == (
        1,
        "error: data holds no identity yet. To make one: thenodes identity new --state-dir data",
    )
    assert list(Path().iterdir()) == []


def test_the_way_out_names_the_file_that_was_given() -> None:
    Path("my node.toml").write_text("[node]\nstate_dir = 'state'\n")

    _, error = fails("identity", "show", "--config", "my node.toml")

    assert error.endswith("thenodes identity new --config 'my node.toml'")


def test_what_is_shown_of_a_running_node_is_what_it_says_itself(start_node: StartNode) -> None:
    status = start_node("only").status()

    shown = data_of("identity", "show", "--state-dir", "only")

    assert shown["node_id"] == status["node_id"]
    assert shown["fingerprint"] == status["fingerprint"]


def test_a_node_takes_the_identity_that_was_made_for_it(start_node: StartNode) -> None:
    made = data_of("identity", "new", "--state-dir", "only")

    node = start_node("only")
    certificate = data_of("identity", "show", "--state-dir", "only")["certificate"]

    assert node.status()["node_id"] == made["node_id"]
    assert certificate == made["certificate"] | {"path": certificate["path"]}
    assert f"key        {made['fingerprint']}" in thenodes("status", "--state-dir", "only").stdout


def test_a_configured_id_is_shown_with_the_key() -> None:
    Path("node.toml").write_text("[node]\nid = 'kitchen'\nstate_dir = 'state'\n[realm]\nname='H'\n")

    made = data_of("identity", "new", "--config", "node.toml")

    assert (made["node_id"], made["realm"]) == ("kitchen", "h/1.0")
    assert made["certificate"]["subject"] == "CN=kitchen,O=h"


def test_an_id_in_its_file_is_shown_with_the_key() -> None:
    Path("data").mkdir()
    Path("data/node_id").write_text("cellar\n")

    assert data_of("identity", "new")["node_id"] == "cellar"


def test_a_key_that_is_there_is_not_replaced() -> None:
    thenodes("identity", "new")
    before = Path("data/identity.pem").read_bytes()

    code, error = fails("identity", "new")

    assert code == 1
    assert error.startswith(
        "error: data/identity.pem exists. With another key the node has another"
    )
    assert error.endswith("thenodes identity new --state-dir data --force")
    assert Path("data/identity.pem").read_bytes() == before


def test_by_force_another_key_is_made_and_the_old_one_is_kept() -> None:
    old = data_of("identity", "new")
    key, certificate = Path("data/identity.pem"), Path("data/identity.crt")
    before = key.read_bytes(), certificate.read_bytes()

    new = data_of("identity", "new", "--force")

    kept = [Path(path) for path in new["previous"]]
    assert new["node_id"] != old["node_id"]
    assert [path.read_bytes() for path in kept] == list(before)
    assert [mode(path) for path in kept] == [0o600, 0o600]
    assert kept[0].name.startswith("identity.pem.")
    assert read_certificates(certificate)[0].fingerprint == new["fingerprint"]


def test_every_key_that_was_replaced_is_kept() -> None:
    keys = {data_of("identity", "new")["fingerprint"]}
    for _ in range(3):
        keys.add(data_of("identity", "new", "--force")["fingerprint"])

    kept = {data_of("cert", "fingerprint", str(path))[0]["fingerprint"] for path in _key_files()}

    assert kept == keys
    assert len(kept) == 4


def _key_files() -> list[Path]:
    return [path for path in Path("data").iterdir() if path.name.startswith("identity.pem")]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("", "With another key the node has another id"),
        ("[node]\nid = 'kitchen'\n", "until they run: thenodes trust forget kitchen"),
    ],
    ids=["derived", "configured"],
)
def test_by_force_it_is_told_what_follows(config: str, expected: str) -> None:
    Path("node.toml").write_text(config)
    thenodes("identity", "new", "--config", "node.toml")

    assert expected in fails("identity", "new", "--config", "node.toml")[1]
    assert expected in thenodes("identity", "new", "--config", "node.toml", "--force").stdout


def test_a_key_that_others_could_read_can_be_replaced_and_is_kept_private() -> None:
    thenodes("identity", "new")
    Path("data/identity.pem").chmod(0o644)

    code, error = fails("identity", "show")
    new = data_of("identity", "new", "--force")

    assert (code, "chmod 600 data/identity.pem" in error) == (1, True)
    assert mode(new["previous"][0]) == 0o600
    assert mode("data/identity.pem") == 0o600


@pytest.mark.parametrize("force", [(), ("--force",)], ids=["new", "force"])
def test_the_key_of_a_running_node_is_left_alone(
    start_node: StartNode, force: tuple[str, ...]
) -> None:
    node = start_node("only")
    before = Path("only/identity.pem").read_bytes()

    code, error = fails("identity", "new", "--state-dir", "only", *force)

    assert code == 1
    assert f"in use by the node of process {node.process.pid}" in error
    assert Path("only/identity.pem").read_bytes() == before


def test_a_named_key_that_is_missing_is_told_with_the_way_out() -> None:
    Path("node.toml").write_text("[encryption.paths]\nown_private_key = 'keys/node.pem'\n")

    code, error = fails("identity", "show", "--config", "node.toml")

    assert code == 1
    assert f"{Path().absolute()}/keys/node.pem: there is no such key" in error
    assert "thenodes cert new --out-key" in error


def test_a_named_key_is_made_where_it_is_named() -> None:
    Path("node.toml").write_text("[encryption.paths]\nown_private_key = 'node.pem'\n")

    made = data_of("identity", "new", "--config", "node.toml")

    assert made["key"] == f"{Path().absolute()}/node.pem"
    assert data_of("cert", "fingerprint", "node.pem")[0]["fingerprint"] == made["fingerprint"]


def test_a_key_without_a_certificate_is_shown() -> None:
    thenodes("identity", "new")
    Path("data/identity.crt").unlink()

    assert data_of("identity", "show")["certificate"] is None
    assert "none yet: the node makes it" in thenodes("identity", "show").stdout


@pytest.mark.parametrize(
    "content", ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_a_damaged_certificate_is_told_and_the_key_shown(content: str) -> None:
    thenodes("identity", "new")
    Path("data/identity.crt").write_text(content)

    done = thenodes("identity", "show", "--json")

    assert '"certificate": null' in done.stdout
    assert done.stderr.startswith("warning: data/identity.crt: ")


def test_a_certificate_of_another_key_is_told() -> None:
    thenodes("identity", "new")
    thenodes("identity", "new", "--state-dir", "other")
    Path("other/identity.crt").replace("data/identity.crt")

    assert "data/identity.crt: of another key" in thenodes("identity", "show").stderr


@pytest.mark.parametrize(
    "content", ["", "hello", "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----"]
)
def test_a_damaged_key_is_told(content: str) -> None:
    Path("data").mkdir()
    Path("data/identity.pem").write_text(content)
    Path("data/identity.pem").chmod(0o600)

    code, error = fails("identity", "show")

    assert code == 1
    assert "data/identity.pem: not an unencrypted PEM private key" in error


def test_a_folder_in_place_of_the_key_is_told() -> None:
    Path("data/identity.pem").mkdir(parents=True)

    assert fails("identity", "show") == (1, "error: data/identity.pem: Is a directory")
    assert fails("identity", "new", "--force")[1].endswith("Is a directory")


def test_what_a_certificate_says_is_escaped() -> None:
    thenodes("identity", "new")
    realm = Realm(name="r", code="r", version="1")
    evil = make_certificate(
        Identity.generate(), node_id="n", realm=realm, now=1.7e9, common_name=EVIL
    )
    Path("data/identity.crt").write_bytes(pem(evil.der))

    people = thenodes("identity", "show").stdout
    machines = thenodes("identity", "show", "--json").stdout

    assert all(line.isprintable() for line in (people + machines).split("\n"))
    assert data_of("identity", "show")["certificate"]["subject"] == evil.subject


@pytest.mark.parametrize("words", [("show",), ("new",)], ids=["show", "new"])
def test_settings_that_no_node_takes_are_refused(words: tuple[str, ...]) -> None:
    Path("node.toml").write_text("[encryption.paths]\ntrusted_crl_dir = 'x'\n")

    code, error = fails("identity", *words, "--config", "node.toml")

    assert code == 2
    assert "revocation lists are not enforced" in error
