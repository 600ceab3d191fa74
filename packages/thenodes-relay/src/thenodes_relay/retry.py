"""Reliable frames that were sent and not yet acknowledged, and when they are sent again."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence

__all__ = ["FIRST_SECONDS", "LONGEST_SECONDS", "Retries"]

FIRST_SECONDS = 0.5
"""Until the first repeat."""

LONGEST_SECONDS = 30.0
"""Between two repeats, at most."""

_NEVER = math.inf


class _Waiting:
    __slots__ = ("at", "delay")

    def __init__(self, delay: float, at: float) -> None:
        self.delay = delay
        self.at = at


class Retries:
    """What waits for an ACK, by its row in the store.

    A frame is due 0.5 s after it was sent, then after twice as long each time, up to 30 s. A
    tenth more or less, at random, keeps frames that were sent together from coming together.

    Bounded by the frames that are stored. Times are of a clock that never goes back, in
    seconds.

    Args:
        random: gives numbers from 0 up to 1.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._waiting: dict[int, _Waiting] = {}
        self._heap: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, row: int) -> bool:
        return row in self._waiting

    def sent(self, row: int, now: float) -> bool:
        """Note that a frame was sent; returns whether that was a repeat."""
        waiting = self._waiting.get(row)
        is_repeat = waiting is not None
        if waiting is None:
            waiting = self._waiting[row] = _Waiting(FIRST_SECONDS, now)
        delay = waiting.delay * (0.9 + 0.2 * self._random())
        waiting.at = now + min(delay, LONGEST_SECONDS)
        waiting.delay = min(2 * waiting.delay, LONGEST_SECONDS)
        heapq.heappush(self._heap, (waiting.at, row))
        return is_repeat

    def acked(self, row: int) -> bool:
        """Forget a frame that is acknowledged, or ended; returns whether it waited."""
        if self._waiting.pop(row, None) is None:
            return False
        if len(self._heap) > 64 + 2 * len(self._waiting):
            waits = self._waiting.items()
            self._heap = [(waiting.at, number) for number, waiting in waits if waiting.at < _NEVER]
            heapq.heapify(self._heap)
        return True

    def reset(self, row: int, now: float) -> None:
        """Have a frame due at once, with the shortest delay after it: its target has come back."""
        if waiting := self._waiting.get(row):
            waiting.delay = FIRST_SECONDS
            waiting.at = now
            heapq.heappush(self._heap, (now, row))

    def due(self, now: float) -> Sequence[int]:
        """Rows whose time has come, the earliest first.

        Each is named once; it comes again only after `sent`.
        """
        rows = []
        while self._heap and self._heap[0][0] <= now:
            at, row = heapq.heappop(self._heap)
            if self._is_current(at, row):
                self._waiting[row].at = _NEVER
                rows.append(row)
        return rows

    def next_deadline(self) -> float | None:
        """When the next one is due; None where nothing waits to be."""
        while self._heap and not self._is_current(*self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _is_current(self, at: float, row: int) -> bool:
        waiting = self._waiting.get(row)
        return waiting is not None and waiting.at == at
