"""How late the event loop is."""

from __future__ import annotations

import asyncio
import time

from thenodes_core.health.lag import BUCKETS, LoopLag


def test_measurements_are_counted_by_their_upper_bounds() -> None:
    lag = LoopLag()
    for seconds in (0.0, 0.001, 0.0011, 0.3, 99.0):
        lag.add(seconds)

    assert len(lag.counts) == len(BUCKETS) + 1
    assert lag.counts[0] == 2
    assert lag.counts[1] == 1
    assert lag.counts[BUCKETS.index(0.5)] == 1
    assert lag.counts[-1] == 1
    assert lag.sum_seconds == 99.3021


def test_the_peak_is_of_the_last_five_seconds() -> None:
    lag = LoopLag()
    assert lag.peak_seconds == 0

    lag.add(2.0)
    assert lag.peak_seconds == 2.0
    for _ in range(20):
        lag.add(0.01)
    assert lag.peak_seconds == 0.01


async def test_a_loop_that_is_held_is_late() -> None:
    with LoopLag() as lag:
        await asyncio.sleep(0)
        time.sleep(0.4)  # noqa: ASYNC251 - what is measured
        await asyncio.sleep(0.01)

    assert 0.14 < lag.peak_seconds < 5
    assert sum(lag.counts) == 1


async def test_nothing_is_measured_afterwards() -> None:
    with LoopLag() as lag:
        pass
    await asyncio.sleep(0.3)

    assert sum(lag.counts) == 0
