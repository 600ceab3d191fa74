"""Columns, and numbers as people read them."""

from __future__ import annotations

import pytest

from thenodes_core.control.table import clock, columns, duration, milliseconds, section, size


def test_columns_begin_below_each_other_and_numbers_end_there() -> None:
    lines = columns([("a", "1", "x"), ("long", "22", "")], head=("N", "COUNT", "LAST"), right=[1])

    assert lines == ["N     COUNT  LAST", "a         1  x", "long     22"]


def test_no_rows_are_no_lines() -> None:
    assert columns([]) == []


def test_cells_are_escaped_and_cut() -> None:
    (line,) = columns([("a\x1b[2J\n", "x" * 1000)])

    assert line.startswith("a\\x1b[2J\\n  xxx")
    assert len(line) < 250


def test_a_section_has_its_title_beside_its_first_line() -> None:
    assert section("peers", ["a", "b"]) == ["peers      a", "           b"]
    assert section("peers", []) == ["peers      none"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0.9, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3601, "1 h 1 s"),
        (3661, "1 h 1 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_duration_is_told_by_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "-"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_940, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (10**15, "1000 TB"),
    ],
)
def test_bytes_are_told_in_the_unit_that_fits(count: int | None, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0.0004, "0.4 ms"), (0.00994, "9.9 ms"), (0.12, "120 ms")]
)
def test_a_round_trip_is_told_in_milliseconds(seconds: float | None, text: str) -> None:
    assert milliseconds(seconds) == text


def test_a_moment_of_today_is_told_by_its_time_and_another_by_its_date() -> None:
    assert clock(None, 0.0) == "-"
    assert len(clock(100_000.0, 100_001.0)) == len("12:00:00")
    assert clock(100_000.0, 1_000_000.0) == "1970-01-02"
