"""A client behind a door that a test holds, and relays that do what the test says."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec

from thenodes_plugin_api import (
    Ack,
    Body,
    CardInfo,
    CardRefused,
    Carrier,
    DeliveryHeader,
    DeliveryOptions,
    DeliveryOutcome,
    ForwardHeader,
    Frame,
    FrameHandler,
    Message,
    MessageHandler,
    PeerInfo,
    QoS,
    Reason,
    RelayBind,
    RelayBindAck,
    RelayLimits,
    RelayNotify,
    RelayUnbind,
    Route,
    ServiceCommand,
    ServiceSession,
    Settled,
    Verified,
)
from thenodes_plugin_api.testing import ManualClock, RecordingContext, make_peer, settle
from thenodes_relay.client import RelayClient
from thenodes_relay.client.outstanding import InFlightLimits

__all__ = ["Door", "Rig", "TestRelay", "Wire", "make_frame", "rig"]

STORING = ("relay", "relay_store_forward")
RELIABLE = DeliveryOptions(qos=QoS.RELIABLE)


def make_frame(
    number: int,
    to: str = "bob",
    *,
    sender: str = "here",
    qos: str = "reliable",
    expires_at: int | None = None,
    text: str = "",
) -> bytes:
    """A RELAY_FWD frame whose message id is `number`."""
    header = ForwardHeader(
        None,
        None,
        DeliveryHeader(number.to_bytes(16, "big"), expires_at=expires_at),
        to,
        sender,
        number,
        qos,
    )
    packed = msgspec.msgpack.encode(header)
    rest = bytes((7, 5)) + len(packed).to_bytes(2, "big") + packed + text.encode()
    return len(rest).to_bytes(4, "big") + rest


def read_header(frame: bytes) -> ForwardHeader:
    """The header of a frame."""
    size = int.from_bytes(frame[6:8], "big")
    return msgspec.msgpack.decode(frame[8 : 8 + size], type=ForwardHeader)


class Wire:
    """A session with a relay: what it is sent, the relay gets a turn of the loop later.

    Attributes:
        room: how many frames are still taken.
        watched: the interval that was asked for.
    """

    def __init__(self, relay: TestRelay, peer: PeerInfo) -> None:
        self.relay = relay
        self.peer = peer
        self.instance: bytes | None = None
        self.card: bytes | None = None
        self.is_configured = relay.is_configured
        self.is_open = True
        self.room = 1_000_000
        self.watched: float | None = None
        self._actions: list[Callable[[], None]] = []

    @property
    def waiting_bytes(self) -> int:
        return 0

    @property
    def waiting_frames(self) -> int:
        return 0

    def offer(self, frames: Sequence[bytes]) -> int:
        if not self.is_open:
            return 0
        taken = frames[: self.room]
        self.room -= len(taken)
        for frame in taken:
            asyncio.get_running_loop().call_soon(self.relay.take_frame, self, frame)
        return len(taken)

    def send(self, body: Body) -> bool:
        if not self.is_open or self.relay.is_deaf:
            return False
        asyncio.get_running_loop().call_soon(self.relay.take, self, body)
        return True

    def on_room(self, action: Callable[[], None]) -> None:
        self._actions.append(action)

    def give_room(self, count: int) -> None:
        """Take so many frames more, and say so."""
        self.room += count
        actions, self._actions = self._actions, []
        for action in actions:
            action()

    def watch_closely(self, interval_seconds: float) -> None:
        self.watched = interval_seconds

    def end(self, reason: Reason, detail: str, *, retry_after: float | None = None) -> None:
        raise NotImplementedError


class TestRelay:
    """A relay that answers as its attributes say.

    Attributes:
        mailboxes: who has one there: the card, and whether the node is present.
        refuses: targets that it refuses, and why; `"*"` is the node's own mailbox.
        is_silent: whether it answers nothing any more, its session open all the same.
        is_deaf: whether it takes no messages.
        most_routes: how many targets it lets the client bind.
        frame_bytes: the largest frame that it says it takes.
        confirms: whether it says `stored` of reliable frames.
        binds: every bind that it got.
        frames: message ids of every frame that it got, in order.
        refused: those that it refused, since they are stored first and the binding keeps nothing.
        acks: the client's answers to frames.
    """

    __test__ = False

    def __init__(self, rig: Rig, relay_id: str, capabilities: Sequence[str]) -> None:
        self.id = relay_id
        self.capabilities = tuple(capabilities)
        self.mailboxes: dict[str, tuple[bytes, bool]] = {}
        self.refuses: dict[str, Reason] = {}
        self.is_configured = True
        self.is_silent = False
        self.is_deaf = False
        self.most_routes = 1024
        self.frame_bytes: int | None = 65536
        self.confirms = True
        self._routes: set[str] = set()
        self._storing: dict[str, bool] = {}
        self.binds: list[RelayBind] = []
        self.unbinds: list[str] = []
        self.frames: list[int] = []
        self.refused: list[int] = []
        self.acks: list[Ack] = []
        self.wire: Wire | None = None
        self._rig = rig

    def join(self, *, verified: Verified = Verified.SESSION) -> Wire:
        """Have a session, perhaps in the place of an older one."""
        peer = make_peer(self.id, capabilities=self.capabilities, verified=verified)
        old, self.wire = self.wire, Wire(self, peer)
        self._routes.clear()
        self._rig.client.session_joined(self.wire)
        if old is not None:
            old.is_open = False
            self._rig.client.session_left(old, Reason.REPLACED)
        return self.wire

    def leave(self, reason: Reason = Reason.PEER_LEFT) -> None:
        """Have no session any more."""
        wire, self.wire = self.wire, None
        assert wire is not None
        wire.is_open = False
        self._rig.client.session_left(wire, reason)

    def say(self, body: Body) -> None:
        """Send the client something."""
        assert self.wire is not None
        self._hand_over(self.wire, body)

    def know(self, target: str, *, relays: Sequence[str] = (), present: bool = True) -> None:
        """Have a mailbox of a node, whose card names these relays."""
        self.mailboxes[target] = (f"{target}:{' '.join(relays)}".encode(), present)

    def take(self, wire: Wire, body: Body) -> None:
        """Get a message of the client's."""
        match body:
            case RelayBind():
                self.binds.append(body)
                if not self.is_silent:
                    self._hand_over(wire, self._answer(body))
            case RelayUnbind(binding_id=binding_id):
                self.unbinds.append(binding_id)
                self._routes.discard(binding_id.split(":")[2])
            case Ack():
                self.acks.append(body)
            case _:
                raise AssertionError(body)

    def take_frame(self, wire: Wire, frame: bytes) -> None:
        """Get a frame of the client's."""
        header = read_header(frame)
        assert header.delivery is not None
        number = int.from_bytes(header.delivery.message_id, "big")
        if header.qos == "reliable" and self._storing.get(header.to) is False:
            self.refused.append(number)
            self.notify(number, Reason.POLICY_DENIED)
            return
        self.frames.append(number)
        if header.qos == "reliable" and self.confirms and not self.is_silent:
            self.confirm(number, wire=wire)

    def confirm(self, number: int, status: str = "stored", *, wire: Wire | None = None) -> None:
        """Say what became of a reliable frame."""
        over = wire or self.wire
        assert over is not None
        self._hand_over(over, Ack("here", "bob", number, status, uuid.UUID(int=number)))

    def notify(self, number: int, reason: Reason, detail: str | None = None) -> None:
        """Tell something of a frame."""
        self.say(RelayNotify(reason, detail=detail, message_id=uuid.UUID(int=number)))

    def targets(self) -> list[str]:
        """What it was asked for, in order."""
        return [bind.target for bind in self.binds]

    def _answer(self, bind: RelayBind) -> RelayBindAck:
        reason = self.refuses.get(bind.target)
        if reason is None and bind.want_store_forward and bind.target != "*":
            reason = None if bind.target in self.mailboxes else Reason.UNKNOWN_TARGET
        if reason is None and bind.target != "*":
            is_full = len(self._routes | {bind.target}) > self.most_routes
            reason = Reason.QUOTA if is_full else None
        if reason is not None:
            return RelayBindAck(ok=False, reason=reason, nonce=bind.nonce)
        if bind.target != "*":
            self._routes.add(bind.target)
            can_store = "relay_store_forward" in self.capabilities
            self._storing[bind.target] = bool(bind.want_store_forward) or not can_store
        card, present = self.mailboxes.get(bind.target, (None, False))
        binding_id = f"bind:here:{bind.target}:{bind.nonce}"
        limits = RelayLimits(ttl_seconds=600, frame_bytes=self.frame_bytes)
        return RelayBindAck(True, None, binding_id, present, bind.nonce, limits, card)

    def _hand_over(self, wire: Wire, body: Body) -> None:
        client = self._rig.client
        message = Message(body, sender=self.id, verified=Verified.SESSION)
        match body:
            case RelayBindAck():
                client.take_bind_ack(wire, message)
            case Ack():
                client.take_ack(wire, message)
            case RelayNotify():
                client.take_notify(wire, message)
            case _:
                raise AssertionError(body)


class Door:
    """A `ServiceDoor` that remembers; a card is `id:relay relay`."""

    def __init__(self, table: Mapping[str, object]) -> None:
        self.table = table
        self.instance = b"instance-of-here"
        self.frame_bytes = 256 * 1024
        self.window_bytes = 256 * 1024
        self.counters: Counter[str] = Counter()
        self.levels: dict[str, Callable[[], float]] = {}
        self.drain: Callable[[], object] = lambda: None
        self.is_drained: Callable[[], bool] = lambda: True
        self.trusted: set[str] = set()
        self.cards: dict[str, CardInfo] = {}
        self.signed: list[tuple[str, ...]] = []
        self.dispatched: list[Message] = []
        self.delivered: list[tuple[Frame, Callable[[Frame, Settled], None]]] = []
        self.carrier: Carrier | None = None

    def take_frames(self, handler: FrameHandler) -> None:
        raise NotImplementedError

    def take(self, kind: type[Body], handler: MessageHandler) -> None:
        raise NotImplementedError

    def on_session(
        self,
        joined: Callable[[ServiceSession], None],
        left: Callable[[ServiceSession, Reason], None],
    ) -> None:
        raise NotImplementedError

    def session(self, node_id: str) -> ServiceSession | None:
        return None

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
        if name.startswith("forged"):
            raise CardRefused("the card is not signed by its own key")
        return CardInfo(name, "f" * 64, tuple(relays.split()), 0, 1)

    def learn_card(self, card: bytes) -> CardInfo:
        info = self.read_card(card)
        self.cards[info.node_id] = info
        return info

    def card_of(self, node_id: str) -> CardInfo | None:
        return self.cards.get(node_id)

    def sign_card(self, relays: Sequence[str]) -> bytes:
        if not self.signed or self.signed[-1] != tuple(relays):
            self.signed.append(tuple(relays))
        return f"here:{' '.join(relays)}".encode()

    def deliver(
        self, relay: str, frames: Sequence[Frame], settled: Callable[[Frame, Settled], None]
    ) -> None:
        self.delivered += [(frame, settled) for frame in frames]

    def dispatch(self, message: Message) -> None:
        self.dispatched.append(message)

    def offer_carrier(self, carrier: Carrier) -> None:
        self.carrier = carrier

    def add_command(self, command: ServiceCommand) -> None:
        raise NotImplementedError

    def advertise(self, capabilities: Sequence[str]) -> None:
        raise NotImplementedError


class Rig:
    """A client whose clock the test moves.

    Attributes:
        door: what it is given.
        client: the client.
        context: its context.
        clock: its time.
    """

    def __init__(self, table: Mapping[str, object], limits: InFlightLimits | None) -> None:
        self.door = Door(table)
        self.clock = ManualClock()
        self.context = RecordingContext(
            "relay", node_id="here", clock=self.clock, service=self.door
        )
        self.client = RelayClient(self.context, random_number=lambda: 0.5, limits=limits)
        self.client.start()

    @property
    def carrier(self) -> Carrier:
        """What the client offered the node."""
        assert self.door.carrier is not None
        return self.door.carrier

    def relay(self, relay_id: str, *, capabilities: Sequence[str] = STORING) -> TestRelay:
        """A relay that is not yet there."""
        return TestRelay(self, relay_id, capabilities)

    async def open(
        self,
        to: str = "bob",
        options: DeliveryOptions | None = None,
        *,
        relay: str | None = None,
        timeout_seconds: float = 5.0,
    ) -> Route:
        """Open a route; the clock stands still."""
        return await self.carrier.open(
            to, options or DeliveryOptions(), relay=relay, timeout_seconds=timeout_seconds
        )

    def begin(
        self, route: Route, number: int, to: str = "bob", *, timeout_seconds: float = 30.0
    ) -> asyncio.Task[DeliveryOutcome]:
        """Send a reliable frame in the background."""
        return asyncio.ensure_future(
            route.send(
                make_frame(number, to),
                number.to_bytes(16, "big"),
                QoS.RELIABLE,
                timeout_seconds=timeout_seconds,
            )
        )


@asynccontextmanager
async def rig(*, limits: InFlightLimits | None = None, **table: object) -> AsyncIterator[Rig]:
    """A client that uses relays: by rendezvous, unless the table says otherwise."""
    settings: dict[str, object] = {"use": (), "selection": "rendezvous"}
    made = Rig(settings | table, limits)
    try:
        yield made
    finally:
        made.client.stop()
        await settle()
        await made.context.close()
        assert made.context.faults == []
