"""From frames that a relay brought to the node's plugins (design: relay.md, Sealing).

Each frame goes through the same steps: times, seal, trust policy, what it encloses,
whether it was here before; then its message is given to plugins. What fails a step is
counted as `relayed_dropped` with the reason, and goes no further.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from msgspec import structs

from thenodes_plugin_api import (
    Body,
    DataRequest,
    DataResponse,
    DeliveryAck,
    DeliveryClass,
    Extension,
    ForwardHeader,
    Frame,
    Level,
    Message,
    NetworkEvent,
    Payload,
    PayloadForm,
    QoS,
    Settled,
    Text,
    Verified,
)

from ..clock import Clock
from ..errors import ProtocolError
from ..events.counters import Counters
from ..events.dispatcher import Dispatcher
from ..plugins.tracked import Fate, Tracked
from ..protocol.codec_bin import BinaryCodec
from ..protocol.frame import FORM_MASK, PREFIX_BYTES, REDELIVERED
from ..rate import STRANGERS_AT_ONCE, STRANGERS_PER_SECOND, Damper
from ..security.refusal import MOST_AGE_MS, DropReason, Refused
from ..security.seal import Opener
from ..store.received import ReceivedIds
from ..text import printable
from .new_keys import NewKeys
from .paths import Paths
from .reliable import ReliableInbound, SettledCallback
from .senders import Sender, Senders
from .turns import Turns

__all__ = ["Confirmed", "Plugins", "RelayedInbound"]

_DAY_MS = 24 * 60 * 60 * 1000
_CACHED, _CACHED_BYTES = 1024, 64
_NAME_CHARACTERS, _DETAIL_CHARACTERS = 128, 400
_FLAGS_AT, _KIND_AT, _HEADER_AT = 5, 4, 6
_ENCLOSED = frozenset(
    kind.code for kind in (Text, DeliveryAck, DataRequest, DataResponse, Extension)
)
_FORMS = {form.value: form for form in (PayloadForm.TEXT, PayloadForm.JSON, PayloadForm.BINARY)}
_NO_TEXT = Text("")

# Looked at for every frame: an enumeration's member is slower to get and compare.
_SEALED, _FRAME, _PLAIN_FORMS = int(PayloadForm.SEALED), int(PayloadForm.FRAME), 3
# Of a frame that names no QoS the relay alone knows it, and may wait for a word.
_ANSWERED = frozenset({str(QoS.RELIABLE), None})

# After so many frames it is looked how many new session keys were among them, and after so
# many keys the event loop's other tasks have a turn: some 50 ms.
_FRAMES_A_LOOK = 64
_KEYS_A_TURN = 64

Confirmed: TypeAlias = Callable[[Message], None]


class Plugins(Protocol):
    """Where messages go."""

    def deliver(self, messages: Sequence[Message]) -> bool:
        """Give messages to the plugins they are for. True where an inbox is half full."""
        ...

    def deliver_tracked(self, items: Sequence[Tracked]) -> bool:
        """As `deliver`, of messages whose fate somebody wants to know."""
        ...


class RelayedInbound:
    """Takes frames for this node; see `ServiceDoor.deliver`.

    Args:
        node_id: this node's id.
        opener: opens what is sealed.
        keys: counts the session keys that it verifies.
        senders: knows who may be heard.
        received: remembers reliable messages.
        codec: reads what is enclosed.
        plugins: get the messages.
        confirm: told of each message whose sender wants to hear from this node that its
            plugins had it.
        confirmed: told of each word of that kind from another node.
        events: told of frames that are dropped, at a limited rate.
        counters: counts what comes, and what is dropped by reason.
        clock: judges times.
        paths: told through which relay senders are heard.
    """

    def __init__(
        self,
        node_id: str,
        opener: Opener,
        keys: NewKeys,
        senders: Senders,
        received: ReceivedIds,
        codec: BinaryCodec,
        plugins: Plugins,
        *,
        confirm: Confirmed,
        confirmed: Confirmed,
        events: Dispatcher,
        counters: Counters,
        clock: Clock,
        paths: Paths | None = None,
    ) -> None:
        self._crowded = False
        self._paths = paths or Paths()
        self._node_id = node_id
        self._opener = opener
        self._open_sealed = opener.open
        self._keys = keys
        self._turns = Turns(self._take, self._drop_unread)
        self._senders = senders
        self._reliable = ReliableInbound(received, confirm, counters)
        self._decode = codec.decode
        # What enclosed frames say before their payload.
        self._heads: dict[bytes, tuple[Body, PayloadForm]] = {}
        self._plugins = plugins
        self._confirmed = confirmed
        self._events = events
        self._counters = counters
        self._clock = clock
        self._drops = Damper(STRANGERS_PER_SECOND, STRANGERS_AT_ONCE, clock.monotonic())

    def deliver(self, relay: str, frames: Sequence[Frame], settled: SettledCallback) -> None:
        """Open frames for this node and give them to its plugins; never waits.

        Where many come under new session keys, the last of them are opened in later turns
        of the event loop.
        """
        self._turns.put(relay, frames, settled)

    def take_crowded(self) -> bool:
        """Whether an inbox was half full after what came last; True is said once."""
        crowded, self._crowded = self._crowded, False
        return crowded or bool(self._turns)

    def trust_changed(self) -> None:
        """Judge every sender anew, and verify every session key anew."""
        self._opener.forget()
        self._senders.forget()

    def _take(
        self, relay: str, frames: Sequence[Frame], settled: SettledCallback
    ) -> Sequence[Frame]:
        """Take frames; returns those that are left for another turn."""
        keys = self._keys
        keys.come_from(relay)
        enough = keys.allowed + _KEYS_A_TURN
        if len(frames) <= _FRAMES_A_LOOK:
            self._take_all(relay, frames, settled)
            return ()
        for at in range(0, len(frames), _FRAMES_A_LOOK):
            if keys.allowed >= enough:
                return frames[at:]
            self._take_all(relay, frames[at : at + _FRAMES_A_LOOK], settled)
        return ()

    def _take_all(self, relay: str, frames: Sequence[Frame], settled: SettledCallback) -> None:
        now_ms, now = int(self._clock.time() * 1000), self._clock.monotonic()
        messages: list[Message] = []
        tracked: list[Tracked] = []
        heard: set[str] = set()
        for frame in frames:
            try:
                sender, message = self._open(frame, now_ms, now)
                heard.add(sender.node_id)
                header = frame.header
                if header.qos in _ANSWERED:
                    item = self._reliable.take(sender.name, message, frame, settled, now_ms)
                    if item is not None:
                        tracked.append(item)
                    continue
                delivery = header.delivery
                if delivery is not None and not sender.is_new(delivery.message_id):
                    raise Refused(DropReason.DUPLICATE, "it was here before")
            except Refused as refused:
                self._refuse(relay, frame, refused, settled)
            else:
                if type(message.body) is DeliveryAck:
                    self._confirmed(message)
                else:
                    messages.append(message)
        self._paths.heard(heard, relay, now_ms / 1000)
        if taken := len(messages) + len(tracked):
            self._counters.add("relayed_received", taken)
        crowded = bool(messages) and self._plugins.deliver(messages)
        if tracked:
            crowded = self._deliver_tracked(tracked) or crowded
        self._crowded = self._crowded or crowded

    def _deliver_tracked(self, items: Sequence[Tracked]) -> bool:
        words = [item for item in items if type(item.message.body) is DeliveryAck]
        for word in words:
            self._confirmed(word.message)
            word.end(Fate.HAD)
        others = [item for item in items if type(item.message.body) is not DeliveryAck]
        return self._plugins.deliver_tracked(others)

    def _open(self, frame: Frame, now_ms: int, now: float) -> tuple[Sender, Message]:
        header, data = frame.header, frame.data
        if header.to != self._node_id:
            detail = f"for {header.to[:_NAME_CHARACTERS]}, not for this node"
            raise Refused(DropReason.MISADDRESSED, detail)
        if len(header.sender) > _NAME_CHARACTERS:
            # Names are kept: of keys that were tried, and of who claims them.
            raise Refused(DropReason.BAD_FRAME, "the sender's name is too long for a node id")
        flags = data[_FLAGS_AT]
        body_at = PREFIX_BYTES + (data[_HEADER_AT] << 8) + data[_HEADER_AT + 1]
        form = flags & FORM_MASK
        if form == _SEALED:
            _check_times(header, now_ms, needs_times=True)
            key, inner = self._open_sealed(header, data, body_at)
            sender = self._senders.proven(key, now)
        else:
            sender = self._senders.claimed(header.sender, now)
            inner = data[body_at:]
        if sender.refused is not None:
            raise Refused(*sender.refused)
        if form != _SEALED:
            _check_times(header, now_ms, needs_times=False)
            if form != _FRAME:
                return sender, _bare(form, inner, sender)
        message = self._read(inner, sender)
        if message.delivery is not None:
            message = _with_delivery(message, header)
        if flags & REDELIVERED:
            message = structs.replace(message, redelivered=True)
        return sender, message

    def _read(self, inner: bytes, sender: Sender) -> Message:
        """Read an enclosed frame; the head of most is known, byte for byte."""
        if len(inner) < PREFIX_BYTES:
            raise Refused(DropReason.BAD_FRAME, f"encloses {len(inner)} bytes, which is no frame")
        body_at = PREFIX_BYTES + (inner[_HEADER_AT] << 8) + inner[_HEADER_AT + 1]
        head = inner[:body_at]
        known = self._heads.get(head[_KIND_AT:])
        if known is not None and int.from_bytes(inner[:_KIND_AT], "big") + _KIND_AT == len(inner):
            body, form = known
            data = Payload(form, inner[body_at:])
            return Message(body, data, sender.node_id, None, None, sender.verified)
        message = self._decode_enclosed(inner, sender)
        payload, size = message.payload, len(head)
        if payload is not None and message.delivery is None and size <= _CACHED_BYTES:
            if len(self._heads) >= _CACHED:
                self._heads.clear()
            self._heads[head[_KIND_AT:]] = message.body, payload.form
        return message

    def _decode_enclosed(self, inner: bytes, sender: Sender) -> Message:
        if inner[_KIND_AT] not in _ENCLOSED or inner[_FLAGS_AT] > _PLAIN_FORMS:
            detail = f"encloses kind {inner[_KIND_AT]} with flags {inner[_FLAGS_AT]}"
            raise Refused(DropReason.NOT_ALLOWED, f"{detail}, which may not travel so")
        try:
            messages = self._decode(inner, sender=sender.node_id, verified=sender.verified)
        except ProtocolError as error:
            raise Refused(DropReason.BAD_FRAME, f"what it encloses: {error}") from error
        message = messages[0]
        if len(messages) != 1 or type(message) is not Message:
            raise Refused(DropReason.BAD_FRAME, "encloses more than one frame")
        return message

    def _refuse(self, relay: str, frame: Frame, refused: Refused, settled: SettledCallback) -> None:
        self._drop(refused.reason)
        # Without a word it comes again.
        if frame.header.qos in _ANSWERED and refused.reason is not DropReason.TOO_MANY_KEYS:
            settled(frame, Settled("error", refused.told, refused.detail))
        if refused.reason is DropReason.DUPLICATE:
            return
        kept_back = self._drops.let_through(self._clock.monotonic())
        if kept_back is None:
            return
        detail = printable(refused.detail, most=_DETAIL_CHARACTERS)
        more = f" ({kept_back} more were not reported)" if kept_back else ""
        self._events.emit(
            NetworkEvent(
                action="relayed_dropped",
                detail=f"dropped a message through relay {relay}: {detail}{more}",
                node_id=printable(frame.header.sender, most=_NAME_CHARACTERS),
                level=Level.WARNING,
                at=self._clock.time(),
            )
        )

    def _drop_unread(self, relay: str, frame: Frame, settled: SettledCallback) -> None:
        refused = Refused(DropReason.TOO_MANY_KEYS, f"too much waits that {relay} brought")
        self._refuse(relay, frame, refused, settled)

    def _drop(self, reason: DropReason) -> None:
        self._counters.add("relayed_dropped", reason=reason)


def _check_times(header: ForwardHeader, now_ms: int, *, needs_times: bool) -> None:
    """Refuse what comes too late, is too old or to live too long, or is dated ahead."""
    delivery = header.delivery
    created_at = None if delivery is None else delivery.created_at
    expires_at = None if delivery is None else delivery.expires_at
    if created_at is None or expires_at is None:
        if needs_times:
            raise Refused(DropReason.BAD_FRAME, "sealed, and without its times")
        created_at = now_ms if created_at is None else created_at
        expires_at = created_at + MOST_AGE_MS if expires_at is None else expires_at
    if created_at - _DAY_MS <= now_ms <= expires_at <= created_at + MOST_AGE_MS:
        return
    if now_ms > expires_at:
        raise Refused(DropReason.EXPIRED, f"expired {_seconds(now_ms - expires_at)} ago")
    if created_at > now_ms + _DAY_MS:
        detail = f"is dated {_seconds(created_at - now_ms)} ahead: at most a day is allowed"
        raise Refused(DropReason.AHEAD, detail)
    raise Refused(DropReason.OVER_AGE, "is over 30 days old, or is to live for longer than that")


def _with_delivery(message: Message, header: ForwardHeader) -> Message:
    """A message whose sender asks something of delivery, with the times of its frame."""
    own, outer = message.delivery, header.delivery
    assert own is not None
    if outer is None or own.message_id.bytes != outer.message_id:
        raise Refused(DropReason.BAD_FRAME, "encloses a frame of another message_id")
    asks = own.delivery_class is not DeliveryClass.FIRE_AND_FORGET
    if asks and header.qos not in _ANSWERED:
        raise Refused(DropReason.BAD_FRAME, f"asks for {own.delivery_class} without that qos")
    times = {"created_at": outer.created_at, "expires_at": outer.expires_at}
    return structs.replace(message, delivery=structs.replace(own, **times))


def _bare(form: int, data: bytes, sender: Sender) -> Message:
    """An unsealed payload that is no frame, as the reference sends it."""
    known = _FORMS.get(form)
    payload = None if known is None else Payload(known, data)
    return Message(_NO_TEXT, payload, sender.node_id, None, None, Verified.NONE)


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.0f} s"
