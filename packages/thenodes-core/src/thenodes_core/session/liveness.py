"""Whether a peer is alive, and takes what is sent to it; sans-I/O."""

from __future__ import annotations

import enum

from ..limits import Limits

__all__ = ["Liveness", "Verdict"]

_SILENT_INTERVALS = 3


class Verdict(enum.Enum):
    """What a look at the session says to do."""

    ALIVE = "nothing to do"
    ASK = "send a heartbeat"
    SILENT = "cut: no sign of life"
    STUCK = "cut: it takes nothing"


class Liveness:
    """Looks at one session now and then (design: wire.md, Liveness and backpressure).

    Any inbound byte is life. After an interval without one the peer is asked, after
    three it is cut. With something queued and nothing of it gone for
    `limits.progress_seconds` it is cut too.

    Args:
        limits: the intervals.
        now: seconds of a clock that does not go back.
        received: bytes that came until now.
        interval_seconds: another interval than the limits'.

    Attributes:
        interval_seconds: silence after which the peer is asked.
    """

    __slots__ = (
        "_asked_at",
        "_heard",
        "_heard_at",
        "_limits",
        "_moved_at",
        "_written",
        "interval_seconds",
    )

    def __init__(
        self,
        limits: Limits,
        now: float,
        *,
        received: int = 0,
        interval_seconds: float | None = None,
    ) -> None:
        self._limits = limits
        self.interval_seconds = interval_seconds or limits.heartbeat_seconds
        self._heard = received
        self._heard_at = self._asked_at = self._moved_at = now
        self._written: tuple[int, int] = (0, 0)

    @property
    def patience_seconds(self) -> float:
        """Silence after which the peer is cut."""
        return self.interval_seconds * _SILENT_INTERVALS

    def look(
        self, now: float, *, received: int, written: tuple[int, int], waiting: bool
    ) -> Verdict:
        """Judge the session at `now`.

        Args:
            now: seconds of the clock.
            received: bytes that ever came.
            written: messages that were ever given to the socket, and bytes that it
                has not sent yet: either changes where the peer takes something.
            waiting: whether anything is queued or not yet sent.
        """
        if received != self._heard:
            self._heard, self._heard_at = received, now
        if written != self._written or not waiting:
            self._written, self._moved_at = written, now
        interval = self.interval_seconds
        if now - self._moved_at >= self._limits.progress_seconds:
            return Verdict.STUCK
        silent = now - self._heard_at
        if silent >= self.patience_seconds:
            return Verdict.SILENT
        if silent >= interval and now - self._asked_at >= interval:
            self._asked_at = now
            return Verdict.ASK
        return Verdict.ALIVE
