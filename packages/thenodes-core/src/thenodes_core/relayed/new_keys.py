"""How many new session keys are verified: one costs as much as 100 messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..clock import Clock
from ..rate import TokenBucket

__all__ = ["NewKeys"]

_MOST_NAMES = 4096


class _Rate(NamedTuple):
    per_second: float
    at_once: float


_OF_A_SENDER = _Rate(10.0, 1024.0)
_OF_A_RELAY = _Rate(500.0, 4096.0)
_OF_OTHERS = _Rate(10.0, 256.0)


class NewKeys:
    """Lets 1024 keys of a sender pass at once, and ten a second.

    A sender that behaves takes one an hour, and one after each restart; what a relay kept
    for weeks comes with a few hundred. The relay vouches for the sender's name here, so
    relays have a measure of their own, 4096 at once and 500 a second each: as many as a
    town's senders need. Whoever brings frames and is no relay that this node would choose
    may make names up: all of those together have 256, and ten a second.

    Args:
        clock: times them.
        is_relay: whether this node would choose a peer as its relay.

    Attributes:
        allowed: how many were let pass.
    """

    def __init__(self, clock: Clock, is_relay: Callable[[str], bool] = lambda peer: True) -> None:
        self._clock = clock
        self._is_relay = is_relay
        self.allowed = 0
        # Whoever came with a new key longest ago first.
        self._senders: dict[str, TokenBucket] = {}
        self._relays: dict[str, TokenBucket] = {}
        self._others = TokenBucket(*_OF_OTHERS, clock.monotonic())
        self._peer = ""

    def come_from(self, peer: str) -> None:
        """Note who brings the frames that come next."""
        self._peer = peer

    def allows(self, sender: str) -> bool:
        """Whether one more key of that sender may be verified."""
        now, peer = self._clock.monotonic(), self._peer
        if not _bucket(self._senders, sender, _OF_A_SENDER, now).take(now):
            return False
        is_relay = self._is_relay(peer)
        bucket = _bucket(self._relays, peer, _OF_A_RELAY, now) if is_relay else self._others
        if not bucket.take(now):
            return False
        self.allowed += 1
        return True


def _bucket(buckets: dict[str, TokenBucket], name: str, rate: _Rate, now: float) -> TokenBucket:
    bucket = buckets.pop(name, None)
    if bucket is None:
        bucket = TokenBucket(*rate, now)
        if len(buckets) >= _MOST_NAMES:
            del buckets[next(iter(buckets))]
    buckets[name] = bucket
    return bucket
