"""The live sessions: who is connected, where messages go, and who takes what comes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Protocol

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
from ..clock import Clock
from ..events.counters import Counters
from ..events.dispatcher import Dispatcher
from ..limits import Limits
from ..protocol.close import Ending
from ..protocol.codec import Codec
from ..protocol.handshake import LocalNode, Role, Screen
from ..session.session import Session
from ..session.tally import Traffic
from ..transport.base import Link
from .gate import Gate, OpenGate
from .numbers import SessionNumbers, SessionsNumbers
from .reports import SessionReports
from .service_sessions import ServiceSessions, Undo
from .serving import Served, Serving
from .session_factory import SessionFactory

__all__ = ["Inbound", "PeerManager", "Served"]

_LOOK_SECONDS = 1.0


class Inbound(Protocol):
    """Takes what peers send, and hears of their coming and going."""

    def deliver(self, messages: Sequence[Message]) -> bool:
        """Take messages, in order. Returns True where their readers need a turn."""
        ...

    def peer_changed(self, event: PeerJoined | PeerLeft) -> None:
        """A peer was admitted, or is gone."""
        ...


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
        self._node_id = local.node_id
        self._inbound = inbound
        self._counters = counters
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._numbers = SessionsNumbers(self._sessions, clock)
        self._handlers: dict[type[Body], Callable[[Session, Message], None]] = {}
        self._services = ServiceSessions(counters)
        self._reports = SessionReports(events, counters, clock)
        self._factory = SessionFactory(
            local,
            codecs,
            gate or OpenGate(),
            self._services.takers,
            self._numbers.totals,
            limits=limits,
            clock=clock,
            random_bytes=random_bytes,
        )
        self._serving = Serving(
            self._sessions,
            self._factory,
            self,
            inbound.peer_changed,
            self._services,
            self._reports,
            counters,
            limits=limits,
            clock=clock,
        )

    @property
    def local(self) -> LocalNode:
        """This node, as it presents itself in every HELLO from now on."""
        return self._factory.local

    @local.setter
    def local(self, local: LocalNode) -> None:
        self._factory.local = local

    def handle(self, kind: type[Body], handler: Callable[[Session, Message], None]) -> None:
        """Give messages of a kind that the node itself answers to `handler`."""
        self._handlers[kind] = handler

    def on_joined(self, told: Callable[[PeerInfo], None]) -> None:
        """Call `told` for each peer that is admitted from now on."""
        self._serving.on_joined(told)

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
            self._serving.look()
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
            await self._serving.change()
        return peer

    async def wait_gone(self, node_id: str) -> None:
        """Wait until no peer with that id is connected."""
        while node_id in self._sessions:
            await self._serving.change()

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
        frame = session.codec.encode(Message(body, payload, self._node_id, to))
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
        message = Message(body, payload, self._node_id, "*")
        sessions = [s for s in self._sessions.values() if not s.outbox.closed]
        codecs = {session.codec.name: session.codec for session in sessions}
        frames = {name: codec.encode(message) for name, codec in codecs.items()}
        sent = sum([s.outbox.offer(frames[s.codec.name], body.code) for s in sessions])
        if sent < len(sessions):
            self._counters.add("messages_dropped", len(sessions) - sent, reason="outbox_full")
        return sent

    def serve(
        self,
        link: Link,
        role: Role,
        established: Callable[[PeerInfo], None] = lambda peer: None,
        screen: Screen | None = None,
        dialled: Address | None = None,
        expected_id: str | None = None,
    ) -> Coroutine[object, object, Served]:
        """Shake hands on a link, carry its session to the end, and return how that went.

        Args:
            link: the connection; closed at the end.
            role: which side this is.
            established: called once the peer is admitted.
            screen: a check of the peer's HELLO of the caller's own.
            dialled: the operator's address that led there.
            expected_id: whom the address that was dialled names.
        """
        # Not awaited here: what a session reads would pass through one coroutine more.
        return self._serving.serve(link, role, established, screen, dialled, expected_id)

    def accept_no_more(self) -> None:
        """Send whoever comes from now on away, until the node is back; who is here stays."""
        self._serving.accept_no_more()

    @property
    def unsent(self) -> tuple[int, int]:
        """How many frames wait to be sent, and to how many peers."""
        return self._serving.unsent

    async def close(self) -> None:
        """End every session, telling the peers to come back; what is late is cut."""
        await self._serving.close()

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
