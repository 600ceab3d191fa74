"""Peers are named by the beginning of their id."""

from __future__ import annotations

import pytest

from thenodes_core.control.naming import find_peer, shortest
from thenodes_core.errors import CommandFailed

IDS = ["kitchen", "kitchen2", "hall", "\x1bevil"]


@pytest.mark.parametrize(("typed", "found"), [("h", "hall"), ("kitchen", "kitchen")])
def test_a_unique_beginning_or_a_whole_id_names_a_peer(typed: str, found: str) -> None:
    assert find_peer(typed, IDS) == found


def test_a_beginning_of_several_is_told_with_the_candidates() -> None:
    with pytest.raises(CommandFailed, match="'kit' is the beginning of several: kitchen, kitchen2"):
        find_peer("kit", IDS)


def test_of_many_candidates_some_are_told_and_how_many_there_are() -> None:
    with pytest.raises(CommandFailed, match=r"n0, n1, .*n5 and 94 more; type more of it"):
        find_peer("n", [f"n{number}" for number in range(6)] + [f"nn{n}" for n in range(94)])


@pytest.mark.parametrize("typed", ["x", ""])
def test_what_begins_no_id_is_told(typed: str) -> None:
    with pytest.raises(CommandFailed, match="no peer's id begins with"):
        find_peer(typed, IDS)


def test_what_others_chose_is_escaped() -> None:
    with pytest.raises(CommandFailed) as raised:
        find_peer("\x1b[2J", IDS)

    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("ids", "length"),
    [([], 8), (["a" * 32], 8), (["aaaaaaaaaaab", "aaaaaaaaaaac"], 12), (["k" * 9, "k" * 12], 10)],
)
def test_so_many_characters_tell_ids_apart(ids: list[str], length: int) -> None:
    assert shortest(ids) == length
