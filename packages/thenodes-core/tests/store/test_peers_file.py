"""`peers.json`: the reference's shape, whole or set aside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from thenodes_core.errors import StateDirError
from thenodes_core.store.peers_file import PeersFile
from thenodes_plugin_api import PeerRecord, PeerSource

NOW = 1_000_000.0
GOOD = PeerRecord("a:1", PeerSource.BOOTSTRAP, 0, 999_000, "n1", ("c/1",))


def make(path: Path, *, ttl: float = 10_000, most: int = 10) -> PeersFile:
    return PeersFile(path / "peers.json", ttl_seconds=ttl, max_entries=most)


def test_the_file_has_the_shape_of_the_reference(tmp_path: Path) -> None:
    make(tmp_path).save([GOOD, PeerRecord("b:1", PeerSource.MANUAL, 2)])

    assert json.loads((tmp_path / "peers.json").read_text()) == [
        {
            "addr": "a:1",
            "source": "Bootstrap",
            "failures": 0,
            "last_success_epoch": 999_000,
            "node_id": "n1",
            "capabilities": ["c/1"],
        },
        {"addr": "b:1", "source": "Manual", "failures": 2, "last_success_epoch": None},
    ]
    assert (tmp_path / "peers.json").stat().st_mode & 0o777 == 0o600


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    file = make(tmp_path)
    file.save([GOOD])

    assert file.load(NOW) == ([GOOD], "")


def test_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    assert make(tmp_path).load(NOW) == ([], "")


def test_an_address_that_did_not_answer_for_too_long_is_left_out(tmp_path: Path) -> None:
    file = make(tmp_path, ttl=500)
    file.save([GOOD, PeerRecord("new:1", PeerSource.GOSSIP, 0, 999_600)])

    records, _ = file.load(NOW)

    assert [record.addr for record in records] == ["new:1"]


def test_what_a_peer_merely_claimed_is_left_out(tmp_path: Path) -> None:
    file = make(tmp_path)
    file.save([PeerRecord(f"{source}:1", source) for source in PeerSource])

    records, _ = file.load(NOW)

    assert {record.source for record in records} == {PeerSource.BOOTSTRAP, PeerSource.MANUAL}


def test_the_newest_successes_are_kept_at_the_cap(tmp_path: Path) -> None:
    file = make(tmp_path, most=2)
    file.save([PeerRecord(f"a:{n}", PeerSource.GOSSIP, 0, 999_000 + n) for n in range(1, 6)])

    records, _ = make(tmp_path, most=2).load(NOW)

    assert [record.addr for record in records] == ["a:5", "a:4"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"{}", b'"x"', b"\xff\xfe", b"[" * 100_000, b"\0" * 100],
    ids=["empty", "half", "object", "text", "no text", "nested", "zeros"],
)
def test_a_damaged_file_is_set_aside_and_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "peers.json").write_bytes(content)

    records, problem = make(tmp_path).load(NOW)

    assert records == []
    assert "peers.json: not a list of addresses" in problem
    assert problem.endswith("kept as " + str(tmp_path / "peers.json.damaged-1"))
    assert (tmp_path / "peers.json.damaged-1").read_bytes() == content
    assert not (tmp_path / "peers.json").exists()


def test_of_a_file_with_bad_entries_the_good_ones_are_kept(tmp_path: Path) -> None:
    make(tmp_path).save([GOOD])
    entries = json.loads((tmp_path / "peers.json").read_text())
    entries += [{"addr": "b:1"}, {**entries[0], "addr": "no address"}, 5, {"x": 1}]
    (tmp_path / "peers.json").write_text(json.dumps(entries))

    records, problem = make(tmp_path).load(NOW)

    assert records == [GOOD]
    assert "4 of 5 entries are bad" in problem
    assert (tmp_path / "peers.json.damaged-1").exists()


def test_damaged_files_do_not_replace_each_other(tmp_path: Path) -> None:
    for content in ("{1", "{2"):
        (tmp_path / "peers.json").write_text(content)
        make(tmp_path).load(NOW)

    assert (tmp_path / "peers.json.damaged-1").read_text() == "{1"
    assert (tmp_path / "peers.json.damaged-2").read_text() == "{2"


def test_unknown_fields_are_ignored(tmp_path: Path) -> None:
    entry = {"addr": "a:1", "source": "Manual", "failures": 0, "last_success_epoch": None, "x": 1}
    (tmp_path / "peers.json").write_text(json.dumps([entry]))

    assert make(tmp_path).load(NOW) == ([PeerRecord("a:1", PeerSource.MANUAL)], "")


def test_a_file_that_cannot_be_read_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "peers.json").mkdir()

    with pytest.raises(StateDirError, match=r"peers\.json: cannot be read: Is a directory"):
        make(tmp_path).load(NOW)


def test_a_file_that_cannot_be_written_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(StateDirError, match=r"peers\.json: cannot be written"):
        make(tmp_path / "none").save([GOOD])
