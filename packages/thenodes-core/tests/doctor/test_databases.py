"""Databases that are whole, damaged, large or not there."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from thenodes_core.doctor.databases import check_database
from thenodes_core.doctor.finding import Outcome


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a b?.sqlite3"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE t (x, y)")
        database.execute("CREATE INDEX i ON t (x)")
        rows = ((n, "x" * 100) for n in range(20_000))
        database.executemany("INSERT INTO t VALUES (?, ?)", rows)
        database.commit()
    return path


def test_a_whole_database_is_fine_and_left_as_it_is(path: Path) -> None:
    before = path.read_bytes()

    (found,) = check_database(path, "frames")

    assert found.outcome is Outcome.OK
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_database_that_is_written_to_meanwhile_is_read_as_it_is(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("INSERT INTO t VALUES (1, 2)")
        database.commit()
        database.execute("INSERT INTO t VALUES (3, 4)")

        assert check_database(path, "frames")[0].outcome is Outcome.OK


def test_a_damaged_database_is_a_problem(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8192:16384] = b"\xff" * 8192
    path.write_bytes(content)

    (found,) = check_database(path, "frames")

    assert found.outcome is Outcome.PROBLEM
    assert "damaged" in found.text


def test_what_is_no_database_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite3"
    path.write_bytes(b"not a database at all" * 100)

    assert check_database(path, "frames")[0].outcome is Outcome.PROBLEM


def test_a_large_database_is_read_only_for_so_long(path: Path) -> None:
    (found,) = check_database(path, "frames", most_seconds=0.0)

    assert found.outcome is Outcome.OK
    assert "as far as 0 s of reading went" in found.text


def test_one_that_is_not_there_yet_is_fine_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite3"

    assert check_database(path, "frames")[0].outcome is Outcome.OK
    assert not path.exists()
