"""Counts of what happened, by name and reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

__all__ = ["Counters"]


class Counters:
    """A node's counters. Names and reasons come from code, never from a peer."""

    def __init__(self) -> None:
        self._values: Counter[str] = Counter()

    def add(self, name: str, amount: int = 1, *, reason: str | None = None) -> None:
        """Count something; with a reason it is counted as `name.reason`."""
        self._values[f"{name}.{reason}" if reason else name] += amount

    def get(self, name: str, *, reason: str | None = None) -> int:
        """Return one count, 0 where nothing was counted."""
        return self._values[f"{name}.{reason}" if reason else name]

    def snapshot(self) -> Mapping[str, int]:
        """Return all counts, ordered by name."""
        return dict(sorted(self._values.items()))
