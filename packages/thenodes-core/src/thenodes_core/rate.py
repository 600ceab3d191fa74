"""How often something may happen; pure, the time is handed in."""

from __future__ import annotations

__all__ = ["STRANGERS_AT_ONCE", "STRANGERS_PER_SECOND", "Damper", "TokenBucket"]

STRANGERS_PER_SECOND = 1.0
STRANGERS_AT_ONCE = 20.0
"""How many reports of what strangers do are let through."""


class TokenBucket:
    """Allows `burst` at once and `per_second` over time.

    Args:
        per_second: how fast permission comes back.
        burst: how much there is at most, and at the start.
        now: seconds of a clock that does not go back.
    """

    __slots__ = ("_at", "_burst", "_left", "_per_second")

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        self._per_second = per_second
        self._burst = self._left = burst
        self._at = now

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Use up permission for `amount`; False, and nothing used, where there is not enough."""
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < amount:
            return False
        self._left -= amount
        return True


class Damper:
    """Lets reports through at a rate, and tells how many it kept back in between."""

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        self._bucket = TokenBucket(per_second, burst, now)
        self._kept_back = 0

    def let_through(self, now: float) -> int | None:
        """Return how many were kept back since the last one that passed; None to keep this back."""
        if not self._bucket.take(now):
            self._kept_back += 1
            return None
        kept_back, self._kept_back = self._kept_back, 0
        return kept_back

    def keep_back(self, count: int) -> None:
        """Keep back so many more, of which it is known that they would not pass."""
        self._kept_back += count
