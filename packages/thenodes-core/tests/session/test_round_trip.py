"""How long a peer takes to answer, over a link that the test answers for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from thenodes_core.clock import ManualClock, settle
from thenodes_core.session.round_trip import RoundTrip
from thenodes_core.transport.base import Link
from thenodes_plugin_api import NotConnected


class Line:
    """Keeps what asks, until the test answers."""

    def __init__(self) -> None:
        self.asked: list[Callable[[], None]] = []
        self.is_full = False

    def ping(self, answered: Callable[[], None]) -> bool:
        if not self.is_full:
            self.asked.append(answered)
        return not self.is_full


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def round_trip(line: Line, clock: ManualClock) -> RoundTrip:
    return RoundTrip(cast("Link", line), clock)


async def test_the_time_until_the_answer_is_the_round_trip(
    line: Line, round_trip: RoundTrip, clock: ManualClock
) -> None:
    assert round_trip.seconds is None
    round_trip.start()
    await clock.advance(0.25)

    line.asked[0]()

    assert round_trip.seconds == 0.25


async def test_it_is_due_again_half_a_minute_after_it_was_asked(
    line: Line, round_trip: RoundTrip, clock: ManualClock
) -> None:
    assert round_trip.is_due(clock.monotonic())
    round_trip.start()
    line.asked[0]()

    await clock.advance(29.9)
    assert not round_trip.is_due(clock.monotonic())
    await clock.advance(0.2)
    assert round_trip.is_due(clock.monotonic())


async def test_a_peer_that_never_answers_is_asked_once(
    line: Line, round_trip: RoundTrip, clock: ManualClock
) -> None:
    round_trip.start()
    for _ in range(100):
        await clock.advance(30.0)
        assert not round_trip.is_due(clock.monotonic())
        assert round_trip.start()

    assert (len(line.asked), round_trip.seconds) == (1, None)


async def test_an_answer_that_comes_twice_counts_once(
    line: Line, round_trip: RoundTrip, clock: ManualClock
) -> None:
    round_trip.start()
    line.asked[0]()
    await clock.advance(5.0)

    line.asked[0]()

    assert round_trip.seconds == 0.0


async def test_a_peer_for_which_bytes_wait_is_asked_once_they_are_gone(
    line: Line, round_trip: RoundTrip, clock: ManualClock
) -> None:
    line.is_full = True
    assert not round_trip.start()
    assert round_trip.is_due(clock.monotonic())
    measuring = asyncio.ensure_future(round_trip.measure(5.0))
    await clock.advance(1.0)
    assert line.asked == []

    line.is_full = False
    await clock.advance(0.1)
    line.asked[0]()

    assert await measuring < 0.1


async def test_many_who_ask_at_once_share_one_ping(
    line: Line, round_trip: RoundTrip, clock: ManualClock
) -> None:
    asking = [asyncio.ensure_future(round_trip.measure(5.0)) for _ in range(3)]
    await settle()
    await clock.advance(0.5)

    line.asked[0]()

    assert (await asyncio.gather(*asking), len(line.asked)) == ([0.5] * 3, 1)


async def test_whoever_gave_up_is_not_kept_where_the_peer_never_answers(
    line: Line, round_trip: RoundTrip, clock: ManualClock
) -> None:
    for _ in range(3):
        asking = asyncio.ensure_future(round_trip.measure(5.0))
        await settle()
        await clock.advance(5.0)
        with pytest.raises(TimeoutError):
            await asking

    assert round_trip._waiting == []


async def test_who_asks_after_the_end_is_told_at_once_though_a_ping_was_outstanding(
    round_trip: RoundTrip,
) -> None:
    round_trip.start()
    round_trip.end()

    with pytest.raises(NotConnected, match="the session has ended"):
        await round_trip.measure(5.0)


async def test_who_asks_waits_until_his_deadline_and_no_longer(
    line: Line, round_trip: RoundTrip, clock: ManualClock
) -> None:
    asking = asyncio.ensure_future(round_trip.measure(5.0))
    await settle()
    await clock.advance(5.0)

    with pytest.raises(TimeoutError):
        await asking
    line.asked[0]()
    assert round_trip.seconds == 5.0


@pytest.mark.parametrize("is_full", [False, True])
async def test_the_end_of_the_session_ends_the_waiting(
    line: Line, round_trip: RoundTrip, clock: ManualClock, is_full: bool
) -> None:
    line.is_full = is_full
    asking = asyncio.ensure_future(round_trip.measure(5.0))
    await settle()

    round_trip.end()
    await clock.advance(0.1)

    with pytest.raises(NotConnected, match="ended"):
        await asking
