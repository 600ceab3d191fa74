"""Whom the relay serves, and how fast."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from .causes import Cause, Refused
from .settings import Settings

__all__ = ["Admission", "Rates"]

_SWEEP_AT_LEAST = 64
_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{64}")


class Admission:
    """The operator's `allow` and `deny`, by node id or fingerprint; pure.

    `deny` goes before `allow`. Where `allow` names anybody, nobody else is served.

    Args:
        settings: the lists.
        is_trusted: whether the operator pinned or trusted the key with that fingerprint.
    """

    def __init__(self, settings: Settings, is_trusted: Callable[[str], bool]) -> None:
        self._allow = _entries(settings.allow)
        self._deny = _entries(settings.deny)
        self._is_trusted = is_trusted

    def admit(self, node: str, fingerprint: str | None) -> Refused | None:
        """Whether a node may bind and forward.

        Args:
            node: its id.
            fingerprint: of the key it proved, in hex; None where it proved none.

        Returns:
            None where it may; else Refused for UNPROVEN, DENIED or NOT_ALLOWED.
        """
        if fingerprint is None:
            return Cause.UNPROVEN.refuse()
        if node in self._deny or fingerprint in self._deny:
            return Cause.DENIED.refuse()
        if self._allow and not self._is_allowed(node, fingerprint):
            return Cause.NOT_ALLOWED.refuse()
        return None

    def is_stranger(self, node: str, fingerprint: str) -> bool:
        """Whether nobody speaks for a node: it is neither allowed, nor pinned, nor trusted."""
        return not (self._is_allowed(node, fingerprint) or self._is_trusted(fingerprint))

    def _is_allowed(self, node: str, fingerprint: str) -> bool:
        return node in self._allow or fingerprint in self._allow


class Rates:
    """How many frames and bytes a second each node sends; pure.

    A batch passes whole, or not at all: it passes where the node is not in debt, and may leave
    it in debt, for as long as the rate needs to pay that off. So nobody is faster than its
    rate in the long run, and nobody's batch is too large to pass ever. What a node used up is
    remembered across its sessions.

    Args:
        settings: frames and bytes a second, where 0 is any number, and how much at once.
    """

    def __init__(self, settings: Settings) -> None:
        self._frames_rate, self._frames_burst = settings.frames_per_second, settings.frames_burst
        self._bytes_rate, self._bytes_burst = settings.bytes_per_second, settings.bytes_burst
        self._is_limited = self._frames_rate > 0 or self._bytes_rate > 0
        self._buckets: dict[str, _Bucket] = {}
        self._sweep_at = _SWEEP_AT_LEAST

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, node: str, frames: int, size: int, now: float) -> Refused | None:
        """Count a batch of a node's.

        Args:
            node: whose it is.
            frames: how many they are.
            size: bytes of their data.
            now: seconds of a clock that does not go back.

        Returns:
            None where it passes; else Refused for TOO_FAST, and the batch is not counted.
        """
        if not self._is_limited:
            return None
        bucket = self._buckets.get(node)
        if bucket is None:
            bucket = self._open(node, now)
        self._refill(bucket, now)
        if self._frames_rate and bucket.frames <= 0:
            wait = (1 - bucket.frames) / self._frames_rate
            return _too_fast("frames_per_second", self._frames_rate, wait)
        if self._bytes_rate and bucket.bytes <= 0:
            wait = (1 - bucket.bytes) / self._bytes_rate
            return _too_fast("bytes_per_second", self._bytes_rate, wait)
        bucket.frames -= frames
        bucket.bytes -= size
        return None

    def _refill(self, bucket: _Bucket, now: float) -> None:
        passed = now - bucket.at
        if passed <= 0:
            return
        bucket.at = now
        bucket.frames += passed * self._frames_rate
        if bucket.frames > self._frames_burst:
            bucket.frames = self._frames_burst
        bucket.bytes += passed * self._bytes_rate
        if bucket.bytes > self._bytes_burst:
            bucket.bytes = self._bytes_burst

    def _open(self, node: str, now: float) -> _Bucket:
        if len(self._buckets) >= self._sweep_at:
            self._sweep(now)
        bucket = self._buckets[node] = _Bucket(self._frames_burst, self._bytes_burst, now)
        return bucket

    def _sweep(self, now: float) -> None:
        """Forget those who have nothing used up; often enough that memory stays bounded."""
        for bucket in self._buckets.values():
            self._refill(bucket, now)
        self._buckets = {
            node: bucket for node, bucket in self._buckets.items() if not self._is_full(bucket)
        }
        self._sweep_at = max(_SWEEP_AT_LEAST, 2 * len(self._buckets))

    def _is_full(self, bucket: _Bucket) -> bool:
        return (not self._frames_rate or bucket.frames >= self._frames_burst) and (
            not self._bytes_rate or bucket.bytes >= self._bytes_burst
        )


class _Bucket:
    __slots__ = ("at", "bytes", "frames")

    def __init__(self, frames: float, size: float, at: float) -> None:
        self.frames = frames
        self.bytes = size
        self.at = at


def _too_fast(key: str, limit: int, wait: float) -> Refused:
    return Cause.TOO_FAST.refuse(key=key, limit=limit, retry_after=wait)


def _entries(entries: Iterable[str]) -> frozenset[str]:
    return frozenset(entry.lower() if _FINGERPRINT.fullmatch(entry) else entry for entry in entries)
