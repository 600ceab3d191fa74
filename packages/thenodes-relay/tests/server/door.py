"""A service door that a test holds: sessions, counters and commands without a node."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import msgspec

from thenodes_plugin_api import (
    Ack,
    Body,
    CardInfo,
    CardRefused,
    Carrier,
    DeliveryHeader,
    ForwardHeader,
    Frame,
    FrameHandler,
    Message,
    MessageHandler,
    PeerInfo,
    Reason,
    RelayBind,
    RelayBindAck,
    RelayNotify,
    ServiceCommand,
    ServiceSession,
    Settled,
    Verified,
)
from thenodes_plugin_api.testing import make_peer

__all__ = ["Door", "Session", "frame"]

FRAMES_MAX = 4096
FRAME_BYTES = 256 * 1024
WINDOW_BYTES = 4 * 1024 * 1024

_numbers = itertools.count(1)


def frame(
    sender: str,
    to: str,
    text: str = "",
    *,
    qos: str | None = "high_throughput",
    sequence: int | None = None,
    message_id: bytes | None = None,
    delivery_class: str = "fire_and_forget",
    expires_at: int | None = None,
    bare: bool = False,
) -> Frame:
    """Make a RELAY_FWD frame whose body is `text`; a bare one has no delivery data."""
    delivery = None
    if not bare:
        number = message_id or next(_numbers).to_bytes(16, "big")
        delivery = DeliveryHeader(number, delivery_class, expires_at=expires_at)
    header = ForwardHeader(None, None, delivery, to, sender, sequence, qos)
    packed = msgspec.msgpack.encode(header)
    rest = bytes((7, 5)) + len(packed).to_bytes(2, "big") + packed + text.encode()
    return Frame(header, len(rest).to_bytes(4, "big") + rest)


class Session:
    """A session whose peer takes what it is sent when the test says so.

    Attributes:
        frames: the RELAY_FWD frames that the peer took.
        bodies: the other messages, as they were sent.
        reads: whether the peer takes what it is sent at once.
        frames_max: how many frames it holds for the peer.
        window_bytes: how many bytes may wait for the peer before no more is taken.
        room_asked: how often it was asked to tell of room.
    """

    def __init__(self, peer: PeerInfo, card: bytes | None, window_bytes: int) -> None:
        self.peer = peer
        self.instance: bytes | None = peer.node_id.encode().ljust(16, b".")
        self.card = card
        self.is_configured = False
        self.is_open = True
        self.reads = True
        self.frames_max = FRAMES_MAX
        self.window_bytes = window_bytes
        self.room_asked = 0
        self.frames: list[bytes] = []
        self.bodies: list[Body] = []
        self.ended: Reason | None = None
        self.control_room = 1_000_000
        self._waiting: list[bytes] = []
        self._actions: list[Callable[[], None]] = []

    @property
    def waiting_bytes(self) -> int:
        return sum(map(len, self._waiting))

    @property
    def waiting_frames(self) -> int:
        return len(self._waiting)

    def offer(self, frames: Sequence[bytes]) -> int:
        taken = 0
        for data in frames:
            full = self.waiting_bytes >= self.window_bytes or len(self._waiting) >= self.frames_max
            if full or not self.is_open:
                break
            self._waiting.append(data)
            taken += 1
        if self.reads:
            self.read()
        return taken

    def send(self, body: Body) -> bool:
        if not self.is_open or self.control_room <= 0:
            return False
        self.control_room -= 1
        self.bodies.append(body)
        return True

    def on_room(self, action: Callable[[], None]) -> None:
        self._actions.append(action)
        self.room_asked += 1
        has_room = 2 * self.waiting_bytes <= self.window_bytes
        if self.reads or (has_room and 2 * len(self._waiting) <= self.frames_max):
            asyncio.get_running_loop().call_soon(self._call)

    def watch_closely(self, interval_seconds: float) -> None:
        pass

    def end(self, reason: Reason, detail: str, *, retry_after: float | None = None) -> None:
        self.ended = reason
        self.is_open = False

    def read(self) -> None:
        """Let the peer take everything that waits for it."""
        self.frames += self._waiting
        self._waiting.clear()
        if self._actions:
            asyncio.get_running_loop().call_soon(self._call)

    def texts(self) -> list[str]:
        """The bodies of the frames that the peer took."""
        return [data[8 + int.from_bytes(data[6:8], "big") :].decode() for data in self.frames]

    def marked(self) -> list[bool]:
        """Which of the frames are marked as sent before."""
        return [bool(data[5] & 8) for data in self.frames]

    def acks(self) -> list[RelayBindAck]:
        """The answers to binds."""
        return [body for body in self.bodies if isinstance(body, RelayBindAck)]

    def words(self) -> list[str | None]:
        """The statuses of the ACKs."""
        return [body.status for body in self.bodies if isinstance(body, Ack)]

    def notices(self) -> list[tuple[Reason, int | None]]:
        """Reason and message id, as a number, of the notifications."""
        return [
            (body.notif_type, None if body.message_id is None else body.message_id.int)
            for body in self.bodies
            if isinstance(body, RelayNotify)
        ]

    def _call(self) -> None:
        actions, self._actions = self._actions, []
        for action in actions:
            action()


class Door:
    """A `ServiceDoor` that remembers.

    Attributes:
        counters: what was counted.
        commands: what was added, by name.
        trusted: fingerprints that the operator trusts.
        outdated: cards that are older than one seen.
    """

    def __init__(
        self,
        table: Mapping[str, object],
        *,
        frame_bytes: int = FRAME_BYTES,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        self.table = table
        self.frame_bytes = frame_bytes
        self.window_bytes = window_bytes
        self.instance = b"relay-instance.."
        self.counters: Counter[str] = Counter()
        self.levels: dict[str, Callable[[], float]] = {}
        self.drain: Callable[[], object] = lambda: None
        self.is_drained: Callable[[], bool] = lambda: True
        self.commands: dict[str, ServiceCommand] = {}
        self.outdated: set[bytes] = set()
        self.trusted: set[str] = set()
        self.delivered: list[Frame] = []
        self.dispatched: list[Message] = []
        self.advertised: tuple[str, ...] = ()
        self.carrier: Carrier | None = None
        self.sessions: dict[str, Session] = {}
        self._frames: FrameHandler | None = None
        self._kinds: dict[type[Body], MessageHandler] = {}
        self._joined: Callable[[ServiceSession], None] = lambda session: None
        self._left: Callable[[ServiceSession, Reason], None] = lambda session, reason: None

    def take_frames(self, handler: FrameHandler) -> None:
        self._frames = handler

    def take(self, kind: type[Body], handler: MessageHandler) -> None:
        self._kinds[kind] = handler

    def on_session(
        self,
        joined: Callable[[ServiceSession], None],
        left: Callable[[ServiceSession, Reason], None],
    ) -> None:
        self._joined, self._left = joined, left

    def session(self, node_id: str) -> ServiceSession | None:
        return self.sessions.get(node_id)

    def count(self, name: str, amount: int = 1, *, reason: str | None = None) -> None:
        self.counters[name if reason is None else f"{name}.{reason}"] += amount

    def on_drain(self, begin: Callable[[], object], is_done: Callable[[], bool]) -> None:
        self.drain, self.is_drained = begin, is_done

    def level(self, name: str, read: Callable[[], float]) -> None:
        self.levels[name] = read

    def is_trusted(self, fingerprint: str) -> bool:
        return fingerprint in self.trusted

    def read_card(self, card: bytes) -> CardInfo:
        name, _, relays = card.decode().partition(":")
        fingerprint = make_peer(name).fingerprint
        if fingerprint is None or name.startswith("forged"):
            raise CardRefused("forged")
        return CardInfo(name, fingerprint, tuple(relays.split()), 0, 1)

    def learn_card(self, card: bytes) -> CardInfo:
        if card in self.outdated:
            raise CardRefused("older than one seen")
        return self.read_card(card)

    def card_of(self, node_id: str) -> CardInfo | None:
        return None

    def sign_card(self, relays: Sequence[str]) -> bytes:
        return f"here:{' '.join(relays)}".encode()

    def deliver(
        self, relay: str, frames: Sequence[Frame], settled: Callable[[Frame, Settled], None]
    ) -> None:
        self.delivered += frames

    def dispatch(self, message: Message) -> None:
        self.dispatched.append(message)

    def offer_carrier(self, carrier: Carrier) -> None:
        self.carrier = carrier

    def add_command(self, command: ServiceCommand) -> None:
        self.commands[command.name] = command

    def advertise(self, capabilities: Sequence[str]) -> None:
        self.advertised = tuple(capabilities)

    def join(self, node_id: str, *, verified: Verified = Verified.SESSION) -> Session:
        """Let a node have a session; one that it had is replaced."""
        peer = make_peer(node_id, verified=verified)
        old = self.sessions.get(node_id)
        session = self.sessions[node_id] = Session(peer, node_id.encode(), self.window_bytes)
        self._joined(session)
        if old is not None:
            self.leave(old, Reason.REPLACED)
        return session

    def leave(self, session: Session, reason: Reason = Reason.PEER_LEFT) -> None:
        """Let a session end."""
        session.is_open = False
        if self.sessions.get(session.peer.node_id) is session:
            del self.sessions[session.peer.node_id]
        self._left(session, reason)

    def bring(self, session: Session, *frames: Frame) -> None:
        """Let frames come in from a session, as those of one WebSocket message."""
        assert self._frames is not None
        self._frames(session, frames)

    def say(self, session: Session, body: Body) -> None:
        """Let a message of another kind come in from a session."""
        message = Message(body, sender=session.peer.node_id, verified=session.peer.verified)
        self._kinds[type(body)](session, message)

    def bind(
        self, session: Session, target: str = "*", *, store: bool = False, qos: str | None = None
    ) -> RelayBindAck:
        """Let a session bind a target, and return the answer."""
        before = len(session.acks())
        self.say(session, RelayBind(target, store, qos, next(_numbers)))
        (answer,) = session.acks()[before:]
        return answer

    def acknowledge(self, session: Session, origin: str, number: int, status: str = "ok") -> None:
        """Let a receiver acknowledge the frame whose message id is `number`."""
        receiver = session.peer.node_id
        self.say(session, Ack(origin, receiver, 0, status, uuid.UUID(int=number)))
