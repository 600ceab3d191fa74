"""Rows of targets, in memory."""

from __future__ import annotations

import pytest

from thenodes_relay.store.places import Places


@pytest.fixture
def places() -> Places:
    places = Places()
    for row in range(1, 11):
        places.add("even" if row % 2 == 0 else "odd", row)
    return places


def test_rows_of_a_target_come_in_order(places: Places) -> None:
    assert places.after("odd", 0, 100) == [1, 3, 5, 7, 9]
    assert places.after("nobody", 0, 100) == []


def test_the_limit_and_the_row_before_are_kept_to(places: Places) -> None:
    assert places.after("even", 2, 3) == [4, 6, 8]
    assert places.after("even", 3, 3) == [4, 6, 8]
    assert places.after("even", 10, 3) == []


def test_what_was_discarded_makes_room_for_what_comes_after(places: Places) -> None:
    places.discard("odd", [1, 5])

    assert places.after("odd", 0, 2) == [3, 7]


def test_what_is_leaving_is_passed_over(places: Places) -> None:
    assert places.after("odd", 0, 2, {1, 5}) == [3, 7]


def test_rows_of_another_target_are_not_discarded(places: Places) -> None:
    places.discard("odd", [2, 4, 99])
    places.discard("nobody", [2])

    assert places.after("odd", 0, 100) == [1, 3, 5, 7, 9]
    assert places.after("even", 0, 100) == [2, 4, 6, 8, 10]


def test_a_target_can_become_empty_and_have_rows_again(places: Places) -> None:
    places.discard("odd", [9, 7, 5, 3, 1])
    places.add("odd", 11)

    assert places.after("odd", 0, 100) == [11]


def test_restored_rows_are_put_in_order(places: Places) -> None:
    places.restore("odd", [9, 1, 5])

    assert places.after("odd", 0, 100) == [1, 5, 9]


def test_rows_that_went_give_their_room_back() -> None:
    places = Places()
    for row in range(1, 100_001):
        places.add("bob", row)
        if row % 10:
            places.discard("bob", [row])

    assert len(places._targets["bob"].rows) < 2 * 10_000 + 2048
    assert places.after("bob", 500, 3) == [510, 520, 530]


def test_the_oldest_rows_that_went_are_not_looked_at_again() -> None:
    places = Places()
    for row in range(1, 1001):
        places.add("bob", row)

    places.discard("bob", range(900, 0, -1))

    target = places._targets["bob"]
    assert (target.first, target.gone) == (900, set())
    assert places.after("bob", 0, 2) == [901, 902]


def test_everything_can_be_forgotten(places: Places) -> None:
    places.clear()

    assert places.after("odd", 0, 100) == []
