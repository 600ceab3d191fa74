"""Counts of what happened, by name and reason, and levels of what is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

__all__ = ["Counters"]


class Counters:
    """A node's counters. Names and reasons come from code, never from a peer."""

    def __init__(self) -> None:
        self._values: Counter[str] = Counter()
        self._levels: dict[str, Callable[[], float | None]] = {}

    def add(self, name: str, amount: int = 1, *, reason: str | None = None) -> None:
        """Count something; with a reason it is counted as `name.reason`."""
        self._values[f"{name}.{reason}" if reason else name] += amount

    def get(self, name: str, *, reason: str | None = None) -> int:
        """Return one count, 0 where nothing was counted."""
        return self._values[f"{name}.{reason}" if reason else name]

    def snapshot(self) -> Mapping[str, int]:
        """Return all counts, ordered by name."""
        return dict(sorted(self._values.items()))

    def as_counted(self) -> Mapping[str, int]:
        """Return all counts, in the order in which they were first counted."""
        return dict(self._values)

    def show_level(self, name: str, read: Callable[[], float | None]) -> Callable[[], None]:
        """Show a number that may also go down; returns what takes it away.

        Args:
            name: of it.
            read: returns it, or None where it is not known.

        Raises:
            ValueError: the name is taken.
        """
        if name in self._levels:
            raise ValueError(f"the level {name!r} is shown already")
        self._levels[name] = read
        return lambda: self._levels.pop(name, None) and None

    def levels(self) -> Mapping[str, float]:
        """Read all levels that are known, in the order in which they were first shown."""
        read = [(name, level()) for name, level in self._levels.items()]
        return {name: value for name, value in read if value is not None}
