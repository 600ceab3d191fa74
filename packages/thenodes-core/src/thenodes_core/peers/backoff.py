"""How long to wait before the next attempt; pure."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Backoff"]

_BELIEVED_SECONDS = 3600.0


class Backoff:
    """Exponential backoff with full jitter: a random time up to a doubling bound.

    Args:
        random: returns a number in [0, 1).
        base_seconds: the first bound.
        cap_seconds: the last bound.
        least_seconds: the shortest wait.
    """

    def __init__(
        self,
        random: Callable[[], float],
        *,
        base_seconds: float = 0.5,
        cap_seconds: float = 10.0,
        least_seconds: float = 0.1,
    ) -> None:
        self._random = random
        self._base = base_seconds
        self._cap = cap_seconds
        self._least = least_seconds
        self._failures = 0

    def next_seconds(self, *, at_least: float | None = None) -> float:
        """Count a failure and return how long to wait, not less than `at_least`.

        `at_least` may come from a peer: no more than an hour of it is believed.
        """
        bound: float = min(self._cap, self._base * 2.0 ** min(self._failures, 30))
        self._failures += 1
        wait = max(self._least, self._random() * bound)
        if at_least is not None and at_least > wait:
            return min(at_least, _BELIEVED_SECONDS)
        return wait

    def reset(self) -> None:
        """Begin again at the first bound."""
        self._failures = 0
