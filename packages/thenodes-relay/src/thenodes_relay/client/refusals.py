"""How long a relay that refused is left alone, by reason; pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from types import MappingProxyType
from typing import Generic, TypeVar

import msgspec

from thenodes_plugin_api import Reason

__all__ = ["Refusal", "Refusals"]

K = TypeVar("K", bound=Hashable)

_MOST_KEYS = 4096
_MOST_BELIEVED_SECONDS = 3600.0

# First and last bound in seconds. What an operator has to change takes longest.
_SOON = (1.0, 30.0)
_LATER = (2.0, 60.0)
_LATE = (30.0, 600.0)
_OTHER = (5.0, 120.0)
_BOUNDS = MappingProxyType(
    {
        Reason.TIMEOUT: _SOON,
        Reason.PEER_LEFT: _SOON,
        Reason.RESTARTING: _SOON,
        Reason.OVERLOAD: _LATER,
        Reason.QUOTA: _LATER,
        Reason.RATE_LIMITED: _LATER,
        Reason.POLICY_DENIED: _LATE,
        Reason.UNAUTHENTICATED: _LATE,
    }
)


class Refusal(msgspec.Struct, frozen=True):
    """A refusal that still counts.

    Attributes:
        reason: why.
        until: when to ask again, of the clock that `now` is of.
        times: refusals in a row.
    """

    reason: Reason
    until: float
    times: int


class Refusals(Generic[K]):
    """Remembers who refused what: at most 4096 keys, the oldest goes first.

    Args:
        random: returns a number in [0, 1).
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._refusals: dict[K, Refusal] = {}

    def note(
        self, key: K, reason: Reason, now: float, *, retry_after: float | None = None
    ) -> Refusal:
        """Count a refusal.

        Args:
            key: what was asked of whom.
            reason: of the refusal.
            now: seconds.
            retry_after: what the relay says itself; not less is waited, at most an hour.
        """
        last = self._refusals.pop(key, None)
        times = last.times + 1 if last is not None else 1
        first, most = _BOUNDS.get(reason, _OTHER)
        bound = min(most, first * 2.0 ** min(times - 1, 30))
        wait = bound * (0.5 + 0.5 * self._random())
        if retry_after is not None:
            wait = max(wait, min(retry_after, _MOST_BELIEVED_SECONDS))
        refusal = self._refusals[key] = Refusal(reason, now + wait, times)
        if len(self._refusals) > _MOST_KEYS:
            del self._refusals[next(iter(self._refusals))]
        return refusal

    def blocking(self, key: K, now: float) -> Refusal | None:
        """The refusal because of which it is too early to ask again."""
        refusal = self._refusals.get(key)
        return refusal if refusal is not None and now < refusal.until else None

    def forget_where(self, matches: Callable[[K], bool]) -> None:
        """Ask again at once what matches."""
        for key in [key for key in self._refusals if matches(key)]:
            del self._refusals[key]

    def forget(self, key: K) -> None:
        """It was granted."""
        self._refusals.pop(key, None)
