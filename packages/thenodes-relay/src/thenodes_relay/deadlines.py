"""What is due when."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Deadlines"]

K = TypeVar("K", bound=Hashable)

_STALE_AT_LEAST = 64


class Deadlines(Generic[K]):
    """One moment a key, the soonest first; pure, a change costs O(log n).

    A key that was moved leaves its old entry in the heap; such entries are swept out before
    they are more than the live ones.
    """

    __slots__ = ("_heap", "_number", "_when")

    def __init__(self) -> None:
        self._when: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._number = itertools.count()

    def __len__(self) -> int:
        return len(self._when)

    @property
    def entries(self) -> int:
        """How much room it takes: entries of the heap."""
        return len(self._heap)

    @property
    def next(self) -> float | None:
        """The soonest moment; None where nothing is due ever."""
        heap = self._heap
        while heap and self._when.get(heap[0][2]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def set(self, key: K, when: float | None) -> None:
        """Let a key be due at a moment; never, where that is None."""
        if when is None:
            self._when.pop(key, None)
        elif self._when.get(key) != when:
            self._when[key] = when
            heapq.heappush(self._heap, (when, next(self._number), key))
        if len(self._heap) > 2 * len(self._when) + _STALE_AT_LEAST:
            self._heap = [entry for entry in self._heap if self._when.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)

    def due(self, now: float) -> list[K]:
        """Take out what is due, the soonest first."""
        keys = []
        while (when := self.next) is not None and when <= now:
            key = heapq.heappop(self._heap)[2]
            del self._when[key]
            keys.append(key)
        return keys
