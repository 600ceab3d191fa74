"""How long a peer takes to answer: by a ping of the connection, one at a time."""

from __future__ import annotations

import asyncio

from thenodes_plugin_api import NotConnected

from ..clock import Clock, timeout
from ..transport.base import Link

__all__ = ["RoundTrip"]

_AGAIN_SECONDS = 30.0
_TRY_SECONDS = 0.05
_ENDED = "the session has ended"


class RoundTrip:
    """Measures one session.

    At most one ping is outstanding. A peer that never answers it is not asked again, and
    its round trip stays unknown; whoever wants to know waits for that answer until his
    own deadline. Where bytes wait for the peer, nothing is added to them: a ping would
    look like progress, and would measure the queue.

    Args:
        link: the connection.
        clock: times it.

    Attributes:
        seconds: the newest; None while it is not known.
    """

    __slots__ = ("_clock", "_due_at", "_ended", "_link", "_sent_at", "_waiting", "seconds")

    def __init__(self, link: Link, clock: Clock) -> None:
        self.seconds: float | None = None
        self._link = link
        self._clock = clock
        self._due_at = 0.0
        self._ended = False
        self._sent_at: float | None = None
        self._waiting: list[asyncio.Future[float]] | None = None

    def is_due(self, now: float) -> bool:
        """True where it was not measured for a while, and nothing is outstanding."""
        return now >= self._due_at and self._sent_at is None

    def start(self) -> bool:
        """Ask now, unless an answer is outstanding; False where the peer takes nothing now."""
        if self._sent_at is not None:
            return True
        now = self._sent_at = self._clock.monotonic()
        if self._link.ping(self._answered):
            self._due_at = now + _AGAIN_SECONDS
            return True
        self._sent_at = None
        return False

    async def measure(self, timeout_seconds: float) -> float:
        """Ask, and wait for the answer; returns seconds.

        Raises:
            TimeoutError: none came.
            NotConnected: the session ended.
        """
        async with timeout(self._clock, timeout_seconds):
            while not self._ended and not self.start():
                await self._clock.sleep(_TRY_SECONDS)
            if self._ended:
                raise NotConnected(_ENDED)
            if self._sent_at is None and self.seconds is not None:
                return self.seconds
            answer: asyncio.Future[float] = asyncio.get_running_loop().create_future()
            waiting = self._waiting = self._waiting or []
            waiting.append(answer)
            try:
                return await answer
            finally:
                if answer in waiting:
                    waiting.remove(answer)

    def end(self) -> None:
        """Tell who waits that the session has ended."""
        self._ended = True
        waiting, self._waiting = self._waiting or (), None
        for answer in waiting:
            if not answer.done():
                answer.set_exception(NotConnected(_ENDED))

    def _answered(self) -> None:
        if self._sent_at is None:
            return
        self.seconds = self._clock.monotonic() - self._sent_at
        self._sent_at = None
        waiting, self._waiting = self._waiting or (), None
        for answer in waiting:
            if not answer.done():
                answer.set_result(self.seconds)
