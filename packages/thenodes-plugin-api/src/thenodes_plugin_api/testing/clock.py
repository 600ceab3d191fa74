"""Time that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

__all__ = ["ManualClock", "Timer", "settle", "timeout"]


class Timer(Protocol):
    """A call that will happen, unless it is cancelled."""

    def cancel(self) -> None:
        """Do not call."""
        ...


class _ManualTimer:
    def __init__(self, action: Callable[[], object]) -> None:
        self.action: Callable[[], object] | None = action

    def cancel(self) -> None:
        self.action = None


class ManualClock:
    """A plugin's clock that stands still until `await clock.advance(seconds)` moves it.

    Args:
        start: the first reading of `time` and `monotonic`.
    """

    def __init__(self, start: float = 1_000_000.0) -> None:
        self._now = start
        self._order = itertools.count()
        self._timers: list[tuple[float, int, _ManualTimer]] = []

    def time(self) -> float:
        """Unix seconds."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._now

    @property
    def sleepers(self) -> int:
        """How many sleeps and timers wait for the clock to be moved."""
        return sum(timer.action is not None for _, _, timer in self._timers)

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock was moved that far; without end if nobody moves it."""
        woken = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        timer = self.call_later(seconds, wake)
        try:
            await woken
        finally:
            timer.cancel()

    def call_later(self, seconds: float, action: Callable[[], object]) -> Timer:
        """Call `action` once, when the clock was moved that far."""
        timer = _ManualTimer(action)
        heapq.heappush(self._timers, (self._now + seconds, next(self._order), timer))
        return timer

    async def advance(self, seconds: float) -> None:
        """Move the clock, and let whatever falls due run, in its order.

        Raises:
            ValueError: `seconds` is negative: time does not go back.
        """
        if seconds < 0:
            raise ValueError(f"advance by {seconds!r} seconds: time does not go back")
        until = self._now + seconds
        await settle()
        while self._timers and self._timers[0][0] <= until:
            self._now, _, timer = heapq.heappop(self._timers)
            action, timer.action = timer.action, None
            if action is not None:
                action()
                await settle()
        self._now = until
        await settle()


async def settle(turns: int = 50) -> None:
    """Let every task that can run do so, for that many turns of the event loop."""
    for _ in range(turns):
        await asyncio.sleep(0)


@asynccontextmanager
async def timeout(clock: ManualClock, seconds: float) -> AsyncIterator[None]:
    """Raise TimeoutError where the block takes longer than `seconds` of `clock`."""
    async with asyncio.timeout(None) as limit:
        loop = asyncio.get_running_loop()

        def expire() -> None:
            if not limit.expired():
                limit.reschedule(loop.time())

        timer = clock.call_later(seconds, expire)
        try:
            yield
        finally:
            timer.cancel()
