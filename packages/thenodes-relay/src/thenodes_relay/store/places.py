"""Which rows belong to which target, in memory: 8 bytes a frame."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Set

__all__ = ["Places"]

_SPARE = 1024  # Rows that may be gone and still take room, besides as many as there are.


class _Target:
    """The rows of one target; those that went are passed over until they are the most."""

    __slots__ = ("first", "gone", "rows")

    def __init__(self, rows: Iterable[int] = ()) -> None:
        self.rows = array("q", rows)
        self.gone: set[int] = set()
        self.first = 0  # Those before it are gone, and not in `gone`.

    def discard(self, row: int) -> None:
        at = bisect_right(self.rows, row) - 1
        if at < self.first or self.rows[at] != row:
            return
        self.gone.add(row)
        while self.first < len(self.rows) and self.rows[self.first] in self.gone:
            self.gone.remove(self.rows[self.first])
            self.first += 1

    def tidy(self) -> bool:
        """Give room back; returns whether nothing is left."""
        if self.first + len(self.gone) > _SPARE + len(self.rows) // 2:
            rest = (row for row in self.rows[self.first :] if row not in self.gone)
            self.rows = array("q", rest)
            self.gone.clear()
            self.first = 0
        return self.first == len(self.rows)


class Places:
    """The rows of each target, in order.

    On disk this would be an index with a page for every target, and each commit would write
    as many pages as it has targets; the more frames, the more.
    """

    def __init__(self) -> None:
        self._targets: dict[str, _Target] = {}

    def add(self, to: str, row: int) -> None:
        """Add a row, greater than every one before."""
        target = self._targets.get(to)
        if target is None:
            target = self._targets[to] = _Target()
        target.rows.append(row)

    def restore(self, to: str, rows: Iterable[int]) -> None:
        """Have exactly these rows for a target, in any order."""
        self._targets[to] = _Target(sorted(rows))

    def discard(self, to: str, rows: Iterable[int]) -> None:
        """Forget rows of a target; those that it does not have are passed over."""
        target = self._targets.get(to)
        if target is None:
            return
        for row in rows:
            target.discard(row)
        if target.tidy():
            del self._targets[to]

    def after(self, to: str, row: int, limit: int, leaving: Set[int] = frozenset()) -> list[int]:
        """The first rows of a target beyond `row` that are not `leaving`, at most `limit`."""
        target = self._targets.get(to)
        if target is None:
            return []
        rows, gone = target.rows, target.gone
        found: list[int] = []
        at = max(bisect_right(rows, row), target.first)
        while len(found) < limit and at < len(rows):
            piece = rows[at : at + limit - len(found)]
            found += [place for place in piece if place not in gone and place not in leaving]
            at += len(piece)
        return found

    def clear(self) -> None:
        """Forget everything."""
        self._targets.clear()
