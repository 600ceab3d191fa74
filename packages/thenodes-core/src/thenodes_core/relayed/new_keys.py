"""How many new session keys a sender may come with: to verify one costs 100 messages' time."""

from __future__ import annotations

from ..clock import Clock
from ..rate import TokenBucket

__all__ = ["NewKeys"]

_AT_ONCE = 1024.0
_PER_SECOND = 10.0
_MOST_SENDERS = 4096


class NewKeys:
    """Lets 1024 keys of a sender pass at once, and ten a second.

    A sender that behaves takes one an hour, and one after each restart; what a relay kept
    for weeks comes with a few hundred. The relay vouches for the sender's name here.

    Args:
        clock: times them.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # The sender that came with a new key longest ago first.
        self._buckets: dict[str, TokenBucket] = {}

    def allows(self, sender: str) -> bool:
        """Whether one more key of that sender may be verified."""
        now = self._clock.monotonic()
        bucket = self._buckets.pop(sender, None)
        if bucket is None:
            bucket = TokenBucket(_PER_SECOND, _AT_ONCE, now)
            if len(self._buckets) >= _MOST_SENDERS:
                del self._buckets[next(iter(self._buckets))]
        self._buckets[sender] = bucket
        return bucket.take(now)
