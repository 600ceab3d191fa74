"""The live sessions: who is admitted, who is replaced, and where messages go."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from msgspec import structs

from thenodes_plugin_api import (
    Body,
    FrameHandler,
    Message,
    MessageHandler,
    NotConnected,
    Payload,
    PeerInfo,
    PeerJoined,
    PeerLeft,
    Reason,
    ServiceSession,
)

from ..address import Address
from ..clock import Clock, timeout
from ..events.counters import Counters
from ..events.dispatcher import Dispatcher
from ..limits import Limits
from ..protocol.close import CloseCode, Ending
from ..protocol.codec import Codec
from ..protocol.handshake import Handshake, LocalNode, Role, Screen
from ..protocol.proof import Channel, accepted_bindings, dialled_bindings
from ..session.session import Session
from ..session.tally import Tally, Traffic
from ..transport.base import Link
from .duplicates import SessionFacts, newer_wins
from .gate import Gate, OpenGate
from .numbers import SessionNumbers, SessionsNumbers
from .reports import SessionReports
from .service_sessions import ServiceSessions, Undo

__all__ = ["Inbound", "PeerManager", "Served"]

_STOPPING = Ending.here(CloseCode.RESTARTING, "the node is stopping", retry_after=1.0)

_DEFECT = Ending(code=1011, detail="internal error")

# Endings of an established session that are the peer's fault.
_BREACHES = frozenset({CloseCode.PROTOCOL, CloseCode.RATE_LIMITED})

_LOOK_SECONDS = 1.0
_OVERLOADED_RETRY_SECONDS = 10.0


class Inbound(Protocol):
    """Takes what peers send, and hears of their coming and going."""

    def deliver(self, messages: Sequence[Message]) -> bool:
        """Take messages, in order. Returns True where their readers need a turn."""
        ...

    def peer_changed(self, event: PeerJoined | PeerLeft) -> None:
        """A peer was admitted, or is gone."""
        ...


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


class PeerManager:
    """A node's sessions, at most one a peer.

    Args:
        local: this node, as it presents itself.
        codecs: by subprotocol.
        inbound: takes messages and changes.
        events: told of sessions and refusals.
        counters: counts messages and refusals.
        limits: the bounds of each session.
        clock: times them.
        random_bytes: makes nonces.
        gate: who is admitted; everybody where there is none.
    """

    def __init__(
        self,
        local: LocalNode,
        codecs: dict[str, Codec],
        inbound: Inbound,
        events: Dispatcher,
        counters: Counters,
        *,
        limits: Limits,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
        gate: Gate | None = None,
    ) -> None:
        self.local = local
        self._gate: Gate = gate or OpenGate()
        self._codecs = codecs
        self._inbound = inbound
        self._counters = counters
        self._limits = limits
        self._clock = clock
        self._random_bytes = random_bytes
        self._sessions: dict[str, Session] = {}
        self._numbers = SessionsNumbers(self._sessions, clock)
        self._serving: set[Session] = set()
        # What is accepted and not admitted yet, in the order of its arrival.
        self._opening: dict[Session, None] = {}
        self._handlers: dict[type[Body], Callable[[Session, Message], None]] = {}
        self._told_of_joining: list[Callable[[PeerInfo], None]] = []
        self._services = ServiceSessions(counters)
        self._reports = SessionReports(events, counters, clock)
        self._changed: asyncio.Event = asyncio.Event()
        self._stopping = False
        self._accepting = True

    def handle(self, kind: type[Body], handler: Callable[[Session, Message], None]) -> None:
        """Give messages of a kind that the node itself answers to `handler`."""
        self._handlers[kind] = handler

    def on_joined(self, told: Callable[[PeerInfo], None]) -> None:
        """Call `told` for each peer that is admitted from now on."""
        self._told_of_joining.append(told)

    def serve_frames(self, handler: FrameHandler) -> Undo:
        """Give the RELAY_FWD frames of every session to `handler`, not to plugins, from now on.

        Raises:
            ValueError: another has them.
        """
        return self._services.serve_frames(handler)

    def serve_kind(self, kind: type[Body], handler: MessageHandler) -> Undo:
        """Give messages of a kind to `handler`, not to plugins, from now on.

        Raises:
            ValueError: another has them, or the kind is the node's own.
        """
        return self._services.serve_kind(kind, handler)

    def wait_for_plugins(self, is_crowded: Callable[[], bool]) -> None:
        """Read no more of a session, for a turn, where `is_crowded` says so after its frames."""
        self._services.is_crowded = is_crowded

    def on_session(
        self,
        joined: Callable[[ServiceSession], None],
        left: Callable[[ServiceSession, Reason], None],
    ) -> Undo:
        """Tell a service of sessions; of those that there are already, at once.

        Where a session is replaced, `joined` is told of the newer one first. Nothing of a
        session comes after `left`.
        """
        return self._services.on_session(joined, left)

    def service_session(self, node_id: str) -> ServiceSession | None:
        """The session with a peer, as services see it."""
        session = self._sessions.get(node_id)
        return None if session is None else self._services.get(session)

    async def watch(self) -> None:
        """Look after every session, for ever: ask silent peers, cut dead and stuck ones."""
        while True:
            await self._clock.sleep(_LOOK_SECONDS)
            for session in list(self._serving):
                session.look()
            self._numbers.measure()

    def numbers(self) -> Sequence[SessionNumbers]:
        """What every session carried, what waits for it, and its round trip, ordered by id."""
        return self._numbers.sessions()

    @property
    def traffic(self) -> Traffic:
        """What all sessions ever carried, those that ended included, by direction and kind."""
        return self._numbers.traffic()

    async def ping(self, node_id: str, *, timeout_seconds: float = 5.0) -> float:
        """Measure the round trip to a connected peer; returns seconds.

        Raises:
            NotConnected: no session with that peer, or it ended meanwhile.
            RequestTimeout: the peer's connection did not answer in time.
        """
        return await self._numbers.ping(node_id, timeout_seconds)

    def announce(self, listen_addr: str) -> None:
        """Say in every HELLO from now on where this node can be dialled."""
        self.local = structs.replace(self.local, listen_addr=listen_addr)

    def show(self, certificate: bytes, card: bytes) -> None:
        """Show in every HELLO from now on another certificate and card."""
        self.local = structs.replace(self.local, certificate=certificate, card=card)

    def judge_again(self) -> None:
        """Apply the trust policy to every peer that is connected, and end who is refused."""
        for session in list(self._sessions.values()):
            ending = session.judge_again()
            if ending is not None:
                session.end(ending)

    def all(self) -> Sequence[PeerInfo]:
        """Every connected peer, ordered by id."""
        return [session.info for _, session in sorted(self._sessions.items())]

    def get(self, node_id: str) -> PeerInfo | None:
        """The peer with that id, if connected."""
        session = self._sessions.get(node_id)
        return None if session is None else session.info

    def is_connected(self, node_id: str, instance: bytes | None) -> bool:
        """True where that very process of the peer is connected."""
        session = self._sessions.get(node_id)
        return session is not None and instance is not None and session.hello.instance == instance

    def certificate_digest(self, node_id: str) -> bytes | None:
        """SHA-256 of a connected peer's certificate; None where it showed none."""
        session = self._sessions.get(node_id)
        certificate = None if session is None else session.hello.certificate
        return None if certificate is None else hashlib.sha256(certificate).digest()

    def public_key(self, node_id: str) -> bytes | None:
        """A connected peer's key; None where it showed none."""
        session = self._sessions.get(node_id)
        return None if session is None else session.hello.public_key

    def end(self, node_id: str, ending: Ending) -> None:
        """End the session with a peer, if there is one: what is queued is sent first."""
        session = self._sessions.get(node_id)
        if session is not None:
            session.end(ending)

    async def wait_for(self, node_id: str) -> PeerInfo:
        """Wait until a peer with that id is connected."""
        while (peer := self.get(node_id)) is None:
            await self._changed.wait()
        return peer

    async def wait_gone(self, node_id: str) -> None:
        """Wait until no peer with that id is connected."""
        while node_id in self._sessions:
            await self._changed.wait()

    async def send(
        self, to: str, body: Body, payload: Payload | None = None, *, timeout_seconds: float = 5.0
    ) -> None:
        """Queue a message for a connected peer.

        Raises:
            NotConnected: no session with that peer.
            PayloadTooLarge: over a limit.
            PayloadError: the payload is not what its form says.
            OutboxFull: no room in time.
        """
        session = self._sessions.get(to)
        if session is None:
            raise NotConnected(f"no session with {to}")
        frame = session.codec.encode(Message(body, payload, self.local.node_id, to))
        if not session.outbox.offer(frame, body.code):
            await session.send(frame, body.code, timeout_seconds=timeout_seconds)

    async def send_message(self, message: Message, *, timeout_seconds: float) -> None:
        """As `send`, of a message with delivery data, to whom it names."""
        session = self._sessions.get(message.to or "")
        if session is None:
            raise NotConnected(f"no session with {message.to}")
        frame = session.codec.encode(message)
        await session.send(frame, message.body.code, timeout_seconds=timeout_seconds)

    def control_to(self, node_id: str, body: Body) -> bool:
        """Queue a message of the node's own ahead of all data; False where it has no room."""
        session = self._sessions.get(node_id)
        return session is not None and session.control(body)

    def broadcast(self, body: Body, payload: Payload | None = None) -> int:
        """Queue a message for every peer that has room; returns how many had.

        Raises:
            PayloadTooLarge: over a limit.
            PayloadError: the payload is not what its form says.
        """
        message = Message(body, payload, self.local.node_id, "*")
        sessions = [s for s in self._sessions.values() if not s.outbox.closed]
        codecs = {session.codec.name: session.codec for session in sessions}
        frames = {name: codec.encode(message) for name, codec in codecs.items()}
        sent = sum([s.outbox.offer(frames[s.codec.name], body.code) for s in sessions])
        if sent < len(sessions):
            self._counters.add("messages_dropped", len(sessions) - sent, reason="outbox_full")
        return sent

    async def serve(
        self,
        link: Link,
        role: Role,
        established: Callable[[PeerInfo], None] = lambda peer: None,
        screen: Screen | None = None,
        dialled: Address | None = None,
        expected_id: str | None = None,
    ) -> Served:
        """Shake hands on a link, carry its session to the end, and return how that went.

        Args:
            link: the connection; closed at the end.
            role: which side this is.
            established: called once the peer is admitted.
            screen: a check of the peer's HELLO of the caller's own.
            dialled: the operator's address that led there.
            expected_id: whom the address that was dialled names.
        """
        if self._stopping or (role is Role.ACCEPTOR and not self._accepting):
            await link.close(_STOPPING.code, _STOPPING.word)
            return Served(_STOPPING)
        session = self._session(link, role, screen, dialled, expected_id)
        self._serving.add(session)
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
            self._serving.discard(session)
            link.abort()
            session.settle()
            self._notify()

    def _session(
        self,
        link: Link,
        role: Role,
        screen: Screen | None,
        dialled: Address | None,
        expected_id: str | None,
    ) -> Session:
        codec, gate = self._codecs[link.subprotocol], self._gate
        if role is Role.DIALER:
            bindings = dialled_bindings(
                encrypted=link.encrypted,
                certificate_digest=link.certificate_digest,
                verified_host=link.verified_host,
            )
        else:
            bindings = accepted_bindings(
                encrypted=link.encrypted,
                certificate_digests=gate.certificate_digests,
                public_hosts=gate.public_hosts,
            )
        handshake = Handshake(
            role,
            self.local,
            self._random_bytes(32),
            Channel(link.subprotocol, bindings),
            # The reference names itself and the peer's address in HELLO's envelope.
            lambda body: codec.encode(Message(body, sender="TheNodes", to=link.remote)),
            judge=gate.judge(role, link.remote, dialled),
            screen=screen,
            expected_id=expected_id,
        )
        return Session(
            link,
            role,
            handshake,
            codec,
            limits=self._limits,
            clock=self._clock,
            takers=self._services.takers,
            tally=Tally(self._numbers.totals),
        )

    def _make_room(self) -> None:
        """End the oldest handshake where too many are going on: a slow one, most likely."""
        if len(self._opening) < self._limits.max_handshakes:
            return
        oldest = next(iter(self._opening))
        self._opening.pop(oldest)
        self._counters.add("sessions_refused", reason="crowded_out")
        oldest.abort()

    def accept_no_more(self) -> None:
        """Send whoever comes from now on away, until the node is back; who is here stays."""
        self._accepting = False

    @property
    def unsent(self) -> tuple[int, int]:
        """How many frames wait to be sent, and to how many peers."""
        waiting = [count for session in self._serving if (count := len(session.outbox))]
        return sum(waiting), len(waiting)

    async def close(self) -> None:
        """End every session, telling the peers to come back; what is late is cut."""
        self._stopping = True
        for session in list(self._serving):
            session.end(_STOPPING)
        try:
            async with timeout(self._clock, self._limits.close_seconds):
                await self._wait_served()
        except TimeoutError:
            for session in list(self._serving):
                session.abort()
            await self._wait_served()

    async def _wait_served(self) -> None:
        while self._serving:
            await self._changed.wait()

    def deliver(self, session: Session, messages: Sequence[Message]) -> bool:
        """Hand on what a session received, unless the peer has since restarted.

        A session that was replaced by another of the same instance may still
        bring what the peer sent before it knew.
        """
        current = self._sessions.get(session.node_id)
        if current is None or current.hello.instance != session.hello.instance:
            self._counters.add("messages_dropped", len(messages), reason="session_replaced")
            return False
        self._counters.add("messages_received", len(messages))
        return self._inbound.deliver(messages)

    def control(self, session: Session, message: Message) -> None:
        """Give a message that the node itself answers to whoever does."""
        handler = self._handlers.get(type(message.body))
        if handler is None:
            self._counters.add("messages_dropped", reason="not_handled")
        elif self._sessions.get(session.node_id) is session:
            handler(session, message)

    def unknown_kinds(self, session: Session, kind: str, count: int, *, first: bool) -> None:
        """Count messages of kinds that this version does not know, and report a peer's first."""
        self._counters.add("messages_dropped", count, reason="unknown_kind")
        if first:
            self._reports.unknown_kind(session, kind)

    def _admission(self, session: Session) -> Ending | None:
        if self._stopping or (session.role is Role.ACCEPTOR and not self._accepting):
            return _STOPPING
        older = self._sessions.get(session.node_id)
        if older is None:
            if len(self._sessions) >= self._limits.max_sessions:
                return _overloaded(f"{len(self._sessions)} peers are connected, no more fit")
        elif not newer_wins(self.local.node_id, session.node_id, _facts(older), _facts(session)):
            return Ending.here(CloseCode.REPLACED, "another session with this node stays")
        return session.admit()

    async def _carry(self, session: Session, *, is_configured: bool) -> Ending:
        node_id = session.node_id
        older = self._sessions.get(node_id)
        restarted = older is not None and older.hello.instance != session.hello.instance
        if older is not None:
            older.end(Ending.here(CloseCode.REPLACED, "replaced by a newer session"))
        if older is not None and restarted:
            self._left(older, Reason.REPLACED)
        self._sessions[node_id] = session
        session.confirm()
        self._services.joined(
            session, self.local.node_id, is_configured=is_configured, instead_of=older
        )
        if older is None or restarted:
            self._joined(session)
        ending = _DEFECT
        try:
            ending = await session.run(self)
        finally:
            self._services.left(session, ending.reason)
            if self._sessions.get(node_id) is session:
                del self._sessions[node_id]
                self._left(session, ending.reason, ending)
        if ending.code in _BREACHES and not ending.by_peer:
            self._reports.refused(session, ending)
        return ending

    def _stands_for(self, session: Session) -> None:
        """Let the session that stays count as dialled where this one was, too."""
        other = self._sessions.get(session.claimed_id or "")
        if other is not None:
            self._services.configured(other)

    def _joined(self, session: Session) -> None:
        peer = session.info
        self._reports.joined(session)
        self._inbound.peer_changed(PeerJoined(peer))
        for told in self._told_of_joining:
            told(peer)
        self._notify()

    def _left(self, session: Session, reason: Reason, ending: Ending | None = None) -> None:
        self._reports.left(session, reason, ending)
        self._inbound.peer_changed(PeerLeft(session.info, reason))

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _overloaded(detail: str) -> Ending:
    return Ending.here(CloseCode.OVERLOADED, detail, retry_after=_OVERLOADED_RETRY_SECONDS)


def _facts(session: Session) -> SessionFacts:
    return SessionFacts(session.hello.instance, session.role is Role.DIALER)
