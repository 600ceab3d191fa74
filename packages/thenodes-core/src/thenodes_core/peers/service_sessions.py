"""The sessions as services have them: who takes which kinds, and who hears of sessions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from thenodes_plugin_api import (
    Body,
    Frame,
    FrameHandler,
    Message,
    MessageHandler,
    Reason,
    RelayForward,
    ServiceSession,
)

from ..events.counters import Counters
from ..session.service import SessionService
from ..session.session import Session
from ..session.takers import Takers

__all__ = ["ServiceSessions", "Undo"]

Undo: TypeAlias = Callable[[], None]
"""Takes back what was registered."""

Joined: TypeAlias = Callable[[ServiceSession], None]
Left: TypeAlias = Callable[[ServiceSession, Reason], None]


class ServiceSessions:
    """The current session of every peer, for services.

    Args:
        counters: counts what services take, and what nobody may take any more.

    Attributes:
        takers: what every session asks.
        is_crowded: whether what a service made of frames waits for plugins, which then
            need a turn before more is read.
    """

    def __init__(self, counters: Counters) -> None:
        self.takers = Takers()
        self.is_crowded: Callable[[], bool] = lambda: False
        self._counters = counters
        self._sessions: dict[Session, SessionService] = {}
        self._told: list[tuple[Joined, Left]] = []

    def serve_frames(self, handler: FrameHandler) -> Undo:
        """Give RELAY_FWD frames to `handler`; see `PeerManager.serve_frames`."""
        if self.takers.frames is not None:
            raise ValueError(f"{RelayForward.token} is taken already")

        def take(session: Session, frames: Sequence[Frame]) -> bool:
            known = self._counted(session, len(frames))
            if known is None:
                return False
            handler(known, frames)
            return self.is_crowded()

        def undo() -> None:
            if self.takers.frames is take:
                self.takers.frames = None

        self.takers.frames = take
        return undo

    def serve_kind(self, kind: type[Body], handler: MessageHandler) -> Undo:
        """Give messages of a kind to `handler`; see `PeerManager.serve_kind`."""

        def take(session: Session, message: Message) -> None:
            known = self._counted(session, 1)
            if known is not None:
                handler(known, message)

        def undo() -> None:
            if self.takers.get(kind) is take:
                self.takers.remove(kind)

        self.takers.put(kind, take)
        return undo

    def on_session(self, joined: Joined, left: Left) -> Undo:
        """Tell of sessions; see `PeerManager.on_session`."""
        told = (joined, left)

        def undo() -> None:
            if told in self._told:
                self._told.remove(told)

        self._told.append(told)
        for session in list(self._sessions.values()):
            joined(session)
        return undo

    def get(self, session: Session) -> SessionService | None:
        """A session as services see it, while it is its peer's current one."""
        return self._sessions.get(session)

    def joined(
        self, session: Session, local_id: str, *, is_configured: bool, instead_of: Session | None
    ) -> None:
        """Tell of a session, and then that the one before it is gone."""
        old = None if instead_of is None else self._sessions.get(instead_of)
        new = SessionService(
            session,
            local_id,
            is_configured=is_configured or (old is not None and old.is_configured),
            dropped=self._no_envelope,
        )
        self._sessions[session] = new
        for joined, _ in list(self._told):
            joined(new)
        if instead_of is not None:
            self.left(instead_of, Reason.REPLACED)

    def configured(self, session: Session) -> None:
        """Count a session as dialled at an address of the operator's from now on."""
        known = self._sessions.get(session)
        if known is not None:
            known.is_configured = True

    def left(self, session: Session, reason: Reason) -> None:
        """Tell that a session is gone; once."""
        old = self._sessions.pop(session, None)
        if old is not None:
            for _, left in list(self._told):
                left(old, reason)

    def _counted(self, session: Session, count: int) -> SessionService | None:
        known = self._sessions.get(session)
        if known is None:
            self._counters.add("messages_dropped", count, reason="session_replaced")
        else:
            self._counters.add("messages_received", count)
        return known

    def _no_envelope(self) -> None:
        self._counters.add("messages_dropped", reason="no_envelope")
