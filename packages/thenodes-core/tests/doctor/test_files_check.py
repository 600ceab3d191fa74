"""State directory, key, certificate and known addresses of a node."""

from __future__ import annotations

from pathlib import Path

import pytest

from thenodes_core import Config, EncryptionTable, NetworkTable, NodeTable, PersistenceTable
from thenodes_core.doctor.files import (
    check_certificate,
    check_handshake,
    check_identity,
    check_known_addresses,
    check_state_dir,
)
from thenodes_core.doctor.finding import Outcome
from thenodes_core.protocol.realm import make_realm
from thenodes_core.security.certificates import CERTIFICATE_FILE, load_or_renew_certificate
from thenodes_core.security.identity import IDENTITY_FILE, Identity, load_or_create_identity

NOW = 1_800_000_000.0
DAY = 86_400.0
TLS = Config(encryption=EncryptionTable(enabled=True))


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    identity = load_or_create_identity(tmp_path)
    load_or_renew_certificate(
        tmp_path / CERTIFICATE_FILE,
        identity,
        node_id=identity.node_id,
        realm=make_realm("default", "1.0", None),
        now=NOW,
    )
    return identity


def test_a_directory_that_others_can_write_is_a_problem(tmp_path: Path) -> None:
    fine = check_state_dir(tmp_path, "")
    tmp_path.chmod(0o777)
    open_to_all = check_state_dir(tmp_path, "")

    assert fine[0].outcome is Outcome.OK
    assert open_to_all[0].outcome is Outcome.PROBLEM
    assert "chmod go-w" in open_to_all[0].fix


def test_one_that_is_not_there_is_fine_and_a_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert check_state_dir(tmp_path / "a" / "b", "")[0].outcome is Outcome.OK
    assert check_state_dir(tmp_path / "file", "")[0].outcome is Outcome.PROBLEM
    assert not (tmp_path / "a").exists()


def test_a_key_that_others_can_read_is_a_problem(tmp_path: Path, identity: Identity) -> None:
    (tmp_path / IDENTITY_FILE).chmod(0o644)

    read, (found,) = check_identity(Config(), tmp_path, None)

    assert read is None
    assert found.outcome is Outcome.PROBLEM
    assert "chmod 600" in found.text


def test_a_key_that_is_not_there_is_made_by_the_node_and_not_by_the_doctor(tmp_path: Path) -> None:
    read, (found,) = check_identity(Config(), tmp_path, None)

    assert read is None
    assert found.outcome is Outcome.OK
    assert not list(tmp_path.iterdir())


def test_an_id_of_another_key_is_a_problem(tmp_path: Path, identity: Identity) -> None:
    _, (other,) = check_identity(Config(), tmp_path, Identity.generate().node_id)
    _, (chosen,) = check_identity(Config(), tmp_path, "kitchen")

    assert other.outcome is Outcome.PROBLEM
    assert chosen.outcome is Outcome.OK


@pytest.mark.parametrize(
    ("now", "outcome", "text"),
    [
        (NOW + DAY, Outcome.OK, "valid for"),
        (NOW + 400 * DAY, Outcome.WARNING, "expired"),
        (NOW - 30 * DAY, Outcome.PROBLEM, "not valid for another"),
    ],
)
def test_a_certificate_is_judged_by_the_time(
    tmp_path: Path, identity: Identity, now: float, outcome: Outcome, text: str
) -> None:
    certificate, (found,) = check_certificate(Config(), tmp_path, identity, now)

    assert certificate is not None
    assert found.outcome is outcome
    assert text in found.text


def test_a_certificate_of_another_key_is_a_problem(tmp_path: Path, identity: Identity) -> None:
    _, (found,) = check_certificate(Config(), tmp_path, Identity.generate(), NOW)

    assert found.outcome is Outcome.PROBLEM


def test_tls_shakes_hands_with_itself(tmp_path: Path, identity: Identity) -> None:
    assert "works (TLSv1.3)" in check_handshake(TLS, tmp_path).text
    assert "off" in check_handshake(Config(), tmp_path).text

    (tmp_path / CERTIFICATE_FILE).write_text("nothing")

    assert check_handshake(TLS, tmp_path).outcome is Outcome.PROBLEM


def test_a_damaged_file_of_addresses_is_a_warning_and_stays(tmp_path: Path) -> None:
    config = Config(
        node=NodeTable(state_dir=str(tmp_path)),
        network=NetworkTable(persistence=PersistenceTable(enabled=True)),
    )
    path = tmp_path / "peers.json"
    path.write_text("[{]")

    (found,) = check_known_addresses(config, tmp_path, NOW)

    assert found.outcome is Outcome.WARNING
    assert path.read_text() == "[{]"
    assert not check_known_addresses(Config(), tmp_path, NOW)
