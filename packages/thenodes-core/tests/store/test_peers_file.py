"""`peers.json`: the reference's shape, whole or set aside."""

from __future__ import annotations

import errno
import json
import os
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


def test_saving_writes_the_newest_success_first_up_to_the_cap(tmp_path: Path) -> None:
    records = [PeerRecord(f"a:{n}", PeerSource.GOSSIP, 0, n) for n in (2, 5, 1, 4)]

    make(tmp_path, most=3).save([PeerRecord("never:1", PeerSource.MANUAL), *records])

    entries = json.loads((tmp_path / "peers.json").read_text())
    assert [entry["addr"] for entry in entries] == ["a:5", "a:4", "a:2"]


def test_of_equal_successes_the_one_with_fewer_failures_comes_first(tmp_path: Path) -> None:
    make(tmp_path).save(PeerRecord(f"a:{n}", PeerSource.MANUAL, n, 7) for n in (3, 1, 2))

    entries = json.loads((tmp_path / "peers.json").read_text())
    assert [entry["failures"] for entry in entries] == [1, 2, 3]


@pytest.mark.parametrize("name", ["Bootstrap", "Handshake", "Gossip", "Manual"])
def test_the_sources_have_the_references_names(tmp_path: Path, name: str) -> None:
    entry = {"addr": "a:1", "source": name, "failures": 1, "last_success_epoch": 999_999}
    (tmp_path / "peers.json").write_text(json.dumps([entry]))
    file = make(tmp_path)

    records, problem = file.load(NOW)
    file.save(records)

    assert problem == ""
    assert json.loads((tmp_path / "peers.json").read_text()) == [entry]


def test_the_file_is_private_even_where_an_open_one_was_there(tmp_path: Path) -> None:
    (tmp_path / "peers.json").write_text("[]")
    (tmp_path / "peers.json").chmod(0o666)

    make(tmp_path).save([GOOD])

    assert (tmp_path / "peers.json").stat().st_mode & 0o777 == 0o600


def test_the_old_file_stays_where_the_new_one_cannot_be_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path).save([GOOD])
    before = (tmp_path / "peers.json").read_bytes()

    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(StateDirError, match="cannot be written: No space left on device"):
        make(tmp_path).save([])

    assert (tmp_path / "peers.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["peers.json"]


def test_a_reader_who_has_the_old_file_open_keeps_it_whole(tmp_path: Path) -> None:
    make(tmp_path).save([GOOD])

    with (tmp_path / "peers.json").open() as reader:
        make(tmp_path).save([])

        assert '"a:1"' in reader.read()


def test_an_address_is_kept_until_its_time_is_over_and_not_longer(tmp_path: Path) -> None:
    file = make(tmp_path, ttl=500)
    file.save(PeerRecord(f"a:{n}", PeerSource.MANUAL, 0, int(NOW) - n) for n in (499, 500, 501))

    records, _ = file.load(NOW)

    assert [record.addr for record in records] == ["a:499", "a:500"]


def test_reading_leaves_a_damaged_file_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "peers.json").write_text("{")

    records, problem = make(tmp_path).read(NOW)

    assert records == []
    assert problem.startswith(f"{tmp_path}/peers.json: not a list of addresses")
    assert [path.name for path in tmp_path.iterdir()] == ["peers.json"]


@pytest.mark.parametrize(
    "change",
    [
        {"addr": 1},
        {"addr": ""},
        {"addr": "http://a:1"},
        {"addr": "a:1\n"},
        {"addr": "a" * 600 + ":1"},
        {"source": "gossip"},
        {"failures": -1},
        {"failures": None},
        {"last_success_epoch": "1"},
        {"last_success_epoch": 1.5},
        {"node_id": "a b"},
        {"node_id": "x" * 129},
        {"capabilities": ["x" * 65]},
        {"capabilities": ["c"] * 65},
    ],
    ids=lambda change: str(change)[:40],
)
def test_an_entry_that_cannot_be_right_is_left_out(
    tmp_path: Path, change: dict[str, object]
) -> None:
    entry = {"addr": "b:1", "source": "Manual", "failures": 0, "last_success_epoch": None}
    (tmp_path / "peers.json").write_text(json.dumps([entry | change, entry]))

    records, problem = make(tmp_path).load(NOW)

    assert [record.addr for record in records] == ["b:1"]
    assert "1 of 2 entries are bad" in problem


@pytest.mark.parametrize("name", ["addr", "source", "failures", "last_success_epoch"])
def test_an_entry_without_what_the_reference_always_writes_is_bad(
    tmp_path: Path, name: str
) -> None:
    entry = {"addr": "b:1", "source": "Manual", "failures": 0, "last_success_epoch": None}
    del entry[name]
    (tmp_path / "peers.json").write_text(json.dumps([entry]))

    assert "1 of 1 entries are bad" in make(tmp_path).load(NOW)[1]


def test_a_file_that_is_too_large_is_set_aside_unread(tmp_path: Path) -> None:
    with (tmp_path / "peers.json").open("wb") as file:
        file.truncate(64 * 1024 * 1024 + 1)

    records, problem = make(tmp_path).load(NOW)

    assert records == []
    assert "peers.json: over 67108864 bytes; the file is kept as" in problem


def test_a_symbolic_link_is_read_and_its_target_is_never_written(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere.json"
    target.write_text("[]")
    (tmp_path / "peers.json").symlink_to(target)
    file = make(tmp_path)

    assert file.load(NOW) == ([], "")
    file.save([GOOD])

    assert target.read_text() == "[]"
    assert not (tmp_path / "peers.json").is_symlink()


def test_a_link_in_place_of_the_staged_file_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_text("precious")
    (tmp_path / "peers.json.new").symlink_to(target)

    make(tmp_path).save([GOOD])

    assert target.read_text() == "precious"


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "peers.json")
    file = PeersFile(tmp_path / "peers.json", ttl_seconds=1, max_entries=1)

    with pytest.raises(StateDirError, match="expected a regular file"):
        file.read(0.0)
