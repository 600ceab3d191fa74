"""What operators are told of sessions: events, at a limited rate where strangers cause them."""

from __future__ import annotations

from thenodes_plugin_api import Level, NetworkEvent, Reason

from ..clock import Clock
from ..events.counters import Counters
from ..events.dispatcher import Dispatcher
from ..protocol.close import CloseCode, Ending
from ..protocol.proof import Role
from ..rate import STRANGERS_AT_ONCE, STRANGERS_PER_SECOND, Damper
from ..session.session import Session

__all__ = ["SessionReports"]

# Endings that belong to the normal course of things.
_USUAL = frozenset({CloseCode.REPLACED, CloseCode.RESTARTING, CloseCode.SELF})

_BY_POLICY = (CloseCode.IDENTITY, Reason.POLICY_DENIED)
_NAME_CHARACTERS = 64


class SessionReports:
    """Counts sessions and tells of them.

    Args:
        events: told.
        counters: count.
        clock: dates the events.
    """

    def __init__(self, events: Dispatcher, counters: Counters, clock: Clock) -> None:
        self._events = events
        self._counters = counters
        self._clock = clock
        self._refusals, self._usual_refusals = (
            Damper(STRANGERS_PER_SECOND, STRANGERS_AT_ONCE, clock.monotonic()) for _ in range(2)
        )

    def joined(self, session: Session) -> None:
        """A peer was admitted."""
        self._counters.add("peers_joined")
        peer = session.info
        self._emit(
            "peer_joined",
            f"{peer.node_id} joined ({peer.direction}, {peer.address}, {peer.encoding})",
            session,
        )

    def left(self, session: Session, reason: Reason, ending: Ending | None = None) -> None:
        """A peer's last session ended, or it restarted where there is no ending."""
        self._counters.add("peers_left")
        why = "it restarted" if ending is None else str(ending)
        self._emit("peer_left", f"{session.node_id} left: {why}", session, reason=reason)

    def unknown_kind(self, session: Session, kind: str) -> None:
        """A peer sent the first message of a kind that this version does not know."""
        self._emit(
            "unknown_kind",
            f"{session.node_id} sends messages of the unknown kind {kind[:_NAME_CHARACTERS]}; "
            "they are ignored",
            session,
            level=Level.WARNING,
        )

    def refused(self, session: Session, ending: Ending) -> None:
        """A session was refused, by either side, or ended by a breach."""
        if ending.code == CloseCode.NORMAL:
            # Somebody looked whether a node listens at an address, and which one.
            self._counters.add("sessions_probed")
            return
        self._counters.add("sessions_refused", reason=_word(ending))
        usual = ending.code in _USUAL
        damper = self._usual_refusals if usual else self._refusals
        # What a dialling side is refused, its Dialer reports, once; what the trust policy
        # refuses is an event of its own.
        by_policy = not ending.by_peer and (ending.code, ending.reason) == _BY_POLICY
        told_otherwise = session.role is Role.DIALER or by_policy
        kept_back = 0 if told_otherwise else damper.let_through(self._clock.monotonic())
        if kept_back is None:
            return
        who = "refused by" if ending.by_peer else "refused"
        more = f" ({kept_back} more were not reported)" if kept_back else ""
        self._emit(
            "session_refused",
            f"{who} {session.remote}: {ending}{more}",
            session,
            level=Level.DEBUG if usual or told_otherwise else Level.WARNING,
            reason=ending.reason,
        )

    def _emit(
        self,
        action: str,
        detail: str,
        session: Session,
        *,
        level: Level = Level.INFO,
        reason: Reason | None = None,
    ) -> None:
        self._events.emit(
            NetworkEvent(
                action=action,
                detail=detail,
                addr=session.remote,
                node_id=session.claimed_id,
                level=level,
                reason=reason,
                at=self._clock.time(),
            )
        )


def _word(ending: Ending) -> str:
    try:
        return CloseCode(ending.code).word
    except ValueError:
        return "lost"
