"""The lower door: what a plugin gets that carries other nodes' messages, as a relay does.

A plugin whose manifest has a section `[service]` finds it as `ctx.service`. Its handlers are
called where a message comes in, by the session's own reader: they take no time, never wait,
and must not raise.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Protocol, TypeAlias

import msgspec

from .delivery import DeliveryOptions, DeliveryOutcome, QoS
from .messages import Body, Message, Reason, RelayBindAck
from .peers import PeerInfo

__all__ = [
    "CardInfo",
    "Carrier",
    "CommandReply",
    "DeliveryHeader",
    "ForwardHeader",
    "Frame",
    "FrameHandler",
    "MessageHandler",
    "Route",
    "ServiceCommand",
    "ServiceDoor",
    "ServiceSession",
    "Settled",
]

_FLAGS_AT = 5
_REDELIVERED = 0b0000_1000

# What a 64-bit integer of a database holds.
Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
MessageId: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]


class DeliveryHeader(msgspec.Struct, array_like=True, gc=False):
    """The delivery data in a frame's header; see `DeliveryMetadata` for what each means.

    Attributes:
        message_id: 16 bytes.
        delivery_class: as it came, which need not be one of `DeliveryClass`.
        created_at: Unix milliseconds, less than 2**63, as every number here.
        expires_at: Unix milliseconds.
    """

    message_id: MessageId
    delivery_class: str = "fire_and_forget"
    ordering_key: str | None = None
    ordering_sequence: Number | None = None
    created_at: Number | None = None
    expires_at: Number | None = None


class ForwardHeader(msgspec.Struct, array_like=True, gc=False):
    """The header of a RELAY_FWD frame, as it is on the wire.

    Attributes:
        envelope_to: nothing to go by.
        envelope_from: nothing to go by.
        delivery: what the origin says of it.
        to: whom it is for, as it came; at most 60 KiB, and not always a node id.
        sender: who is said to have sent it; the wire's `from`.
        sequence: the origin's number for it.
        qos: as it came, which need not be one of `QoS`; the binding's where None.
    """

    envelope_to: str | None
    envelope_from: str | None
    delivery: DeliveryHeader | None
    to: str
    sender: str
    sequence: Number | None = None
    qos: str | None = None


class Frame(msgspec.Struct, gc=False):
    """A RELAY_FWD frame: its header decoded, the rest untouched.

    Attributes:
        header: what it says of itself.
        data: the whole binary frame, from its length field on.
    """

    header: ForwardHeader
    data: bytes

    @property
    def is_redelivered(self) -> bool:
        """Whether a relay marked it as sent before."""
        return bool(self.data[_FLAGS_AT] & _REDELIVERED)

    def redelivered(self) -> bytes:
        """The frame's bytes, marked as sent before."""
        data = self.data
        flags = bytes((data[_FLAGS_AT] | _REDELIVERED,))
        return data[:_FLAGS_AT] + flags + data[_FLAGS_AT + 1 :]


class ServiceSession(Protocol):
    """One session with a peer, always the same object. A peer that reconnects has another."""

    @property
    def peer(self) -> PeerInfo:
        """Who it is."""
        ...

    @property
    def instance(self) -> bytes | None:
        """Random, of the peer's process."""
        ...

    @property
    def card(self) -> bytes | None:
        """The identity card that the peer showed, checked."""
        ...

    @property
    def is_configured(self) -> bool:
        """Whether it was dialled at an address of the operator's.

        It may become true later: where the peer is dialled and a session is there already.
        """
        ...

    @property
    def is_open(self) -> bool:
        """False once nothing more is taken."""
        ...

    @property
    def waiting_bytes(self) -> int:
        """Bytes queued for the peer and not yet handed to its socket."""
        ...

    @property
    def waiting_frames(self) -> int:
        """Frames queued for the peer and not yet handed to its socket."""
        ...

    def offer(self, frames: Sequence[bytes]) -> int:
        """Queue RELAY_FWD frames, in order, as far as there is room; never waits.

        There is room for `ServiceDoor.window_bytes`, and for half of `limits.outbox_frames`.
        For a peer that speaks JSON the header is written anew; a frame that has no form in
        JSON counts as taken, and is dropped and counted.

        Returns:
            How many were taken: the first ones.
        """
        ...

    def send(self, body: Body) -> bool:
        """Queue a message of the service's own; False where there is no room. Never waits.

        Args:
            body: of a kind that a manifest's `[service]` may name, but RELAY_FWD.

        Raises:
            KindNotAllowed: of another.
            PayloadTooLarge: over a limit that the peer enforces.
        """
        ...

    def on_room(self, action: Callable[[], None]) -> None:
        """Call `action` once, when the peer has taken what is queued down to half the room.

        It is called soon where it is less already, and never where the session ends first.
        """
        ...

    def watch_closely(self, interval_seconds: float) -> None:
        """Ask the peer for a sign of life after so much silence, instead of the usual."""
        ...

    def end(self, reason: Reason, detail: str, *, retry_after: float | None = None) -> None:
        """End the session: what is queued is sent, then the peer is told why."""
        ...


FrameHandler: TypeAlias = Callable[[ServiceSession, Sequence[Frame]], None]
"""Takes RELAY_FWD frames that came one after the other in a WebSocket message, in order."""

MessageHandler: TypeAlias = Callable[[ServiceSession, Message], None]
"""Takes a message of another kind."""


class CardInfo(msgspec.Struct, frozen=True):
    """What an identity card says that passed its checks.

    Attributes:
        node_id: whose it is.
        fingerprint: SHA-256 of that node's public key, in hex.
        relays: node ids of the relays that it can be reached through.
        issued_at: Unix milliseconds.
        not_after: Unix milliseconds.
    """

    node_id: str
    fingerprint: str
    relays: tuple[str, ...]
    issued_at: int
    not_after: int


class Settled(msgspec.Struct, frozen=True):
    """What became of a frame that was handed to `ServiceDoor.deliver`, if it is reliable.

    Attributes:
        status: of the ACK: `ok`, `dup` or `error`.
        reason: why it is an error.
        detail: the same in words.
    """

    status: str
    reason: Reason | None = None
    detail: str = ""


class Route(Protocol):
    """A way to one target through one relay."""

    @property
    def relay(self) -> str:
        """The relay's node id."""
        ...

    @property
    def frame_bytes(self) -> int:
        """The largest frame that it takes."""
        ...

    @property
    def ttl_seconds(self) -> float:
        """How long a frame may be kept on it, at most."""
        ...

    def offer(self, frame: bytes, message_id: bytes, qos: QoS) -> bool:
        """Send a frame that is not reliable, if that takes no waiting; False where it would."""
        ...

    async def send(
        self, frame: bytes, message_id: bytes, qos: QoS, *, timeout_seconds: float
    ) -> DeliveryOutcome:
        """Send a frame; returns once it is queued, a reliable one once it is stored.

        A reliable frame is kept, and sent again after a reconnect, until the relay has it,
        even where `timeout_seconds` have passed.

        Returns:
            `SENT`, a reliable one `STORED`, or `REFUSED` with the relay's reason; also where
            the route is no longer open. `SENT` for a reliable frame that was queued and not
            yet stored when the time was up.

        Raises:
            OutboxFull: no room in time; the frame is not kept.
        """
        ...


class Carrier(Protocol):
    """What a service offers the node: ways to peers with whom there is no session."""

    def ready(self, to: str, options: DeliveryOptions) -> Route | None:
        """A route that is open."""
        ...

    async def open(
        self, to: str, options: DeliveryOptions, *, relay: str | None, timeout_seconds: float
    ) -> Route:
        """Open a route, through that relay where one is given.

        Raises:
            NoRoute: there is none; its `reason` says why.
        """
        ...

    async def bind(
        self,
        relay: str,
        target: str,
        *,
        store_forward: bool,
        qos: QoS,
        ttl_seconds: float | None,
        timeout_seconds: float,
    ) -> RelayBindAck:
        """As `Relay.bind`."""
        ...


class CommandReply(msgspec.Struct, frozen=True):
    """What a command answers.

    Attributes:
        text: for people.
        data: the same for machines; anything that msgspec encodes.
    """

    text: str
    data: object = None


class ServiceCommand(msgspec.Struct, frozen=True):
    """A command of the node's prompt, its control socket and the CLI.

    Attributes:
        name: one word or several; the first is one that the manifest names.
        help: one line.
        run: takes the words after the name. It may raise `ValueError` for wrong ones.
        usage: what those words are, such as `"[TARGET]"`.
        complete: what may stand after the name, for completion.
        example: one as it is typed, where it takes words.
        more: what its own help adds to the line.
    """

    name: str
    help: str
    run: Callable[[Sequence[str]], Awaitable[CommandReply]]
    usage: str = ""
    complete: Callable[[], Sequence[str]] | None = None
    example: str = ""
    more: str = ""


class ServiceDoor(Protocol):
    """`ctx.service`: handlers, sessions, cards, and the way to the node's own plugins."""

    @property
    def table(self) -> Mapping[str, object]:
        """The table of the node's configuration that the manifest names, defaults included.

        Its values are those of TOML, arrays as tuples, and None. Empty without such a table.
        """
        ...

    @property
    def instance(self) -> bytes:
        """Random, of this process."""
        ...

    @property
    def frame_bytes(self) -> int:
        """The largest frame that this node takes, `limits.frame_bytes`."""
        ...

    @property
    def window_bytes(self) -> int:
        """How many bytes may wait for a peer before its session's `offer` takes no more.

        That is `limits.window_bytes`, or `limits.outbox_bytes` where that is less.
        """
        ...

    def take_frames(self, handler: FrameHandler) -> None:
        """Get every RELAY_FWD frame from now on.

        Raises:
            ValueError: the manifest does not claim RELAY_FWD.
        """
        ...

    def take(self, kind: type[Body], handler: MessageHandler) -> None:
        """Get every message of a kind from now on; plugins get none of it any more.

        Raises:
            ValueError: the manifest does not claim the kind, or it is RELAY_FWD, which comes
                to `take_frames`.
        """
        ...

    def on_session(
        self,
        joined: Callable[[ServiceSession], None],
        left: Callable[[ServiceSession, Reason], None],
    ) -> None:
        """Be told of sessions; of those that there are already, at once.

        Of a session that another takes the place of, the other is told first. Nothing that
        a session brings comes after it was told as left.
        """
        ...

    def on_drain(self, begin: Callable[[], object], is_done: Callable[[], bool]) -> None:
        """Be told when the node takes nothing new and is about to stop, and say when it may.

        Args:
            begin: called once, and at once where the node drains already; sessions still carry
                what is sent.
            is_done: asked after that, many times a second, whether what was begun is finished.
                The node waits for that, but not for longer than its operator lets it.
        """
        ...

    def session(self, node_id: str) -> ServiceSession | None:
        """The session with a peer; the newer of two."""
        ...

    def count(self, name: str, amount: int = 1, *, reason: str | None = None) -> None:
        """Count something in the node's counters; with a reason as `name.reason`."""
        ...

    def level(self, name: str, read: Callable[[], float]) -> None:
        """Show a number that may also go down in the node's metrics, until the plugin stops.

        Args:
            name: of 1 to 64 of `[a-z0-9_]`, a letter first.
            read: called whenever somebody asks; it has to be quick.

        Raises:
            ValueError: the name is another, or taken.
        """
        ...

    def is_trusted(self, fingerprint: str) -> bool:
        """Whether the operator pinned or trusted that key."""
        ...

    def read_card(self, card: bytes) -> CardInfo:
        """Check a card on its own: form, signature, validity.

        Raises:
            CardRefused: what is wrong with it.
        """
        ...

    def learn_card(self, card: bytes) -> CardInfo:
        """Check a card that somebody handed on, and remember it for sealing.

        Raises:
            CardRefused: as `read_card`; or it is of another realm, older than one seen, or
                of a chosen id whose key this node does not know.
        """
        ...

    def card_of(self, node_id: str) -> CardInfo | None:
        """The newest card of a node that this one remembers."""
        ...

    def sign_card(self, relays: Sequence[str]) -> bytes:
        """Put these relays into this node's card; returns it. The same ones change nothing."""
        ...

    def deliver(
        self, relay: str, frames: Sequence[Frame], settled: Callable[[Frame, Settled], None]
    ) -> None:
        """Open frames for this node and give them to its plugins; never waits.

        Args:
            relay: node id of who brought them.
            frames: in order.
            settled: called for each frame of QoS `reliable`, and for each that names none and
                may be that by its binding, at once or later: when the plugins' handlers have
                returned and that is on disk. Not called for one that nobody may acknowledge;
                it will be sent again.
        """
        ...

    def dispatch(self, message: Message) -> None:
        """Give a message to the plugins that it is for."""
        ...

    def offer_carrier(self, carrier: Carrier) -> None:
        """Let the node send through `carrier` to peers with whom it has no session."""
        ...

    def add_command(self, command: ServiceCommand) -> None:
        """Add a command, until the plugin stops.

        Raises:
            ValueError: the name is taken, or its first word is not in the manifest.
        """
        ...

    def advertise(self, capabilities: Sequence[str]) -> None:
        """Advertise these, which the manifest names, in every HELLO from now on.

        Raises:
            ValueError: one is not in the manifest.
        """
        ...
