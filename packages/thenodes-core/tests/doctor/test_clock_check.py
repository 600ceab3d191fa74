"""The clock is compared with what cannot be from the future."""

from __future__ import annotations

from thenodes_core.doctor.clock import Dated, card, check_clock
from thenodes_core.doctor.finding import Outcome

NOW = 1_000_000_000.0
DAY = 86_400.0


def test_a_clock_that_is_behind_a_file_is_a_problem() -> None:
    (found,) = check_clock(NOW, [Dated("the file a", NOW + 91), Dated("the file b", NOW)])

    assert found.outcome is Outcome.PROBLEM
    assert "91 s behind: the file a is newer" in found.text
    assert "clock" in found.fix


def test_a_file_that_is_a_moment_ahead_is_not() -> None:
    (found,) = check_clock(NOW, [Dated("the file a", NOW + 89)])

    assert found.outcome is Outcome.OK
    assert "not behind the only date here (the file a)" in found.text
    assert "whether it is ahead nothing tells" in found.text


def test_a_clock_that_is_behind_the_card_of_a_peer_is_a_problem() -> None:
    (found,) = check_clock(NOW, [card("kitchen", NOW + 3 * DAY)])

    assert found.outcome is Outcome.PROBLEM
    assert "3 days behind: the card of kitchen" in found.text


def test_where_all_cards_are_old_the_clock_may_be_ahead() -> None:
    (found,) = check_clock(NOW, [card("a", NOW - 3 * DAY), card("b", NOW - 4 * DAY)])

    assert found.outcome is Outcome.WARNING
    assert "the card of a is 3 days old" in found.text


def test_one_fresh_card_speaks_for_the_clock() -> None:
    (found,) = check_clock(NOW, [card("a", NOW - 3 * DAY), card("b", NOW - DAY)])

    assert found.outcome is Outcome.OK
    assert "the newest of 2 dates (the card of b)" in found.text
    assert "not a day ahead of the peers" in found.text


def test_where_nothing_is_dated_that_is_said() -> None:
    (found,) = check_clock(NOW, [])

    assert found.outcome is Outcome.WARNING
