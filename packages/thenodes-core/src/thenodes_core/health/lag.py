"""How late the event loop is."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import deque
from types import TracebackType
from typing import Self

__all__ = ["BUCKETS", "LoopLag"]

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the histogram, seconds; one more holds everything above."""

_EVERY_SECONDS = 0.25
_RECENT = 20


class LoopLag:
    """Measures how late a timer of 250 ms is, in the running event loop's own time.

    Use as a context manager.

    Attributes:
        counts: measurements by bucket, those above the last bound at the end.
        sum_seconds: of all measurements.
    """

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum_seconds = 0.0
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def peak_seconds(self) -> float:
        """The latest that it was within the last five seconds; 0 before the first measurement."""
        return max(self._recent, default=0.0)

    def __enter__(self) -> Self:
        """Begin to measure."""
        self._begin(asyncio.get_running_loop())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def add(self, seconds: float) -> None:
        """Count one measurement."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum_seconds += seconds
        self._recent.append(seconds)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = loop.time() + _EVERY_SECONDS
        self._timer = loop.call_at(self._due, self._measure, loop)

    def _measure(self, loop: asyncio.AbstractEventLoop) -> None:
        self.add(max(0.0, loop.time() - self._due))
        self._begin(loop)
