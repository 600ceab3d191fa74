"""How long a relay that refused is left alone."""

from __future__ import annotations

import pytest

from thenodes_plugin_api import Reason
from thenodes_relay.client.refusals import Refusals


def waits(reason: Reason, count: int, random: float = 0.999) -> list[float]:
    """The waits after so many refusals in a row."""
    refusals: Refusals[str] = Refusals(lambda: random)
    return [round(refusals.note("relay", reason, 0.0).until, 1) for _ in range(count)]


def test_the_wait_doubles_up_to_its_bound() -> None:
    assert waits(Reason.OVERLOAD, 7) == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


@pytest.mark.parametrize(
    ("reason", "seconds"),
    [(Reason.TIMEOUT, 1.0), (Reason.QUOTA, 2.0), (Reason.POLICY_DENIED, 30.0)],
)
def test_what_an_operator_has_to_change_waits_longest(reason: Reason, seconds: float) -> None:
    assert waits(reason, 1) == [seconds]


def test_chance_takes_up_to_half_of_the_wait() -> None:
    assert waits(Reason.OVERLOAD, 1, random=0.0) == [1.0]


def test_what_the_relay_says_is_waited_for_at_least_but_no_more_than_an_hour() -> None:
    refusals: Refusals[str] = Refusals(lambda: 0.0)

    assert refusals.note("a", Reason.OVERLOAD, 0.0, retry_after=50.0).until == 50.0
    assert refusals.note("b", Reason.OVERLOAD, 0.0, retry_after=0.1).until == 1.0
    assert refusals.note("c", Reason.OVERLOAD, 0.0, retry_after=1e9).until == 3600.0


def test_a_refusal_counts_until_its_time_is_over() -> None:
    refusals: Refusals[str] = Refusals(lambda: 0.0)
    refusals.note("relay", Reason.OVERLOAD, 100.0)

    assert refusals.blocking("relay", 100.9) is not None
    assert refusals.blocking("relay", 101.0) is None
    assert refusals.blocking("other", 100.0) is None


def test_what_was_granted_begins_anew() -> None:
    refusals: Refusals[str] = Refusals(lambda: 0.0)
    refusals.note("relay", Reason.OVERLOAD, 0.0)
    refusals.forget("relay")

    assert refusals.blocking("relay", 0.0) is None
    assert refusals.note("relay", Reason.OVERLOAD, 0.0).until == 1.0


def test_the_oldest_of_4097_refusals_is_forgotten() -> None:
    refusals: Refusals[int] = Refusals(lambda: 0.0)
    for number in range(4097):
        refusals.note(number, Reason.POLICY_DENIED, 0.0)

    assert refusals.blocking(0, 1.0) is None
    assert refusals.blocking(1, 1.0) is not None


def test_what_matches_is_asked_again_at_once() -> None:
    refusals: Refusals[str] = Refusals(lambda: 0.0)
    refusals.note("relay", Reason.POLICY_DENIED, 0.0)
    refusals.note("other", Reason.POLICY_DENIED, 0.0)
    refusals.forget_where(lambda key: key == "relay")

    assert refusals.blocking("relay", 0.0) is None
    assert refusals.blocking("other", 0.0) is not None
