"""Tests of the clocks and of the timeout that runs on them."""

from __future__ import annotations

import asyncio

import pytest

from thenodes_core.clock import ManualClock, SystemClock, settle, timeout


async def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(100.0)

    await settle()

    assert (clock.time(), clock.monotonic()) == (100.0, 100.0)


async def test_moving_the_clock_moves_both_readings() -> None:
    clock = ManualClock(100.0)

    await clock.advance(2.5)

    assert (clock.time(), clock.monotonic()) == (102.5, 102.5)


async def test_a_call_happens_when_its_time_has_come_and_not_before() -> None:
    clock = ManualClock()
    calls: list[str] = []
    clock.call_later(2.0, lambda: calls.append("called"))

    await clock.advance(1.999)
    assert calls == []
    await clock.advance(0.001)

    assert calls == ["called"]


async def test_calls_happen_in_the_order_of_their_times() -> None:
    clock = ManualClock()
    calls: list[int] = []
    for seconds in (3, 1, 2):
        clock.call_later(seconds, lambda seconds=seconds: calls.append(seconds))  # type: ignore[misc]

    await clock.advance(5)

    assert calls == [1, 2, 3]


async def test_calls_of_the_same_time_happen_in_the_order_they_were_asked_for() -> None:
    clock = ManualClock()
    calls: list[int] = []
    for number in range(5):
        clock.call_later(1.0, lambda number=number: calls.append(number))  # type: ignore[misc]

    await clock.advance(1)

    assert calls == [0, 1, 2, 3, 4]


async def test_a_call_sees_the_time_that_it_asked_for() -> None:
    clock = ManualClock(0.0)
    seen: list[float] = []
    clock.call_later(2.0, lambda: seen.append(clock.monotonic()))

    await clock.advance(10)

    assert seen == [2.0]


async def test_a_cancelled_call_never_happens() -> None:
    clock = ManualClock()
    calls: list[str] = []
    clock.call_later(1.0, lambda: calls.append("called")).cancel()

    await clock.advance(2)

    assert calls == []


async def test_a_call_asked_for_during_an_advance_happens_within_it() -> None:
    clock = ManualClock()
    calls: list[str] = []
    clock.call_later(1.0, lambda: clock.call_later(1.0, lambda: calls.append("second")))

    await clock.advance(2)

    assert calls == ["second"]


async def test_a_sleeper_wakes_when_the_clock_was_moved_that_far() -> None:
    clock = ManualClock()
    sleeper = asyncio.ensure_future(clock.sleep(5))

    await clock.advance(4.9)
    assert not sleeper.done()
    await clock.advance(0.1)

    assert sleeper.done()
    await sleeper


async def test_a_sleeper_that_is_cancelled_disturbs_no_later_advance() -> None:
    clock = ManualClock()
    sleeper = asyncio.ensure_future(clock.sleep(5))
    await settle()

    sleeper.cancel()
    await clock.advance(10)

    assert sleeper.cancelled()


async def test_two_sleepers_one_after_another_wake_within_one_advance() -> None:
    clock = ManualClock(0.0)

    async def twice() -> float:
        await clock.sleep(1)
        await clock.sleep(1)
        return clock.monotonic()

    sleeper = asyncio.ensure_future(twice())
    await clock.advance(5)

    assert await sleeper == 2.0


async def test_a_block_that_ends_in_time_is_not_disturbed() -> None:
    clock = ManualClock()

    async with timeout(clock, 1):
        await asyncio.sleep(0)
    await clock.advance(2)

    assert clock.monotonic() == 1_000_002.0


async def test_a_block_that_takes_longer_is_ended_with_a_timeout_error() -> None:
    clock = ManualClock()

    async def block() -> None:
        async with timeout(clock, 1):
            await asyncio.Event().wait()

    task = asyncio.ensure_future(block())
    await clock.advance(1)

    with pytest.raises(TimeoutError):
        await task


async def test_the_outer_of_two_timeouts_ends_both_blocks() -> None:
    clock = ManualClock()
    ended: list[str] = []

    async def blocks() -> None:
        async with timeout(clock, 1):
            try:
                async with timeout(clock, 5):
                    await asyncio.Event().wait()
            except TimeoutError:
                ended.append("the inner one")

    task = asyncio.ensure_future(blocks())
    await clock.advance(1)

    with pytest.raises(TimeoutError):
        await task
    assert ended == []


async def test_cancelling_a_block_is_not_taken_for_a_timeout() -> None:
    clock = ManualClock()

    async def block() -> None:
        async with timeout(clock, 1):
            await asyncio.Event().wait()

    task = asyncio.ensure_future(block())
    await settle()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_system_clock_calls_on_the_event_loop() -> None:
    called = asyncio.Event()

    SystemClock().call_later(0, called.set)

    await called.wait()


async def test_the_system_clock_never_goes_back() -> None:
    clock = SystemClock()
    before = clock.monotonic()

    await clock.sleep(0)

    assert clock.monotonic() >= before
