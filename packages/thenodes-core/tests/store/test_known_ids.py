"""`known_ids.json`: an id, or an address, stays with the key that it was met with."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from thenodes_core.errors import StateDirError
from thenodes_core.store.known_ids import KNOWN_IDS_FILE, KnownIds

NOW = 1_800_000_000.0
DAY = 86_400.0
A, B, C = "a" * 64, "b" * 64, "c" * 64


def opened(directory: Path, realm: str = "home", *, most: int = 4096) -> KnownIds:
    known = KnownIds(directory / KNOWN_IDS_FILE, realm, max_entries=most)
    assert known.load() == ""
    return known


def saved(directory: Path) -> KnownIds:
    """One id and one address."""
    known = opened(directory)
    assert known.bind("kitchen", A, NOW)
    assert known.bind_address("cellar:50000", B, NOW)
    known.save()
    return known


def content(directory: Path) -> dict[str, dict[str, dict[str, dict[str, object]]]]:
    loaded = json.loads((directory / KNOWN_IDS_FILE).read_text())
    assert isinstance(loaded, dict)
    return loaded


def write(directory: Path, value: object) -> None:
    (directory / KNOWN_IDS_FILE).write_text(json.dumps(value))


def test_what_was_bound_is_known_after_a_restart(tmp_path: Path) -> None:
    saved(tmp_path)

    again = opened(tmp_path)

    assert again.fingerprint_of("kitchen") == A
    assert again.fingerprint_at("cellar:50000") == B
    assert dict(again.entries()) == {"kitchen": A, "cellar:50000": B}


def test_ids_and_addresses_are_not_mixed_up(tmp_path: Path) -> None:
    known = saved(tmp_path)

    assert known.fingerprint_at("kitchen") is None
    assert known.fingerprint_of("cellar:50000") is None


def test_the_file_is_its_owner_s(tmp_path: Path) -> None:
    saved(tmp_path)

    assert (tmp_path / KNOWN_IDS_FILE).stat().st_mode & 0o777 == 0o600
    assert content(tmp_path)["home"]["ids"] == {
        "kitchen": {"key": A, "seen": NOW, "trusted": False}
    }


def test_without_a_path_it_is_known_until_the_end() -> None:
    known = KnownIds(None, "home")

    assert known.load() == ""
    assert known.bind("kitchen", A, NOW)
    known.save()
    assert known.fingerprint_of("kitchen") == A


def test_an_id_that_is_bound_to_another_key_stays_so(tmp_path: Path) -> None:
    known = saved(tmp_path)

    assert not known.bind("kitchen", B, NOW + 1, trusted=True)
    assert known.fingerprint_of("kitchen") == A


def test_an_address_takes_the_key_that_the_policy_admitted_last(tmp_path: Path) -> None:
    known = saved(tmp_path)

    assert known.bind_address("cellar:50000", C, NOW + 1)
    known.save()
    assert opened(tmp_path).fingerprint_at("cellar:50000") == C


@pytest.mark.parametrize("name", ["", "x" * 513, "a\nb", "\x1b[2J", "\udcff"])
def test_what_could_not_be_read_back_is_not_bound(tmp_path: Path, name: str) -> None:
    known = saved(tmp_path)

    assert not known.bind(name, A, NOW)
    assert not known.bind_address(name, A, NOW)
    known.bind("other", A, NOW)
    known.save()
    assert set(opened(tmp_path).entries()) == {"kitchen", "other", "cellar:50000"}


@pytest.mark.parametrize("name", ["kitchen", "cellar:50000"])
def test_what_is_forgotten_may_come_with_another_key(tmp_path: Path, name: str) -> None:
    known = saved(tmp_path)

    assert known.forget(name)
    assert not known.forget(name)
    known.save()
    assert name not in opened(tmp_path).entries()


def test_forgetting_an_id_is_of_this_realm_alone(tmp_path: Path) -> None:
    saved(tmp_path)
    other = opened(tmp_path, "office")

    assert other.fingerprint_of("kitchen") is None
    assert not other.forget("kitchen")
    assert other.bind("kitchen", C, NOW)
    other.save()

    assert opened(tmp_path).fingerprint_of("kitchen") == A
    assert opened(tmp_path, "office").fingerprint_of("kitchen") == C


def test_of_other_realms_those_used_last_are_kept(tmp_path: Path) -> None:
    for number in range(10):
        known = opened(tmp_path, f"realm-{number}")
        known.bind("kitchen", A, NOW + number)
        known.save()

    kept = {f"realm-{number}" for number in range(2, 10)}
    assert set(content(tmp_path)) == kept
    known = opened(tmp_path, "realm-9")
    known.bind("cellar", A, NOW)
    known.save()
    assert set(content(tmp_path)) == kept


def test_a_full_table_binds_nothing_new(tmp_path: Path) -> None:
    known = opened(tmp_path, most=2)
    known.bind("one", A, NOW)
    known.bind("two", B, NOW)

    assert not known.bind("three", C, NOW + 30 * DAY)
    assert known.bind("one", A, NOW + 30 * DAY)
    assert known.fingerprint_of("three") is None
    assert known.bind_address("three:1", C, NOW)


def test_of_a_full_table_untrusted_ids_unseen_for_thirty_days_go(tmp_path: Path) -> None:
    known = opened(tmp_path, most=3)
    known.bind("trusted", A, NOW, trusted=True)
    known.bind("seen", B, NOW)
    known.bind("old", C, NOW)
    known.bind("seen", B, NOW + 2 * DAY)

    assert known.bind("new", A, NOW + 30 * DAY + 1)
    assert set(known.entries()) == {"trusted", "seen", "new"}


def test_that_a_key_became_trusted_is_kept(tmp_path: Path) -> None:
    known = opened(tmp_path, most=1)
    known.bind("kitchen", A, NOW)
    known.bind("kitchen", A, NOW + 1, trusted=True)
    known.save()

    again = opened(tmp_path, most=1)

    assert not again.bind("new", B, NOW + 365 * DAY)
    assert again.fingerprint_of("kitchen") == A


def test_a_full_table_of_addresses_takes_a_changed_key(tmp_path: Path) -> None:
    known = opened(tmp_path, most=1)
    known.bind_address("cellar:1", A, NOW)

    assert known.bind_address("cellar:1", B, NOW)
    assert not known.bind_address("attic:1", B, NOW)


def test_the_file_is_written_only_where_something_changed(tmp_path: Path) -> None:
    known = saved(tmp_path)
    (tmp_path / KNOWN_IDS_FILE).unlink()

    known.save()
    assert known.bind("kitchen", A, NOW + 3599)
    assert known.bind_address("cellar:50000", B, NOW + 3599)
    known.save()
    assert not (tmp_path / KNOWN_IDS_FILE).exists()

    known.bind("kitchen", A, NOW + 3600)
    known.save()
    assert content(tmp_path)["home"]["ids"]["kitchen"]["seen"] == NOW + 3600


def test_a_clock_that_was_wrong_is_corrected(tmp_path: Path) -> None:
    known = opened(tmp_path)
    known.bind("kitchen", A, NOW + 1000 * DAY)

    known.bind("kitchen", A, NOW)
    known.save()

    assert content(tmp_path)["home"]["ids"]["kitchen"]["seen"] == NOW


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"\xff\xfe",
        b'{"home": {"ids": {"kitchen": ' + b"[" * 100_000,
        b"\0" * 100,
        b'{"home": 5}',
    ],
    ids=["empty", "half", "list", "text", "no text", "nested", "zeros", "no table"],
)
def test_a_damaged_file_is_set_aside_and_told(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / KNOWN_IDS_FILE).write_bytes(damaged)
    known = KnownIds(tmp_path / KNOWN_IDS_FILE, "home")

    problem = known.load()

    assert f"{tmp_path / KNOWN_IDS_FILE}: damaged (" in problem
    assert str(tmp_path / f"{KNOWN_IDS_FILE}.damaged-1") in problem
    assert (tmp_path / f"{KNOWN_IDS_FILE}.damaged-1").read_bytes() == damaged
    assert not (tmp_path / KNOWN_IDS_FILE).exists()
    assert known.bind("kitchen", A, NOW)


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("bad", 5),
        ("bad", {"key": "short", "seen": 1}),
        ("bad", {"key": A.upper(), "seen": 1}),
        ("bad", {"key": A}),
        ("bad", {"key": A, "seen": "x"}),
        ("", {"key": A, "seen": 1}),
        ("x" * 513, {"key": A, "seen": 1}),
        ("\x1b[2J", {"key": A, "seen": 1}),
        ("\x1b[2J", 5),
    ],
)
@pytest.mark.parametrize("table", ["ids", "addresses"])
def test_a_bad_entry_costs_no_other(tmp_path: Path, table: str, name: str, entry: object) -> None:
    saved(tmp_path)
    tables = content(tmp_path)
    write(
        tmp_path,
        {**tables, "home": {**tables["home"], table: {name: entry, **tables["home"][table]}}},
    )
    known = KnownIds(tmp_path / KNOWN_IDS_FILE, "home")

    problem = known.load()

    assert "1 entries are bad" in problem
    assert problem.isprintable()
    assert dict(known.entries()) == {"kitchen": A, "cellar:50000": B}
    assert (tmp_path / f"{KNOWN_IDS_FILE}.damaged-1").exists()
    known.save()
    assert dict(opened(tmp_path).entries()) == {"kitchen": A, "cellar:50000": B}


def test_unknown_fields_are_ignored(tmp_path: Path) -> None:
    entry = {"key": A, "seen": 1, "later": 1}
    write(tmp_path, {"home": {"ids": {"kitchen": entry}, "later": []}})

    assert dict(opened(tmp_path).entries()) == {"kitchen": A}


def test_a_file_that_is_too_large_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path)
    monkeypatch.setattr("thenodes_core.store.known_ids._FILE_BYTES", 10)
    known = KnownIds(tmp_path / KNOWN_IDS_FILE, "home")

    assert "over 10 bytes" in known.load()
    assert not known.entries()


def test_a_full_file_of_all_realms_is_read_again(tmp_path: Path) -> None:
    for realm in range(3):
        known = opened(tmp_path, f"realm-{realm}", most=200)
        for number in range(200):
            known.bind(f"{number:0128}", A, NOW)
            known.bind_address(f"{number:0512}", A, NOW)
        known.save()

    assert len(opened(tmp_path, "realm-0").entries()) == 400


def test_a_file_that_cannot_be_read_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / KNOWN_IDS_FILE).mkdir()

    with pytest.raises(StateDirError, match=r"known_ids\.json: cannot be read"):
        KnownIds(tmp_path / KNOWN_IDS_FILE, "home").load()


def test_a_pipe_is_an_error_with_its_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / KNOWN_IDS_FILE)

    with pytest.raises(StateDirError, match=r"known_ids\.json: .*expected a regular file"):
        KnownIds(tmp_path / KNOWN_IDS_FILE, "home").load()


def test_a_file_that_links_to_itself_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / KNOWN_IDS_FILE).symlink_to(tmp_path / KNOWN_IDS_FILE)

    with pytest.raises(StateDirError, match=r"known_ids\.json: cannot be read"):
        KnownIds(tmp_path / KNOWN_IDS_FILE, "home").load()


def test_a_file_that_cannot_be_written_is_an_error_and_written_later(tmp_path: Path) -> None:
    known = KnownIds(tmp_path / "later" / KNOWN_IDS_FILE, "home")
    known.bind("kitchen", A, NOW)

    with pytest.raises(StateDirError, match=r"known_ids\.json: cannot be written"):
        known.save()
    (tmp_path / "later").mkdir()
    known.save()

    assert opened(tmp_path / "later").fingerprint_of("kitchen") == A
