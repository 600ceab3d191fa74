"""How long to wait before the next attempt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thenodes_core.peers.backoff import Backoff


def highest() -> float:
    return 1.0


def lowest() -> float:
    return 0.0


def test_the_bound_doubles_up_to_the_cap() -> None:
    backoff = Backoff(highest, base_seconds=1.0, cap_seconds=8.0)

    assert [backoff.next_seconds() for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_the_wait_is_never_shorter_than_the_least() -> None:
    backoff = Backoff(lowest, least_seconds=0.25)

    assert [backoff.next_seconds() for _ in range(3)] == [0.25, 0.25, 0.25]


def test_after_a_reset_it_begins_again() -> None:
    backoff = Backoff(highest, base_seconds=1.0, cap_seconds=8.0)
    for _ in range(5):
        backoff.next_seconds()

    backoff.reset()

    assert backoff.next_seconds() == 1.0


def test_a_peer_may_ask_for_a_longer_wait() -> None:
    assert Backoff(highest).next_seconds(at_least=60.0) == 60.0


@pytest.mark.parametrize("at_least", [0.0, -1.0, 0.5])
def test_a_peer_cannot_ask_for_a_shorter_wait(at_least: float) -> None:
    assert Backoff(highest, base_seconds=1.0).next_seconds(at_least=at_least) == 1.0


@pytest.mark.parametrize("at_least", [3601.0, 1e300, float("inf")])
def test_no_more_than_an_hour_of_a_peers_wish_is_believed(at_least: float) -> None:
    assert Backoff(highest).next_seconds(at_least=at_least) == 3600.0


def test_a_wish_that_is_no_number_is_not_believed() -> None:
    assert Backoff(highest, base_seconds=1.0).next_seconds(at_least=float("nan")) == 1.0


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 2000))
def test_the_wait_lies_between_the_least_and_the_cap(number: float, failures: int) -> None:
    backoff = Backoff(lambda: number)
    for _ in range(failures):
        backoff.next_seconds()

    assert 0.1 <= backoff.next_seconds() <= 10.0
