"""Versions, open files and room on disk, each with what is too little."""

from __future__ import annotations

import pytest

from thenodes_core.doctor.finding import Finding, Outcome, render
from thenodes_core.doctor.machine import check_descriptors, check_disk, check_versions


def test_an_old_python_and_a_missing_library_are_problems() -> None:
    found = check_versions((3, 10, 4), (3, 11), {"websockets": None, "msgspec": "0.19"})

    assert [one.outcome for one in found] == [Outcome.PROBLEM, Outcome.PROBLEM]
    assert "3.11" in found[0].fix
    assert found[1].fix == "pip install websockets"


def test_the_versions_that_are_there_are_told() -> None:
    (found,) = check_versions((3, 11, 7), (3, 11), {"msgspec": "0.19"})

    assert found.outcome is Outcome.OK
    assert found.text == "Python 3.11.7, msgspec 0.19"


@pytest.mark.parametrize(("limit", "outcome"), [(199, Outcome.WARNING), (200, Outcome.OK)])
def test_fewer_files_than_sessions_are_told(limit: int, outcome: Outcome) -> None:
    (found,) = check_descriptors(limit, 100)

    assert found.outcome is outcome


@pytest.mark.parametrize(
    ("mib", "outcome"), [(63, Outcome.PROBLEM), (64, Outcome.WARNING), (1024, Outcome.OK)]
)
def test_little_room_is_a_warning_and_hardly_any_a_problem(mib: int, outcome: Outcome) -> None:
    (found,) = check_disk(mib * 1024 * 1024, "/data")

    assert found.outcome is outcome


def test_a_finding_is_one_line_without_what_a_terminal_obeys() -> None:
    line = render(Finding("relay", Outcome.PROBLEM, "say \x1b[2J\nno", "ask", "a:1", 0.0123))

    assert line == "problem relay        a:1: say \\x1b[2J no (12 ms); ask"


def test_what_to_do_is_told_however_much_a_peer_says() -> None:
    line = render(Finding("relay", Outcome.PROBLEM, "x" * 5000, "ask", "a:1"))

    assert line.endswith("x…; ask")
    assert len(line) < 600
