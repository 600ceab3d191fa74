"""Time, handed in: the system's, or one that a test moves."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

__all__ = ["Clock", "ManualClock", "SystemClock", "Timer", "timeout"]


class Timer(Protocol):
    """A call that will happen, unless it is cancelled."""

    def cancel(self) -> None:
        """Do not call."""
        ...


class Clock(Protocol):
    """What the drivers ask of time; a plugin's `Clock` is its first three methods."""

    def time(self) -> float:
        """Unix seconds."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    def call_later(self, seconds: float, action: Callable[[], object]) -> Timer:
        """Call `action` once, after `seconds`."""
        ...


class SystemClock:
    """The system's time and the running event loop's timers."""

    def time(self) -> float:
        """Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, action: Callable[[], object]) -> Timer:
        """Call `action` once, after `seconds`."""
        return asyncio.get_running_loop().call_later(seconds, action)


class _ManualTimer:
    def __init__(self, action: Callable[[], object]) -> None:
        self.action: Callable[[], object] | None = action

    def cancel(self) -> None:
        self.action = None


class ManualClock:
    """A clock that stands still until `advance` moves it.

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

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock was moved that far."""
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
        """Move the clock, calling what falls due in its order and letting tasks run between."""
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
async def timeout(clock: Clock, seconds: float) -> AsyncIterator[None]:
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
