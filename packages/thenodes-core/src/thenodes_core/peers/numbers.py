"""What the sessions carried, by session and in all, and how far away their peers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from thenodes_plugin_api import NotConnected, RequestTimeout

from ..clock import Clock
from ..session.numbers import SessionNumbers
from ..session.session import Session
from ..session.tally import Traffic

__all__ = ["SessionNumbers", "SessionsNumbers"]

# As many as the event loop asks at once without being late for others.
_PINGS_AT_ONCE = 200


class SessionsNumbers:
    """The numbers of the live sessions.

    Args:
        sessions: by the peer's id; kept current by who owns them.
        clock: times round trips.
    """

    def __init__(self, sessions: Mapping[str, Session], clock: Clock) -> None:
        self.totals = Traffic()
        self._sessions = sessions
        self._clock = clock

    def sessions(self) -> Sequence[SessionNumbers]:
        """Of every session, ordered by id."""
        return [_numbers(node_id, session) for node_id, session in sorted(self._sessions.items())]

    def traffic(self) -> Traffic:
        """Of all sessions that ever were, now."""
        for session in self._sessions.values():
            session.settle()
        return self.totals

    def measure(self) -> None:
        """Ask the peers whose round trip was not measured for a while; some, where many are due."""
        now = self._clock.monotonic()
        asked = 0
        for session in list(self._sessions.values()):
            # One for which bytes wait is asked nothing, and keeps no other from it.
            if session.round_trip.is_due(now) and session.round_trip.start():
                asked += 1
                if asked == _PINGS_AT_ONCE:
                    return

    async def ping(self, node_id: str, timeout_seconds: float) -> float:
        """Measure the round trip to a peer; see `PeerManager.ping`."""
        session = self._sessions.get(node_id)
        if session is None:
            raise NotConnected(f"no session with {node_id}")
        try:
            return await session.round_trip.measure(timeout_seconds)
        except TimeoutError as error:
            raise RequestTimeout(
                f"{node_id} did not answer within {timeout_seconds:g} s"
            ) from error


def _numbers(node_id: str, session: Session) -> SessionNumbers:
    sent, received, outbox = session.tally.sent, session.tally.received, session.outbox
    return SessionNumbers(
        node_id=node_id,
        since=session.info.connected_at,
        sent_frames=sent.frames,
        sent_bytes=sent.bytes,
        received_frames=received.frames,
        received_bytes=received.bytes,
        queued_frames=len(outbox),
        queued_bytes=outbox.size_bytes,
        rtt_seconds=session.round_trip.seconds,
    )
