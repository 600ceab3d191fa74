"""The life of each session: who is admitted, who is replaced or sent away, who came and left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from thenodes_plugin_api import PeerInfo, PeerJoined, PeerLeft, Reason

from ..address import Address
from ..clock import Clock, timeout
from ..events.counters import Counters
from ..limits import Limits
from ..protocol.close import CloseCode, Ending
from ..protocol.handshake import Role, Screen
from ..session.intake import Receiver
from ..session.session import Session
from ..transport.base import Link
from .duplicates import SessionFacts, newer_wins
from .reports import SessionReports
from .service_sessions import ServiceSessions
from .session_factory import SessionFactory

__all__ = ["PeerChanged", "Served", "Serving"]

PeerChanged: TypeAlias = Callable[[PeerJoined | PeerLeft], None]
"""Told of peers that come and go."""

_STOPPING = Ending.here(CloseCode.RESTARTING, "the node is stopping", retry_after=1.0)

_DEFECT = Ending(code=1011, detail="internal error")

# Endings of an established session that are the peer's fault.
_BREACHES = frozenset({CloseCode.PROTOCOL, CloseCode.RATE_LIMITED})

_OVERLOADED_RETRY_SECONDS = 10.0


class Served(msgspec.Struct, frozen=True):
    """What became of a link.

    Attributes:
        ending: how it ended.
        node_id: who was there, as far as that was said.
        peer: the peer, where the session was established.
    """

    ending: Ending
    node_id: str | None = None
    peer: PeerInfo | None = None


class Serving:
    """All links that are served, whether their peers are admitted or not yet.

    Args:
        admitted: the sessions that are, one a peer, by its id; kept current here.
        factory: makes a session of a link.
        receiver: takes what sessions receive.
        peer_changed: told of peers that come and go.
        services: told of sessions.
        reports: tell operators of them.
        counters: count who had to make room.
        limits: how many there may be, and how long an end may take.
        clock: times that.
    """

    def __init__(
        self,
        admitted: dict[str, Session],
        factory: SessionFactory,
        receiver: Receiver,
        peer_changed: PeerChanged,
        services: ServiceSessions,
        reports: SessionReports,
        counters: Counters,
        *,
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._admitted = admitted
        self._factory = factory
        self._receiver = receiver
        self._peer_changed = peer_changed
        self._services = services
        self._reports = reports
        self._counters = counters
        self._limits = limits
        self._clock = clock
        self._served: set[Session] = set()
        # What is accepted and not admitted yet, in the order of its arrival.
        self._opening: dict[Session, None] = {}
        self._told_of_joining: list[Callable[[PeerInfo], None]] = []
        self._changed: asyncio.Event = asyncio.Event()
        self._stopping = False
        self._accepting = True

    def on_joined(self, told: Callable[[PeerInfo], None]) -> None:
        """Call `told` for each peer that is admitted from now on."""
        self._told_of_joining.append(told)

    def look(self) -> None:
        """Ask silent peers for a sign of life, cut dead and stuck ones."""
        for session in list(self._served):
            session.look()

    async def change(self) -> None:
        """Wait until a peer joined, or a link is served no more."""
        await self._changed.wait()

    async def serve(
        self,
        link: Link,
        role: Role,
        established: Callable[[PeerInfo], None],
        screen: Screen | None,
        dialled: Address | None,
        expected_id: str | None,
    ) -> Served:
        """Carry the session of a link from its beginning to its end; see `PeerManager.serve`."""
        if self._stopping or (role is Role.ACCEPTOR and not self._accepting):
            await link.close(_STOPPING.code, _STOPPING.word)
            return Served(_STOPPING)
        session = self._factory.make(
            link, role, screen=screen, dialled=dialled, expected_id=expected_id
        )
        self._served.add(session)
        if role is Role.ACCEPTOR:
            self._make_room()
            self._opening[session] = None
        try:
            ending = await session.establish()
            if ending is None and (ending := self._admission(session)) is not None:
                await session.refuse(ending)
            if ending is not None:
                if role is Role.DIALER or session in self._opening:
                    # Who had to make room is counted already.
                    self._reports.refused(session, ending)
                if dialled is not None and ending.code == CloseCode.REPLACED:
                    self._stands_for(session)
                return Served(ending, session.claimed_id)
            self._opening.pop(session, None)
            established(session.info)
            is_configured = dialled is not None
            ending = await self._carry(session, is_configured=is_configured)
            return Served(ending, session.node_id, session.info)
        finally:
            self._opening.pop(session, None)
            self._served.discard(session)
            link.abort()
            session.settle()
            self._notify()

    def accept_no_more(self) -> None:
        """Send whoever comes from now on away, until the node is back; who is here stays."""
        self._accepting = False

    @property
    def unsent(self) -> tuple[int, int]:
        """How many frames wait to be sent, and to how many peers."""
        waiting = [count for session in self._served if (count := len(session.outbox))]
        return sum(waiting), len(waiting)

    async def close(self) -> None:
        """End every session, telling the peers to come back; what is late is cut."""
        self._stopping = True
        for session in list(self._served):
            session.end(_STOPPING)
        try:
            async with timeout(self._clock, self._limits.close_seconds):
                await self._wait_served()
        except TimeoutError:
            for session in list(self._served):
                session.abort()
            await self._wait_served()

    def _make_room(self) -> None:
        """End the oldest handshake where too many are going on: a slow one, most likely."""
        if len(self._opening) < self._limits.max_handshakes:
            return
        oldest = next(iter(self._opening))
        self._opening.pop(oldest)
        self._counters.add("sessions_refused", reason="crowded_out")
        oldest.abort()

    async def _wait_served(self) -> None:
        while self._served:
            await self.change()

    def _admission(self, session: Session) -> Ending | None:
        if self._stopping or (session.role is Role.ACCEPTOR and not self._accepting):
            return _STOPPING
        local_id, peer_id = self._factory.local.node_id, session.node_id
        older = self._admitted.get(peer_id)
        if older is None:
            if len(self._admitted) >= self._limits.max_sessions:
                return _overloaded(f"{len(self._admitted)} peers are connected, no more fit")
        elif not newer_wins(local_id, peer_id, _facts(older), _facts(session)):
            return Ending.here(CloseCode.REPLACED, "another session with this node stays")
        return session.admit()

    async def _carry(self, session: Session, *, is_configured: bool) -> Ending:
        node_id = session.node_id
        older = self._admitted.get(node_id)
        restarted = older is not None and older.hello.instance != session.hello.instance
        if older is not None:
            older.end(Ending.here(CloseCode.REPLACED, "replaced by a newer session"))
        if older is not None and restarted:
            self._left(older, Reason.REPLACED)
        self._admitted[node_id] = session
        session.confirm()
        self._services.joined(
            session, self._factory.local.node_id, is_configured=is_configured, instead_of=older
        )
        if older is None or restarted:
            self._joined(session)
        ending = _DEFECT
        try:
            ending = await session.run(self._receiver)
        finally:
            self._services.left(session, ending.reason)
            if self._admitted.get(node_id) is session:
                del self._admitted[node_id]
                self._left(session, ending.reason, ending)
        if ending.code in _BREACHES and not ending.by_peer:
            self._reports.refused(session, ending)
        return ending

    def _stands_for(self, session: Session) -> None:
        """Let the session that stays count as dialled where this one was, too."""
        other = self._admitted.get(session.claimed_id or "")
        if other is not None:
            self._services.configured(other)

    def _joined(self, session: Session) -> None:
        peer = session.info
        self._reports.joined(session)
        self._peer_changed(PeerJoined(peer))
        for told in self._told_of_joining:
            told(peer)
        self._notify()

    def _left(self, session: Session, reason: Reason, ending: Ending | None = None) -> None:
        self._reports.left(session, reason, ending)
        self._peer_changed(PeerLeft(session.info, reason))

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _overloaded(detail: str) -> Ending:
    return Ending.here(CloseCode.OVERLOADED, detail, retry_after=_OVERLOADED_RETRY_SECONDS)


def _facts(session: Session) -> SessionFacts:
    return SessionFacts(session.hello.instance, session.role is Role.DIALER)
