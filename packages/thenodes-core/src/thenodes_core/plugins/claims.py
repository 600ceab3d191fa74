"""Who handles which EXTENSION kind."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["Claims", "overlap"]

T = TypeVar("T")

# Kinds come from peers, so what is remembered of them is bounded.
_REMEMBERED = 1024


class Claims(Generic[T]):
    """Finds the owner of a kind: an exact claim first, then the longest that ends in `.*`."""

    def __init__(self) -> None:
        self._exact: dict[str, T] = {}
        self._prefixes: dict[str, T] = {}
        self._found: dict[str, T] = {}

    def add(self, claim: str, owner: T) -> None:
        """Claim one kind, or with `name.*` all that begin with `name.`."""
        if claim.endswith(".*"):
            self._prefixes[claim[:-1]] = owner
        else:
            self._exact[claim] = owner
        self._found.clear()

    def find(self, kind: str) -> T | None:
        """Return the owner, or None."""
        try:
            return self._found[kind]
        except KeyError:
            owner = self._search(kind)
            if owner is not None:
                if len(self._found) >= _REMEMBERED:
                    self._found.clear()
                self._found[kind] = owner
            return owner

    def _search(self, kind: str) -> T | None:
        if kind in self._exact:
            return self._exact[kind]
        matching = [prefix for prefix in self._prefixes if kind.startswith(prefix)]
        return self._prefixes[max(matching, key=len)] if matching else None


def overlap(one: str, other: str) -> bool:
    """True where some kind would be claimed by both."""
    shorter, longer = sorted((one, other), key=len)
    return one == other or (shorter.endswith(".*") and longer.startswith(shorter[:-1]))
