"""When a frame without an ACK is sent again."""

from __future__ import annotations

import pytest

from thenodes_relay.retry import LONGEST_SECONDS, Retries


@pytest.fixture
def retries() -> Retries:
    return Retries(lambda: 0.5)


def test_a_frame_is_due_half_a_second_after_it_was_sent(retries: Retries) -> None:
    retries.sent(7, 100.0)

    assert retries.next_deadline() == 100.5
    assert retries.due(100.4) == []
    assert retries.due(100.5) == [7]


def test_each_wait_is_twice_the_one_before_up_to_thirty_seconds(retries: Retries) -> None:
    waits = []
    now = 0.0
    for _ in range(9):
        retries.sent(7, now)
        deadline = retries.next_deadline()
        assert deadline is not None
        waits.append(deadline - now)
        assert retries.due(deadline) == [7]
        now = deadline

    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize(("random", "wait"), [(0.0, 0.45), (1.0, 0.55)])
def test_waits_differ_by_up_to_a_tenth(random: float, wait: float) -> None:
    retries = Retries(lambda: random)

    retries.sent(7, 0.0)

    assert retries.next_deadline() == pytest.approx(wait)


def test_no_wait_is_longer_than_the_longest() -> None:
    retries = Retries(lambda: 1.0)
    for number in range(20):
        retries.sent(7, float(number))

    deadline = retries.next_deadline()

    assert deadline == 19.0 + LONGEST_SECONDS


def test_the_second_time_is_a_repeat(retries: Retries) -> None:
    assert [retries.sent(7, 0.0), retries.sent(7, 1.0)] == [False, True]


def test_an_acknowledged_frame_is_not_due(retries: Retries) -> None:
    retries.sent(7, 0.0)
    retries.sent(8, 0.1)

    assert retries.acked(7)

    assert retries.next_deadline() == 0.6
    assert retries.due(10.0) == [8]
    assert (7 in retries, 8 in retries, len(retries)) == (False, True, 1)


def test_an_acknowledgement_of_nothing_says_so(retries: Retries) -> None:
    assert not retries.acked(7)


def test_a_frame_that_is_due_is_named_once_until_it_is_sent(retries: Retries) -> None:
    retries.sent(7, 0.0)
    first = retries.due(1.0)

    assert (first, retries.due(5.0), retries.next_deadline()) == ([7], [], None)

    retries.sent(7, 5.0)
    assert retries.due(6.0) == [7]


def test_a_frame_of_a_target_that_came_back_is_due_at_once_and_then_soon(
    retries: Retries,
) -> None:
    for now in (0.0, 1.0, 3.0, 7.0):
        retries.sent(7, now)

    retries.reset(7, 8.0)
    retries.reset(7, 8.0)
    assert retries.due(8.0) == [7]
    retries.sent(7, 8.0)

    assert retries.next_deadline() == 8.5


def test_frames_come_in_the_order_of_their_time(retries: Retries) -> None:
    retries.sent(1, 2.0)
    retries.sent(2, 0.0)
    retries.sent(3, 1.0)

    assert retries.due(10.0) == [2, 3, 1]


def test_what_is_acknowledged_takes_no_room(retries: Retries) -> None:
    for row in range(100_000):
        retries.sent(row, 0.0)
        if row >= 10:
            retries.acked(row)

    assert len(retries) == 10
    assert len(retries._heap) < 100
    assert retries.due(1.0) == list(range(10))
