"""Puts a message into the frame that relays carry (design: relay.md, Sealing)."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import msgspec

from thenodes_plugin_api import (
    Body,
    DataRequest,
    DataResponse,
    DeliveryAck,
    DeliveryClass,
    DeliveryHeader,
    DeliveryMetadata,
    Extension,
    ForwardHeader,
    KindNotAllowed,
    Message,
    NoRoute,
    Payload,
    PayloadForm,
    PayloadTooLarge,
    QoS,
    Reason,
    Text,
)

from ..limits import Limits
from ..node_id import may_be_derived
from ..protocol.card import Card
from ..protocol.codec import Codec
from ..protocol.forward import pack_forward
from ..security.seal import Sealer

__all__ = ["Envelopes", "MessageIds", "Wrapped", "check_size"]

_ENCLOSED = frozenset({Text, Extension, DataRequest, DataResponse, DeliveryAck})

_FIRE_AND_FORGET, _RELIABLE = str(DeliveryClass.FIRE_AND_FORGET), str(DeliveryClass.RELIABLE)
_NO_CARD: tuple[Card | None, int] = (None, 0)

_RANDOM_BYTES = 10
_VERSION, _VARIANT = 0x7 << 76, 0b10 << 62
# The highest of the lower bits is 0, so that counting on from it never meets the others.
_RANDOM_HIGH, _RANDOM_LOW = ((1 << 12) - 1) << 64, (1 << 61) - 1

# How long it is believed that a node's card is the newest.
_CARD_MS = 1000
_CARDS = 4096


class MessageIds:
    """Makes message ids: UUIDs of version 7 (RFC 9562), each greater than the one before.

    Of those of one millisecond the first is random, and each other one more.

    Args:
        random_bytes: makes their random part.
    """

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self._made_ms = -1
        self._last = 0

    def next(self, now_ms: int) -> bytes:
        """A new id, 16 bytes.

        Args:
            now_ms: Unix milliseconds.
        """
        if now_ms > self._made_ms:
            self._made_ms = now_ms
            random = int.from_bytes(self._random_bytes(_RANDOM_BYTES), "big")
            self._last = now_ms << 80 | _VERSION | random & _RANDOM_HIGH | _VARIANT
            self._last |= random & _RANDOM_LOW
        else:
            self._last += 1
        return self._last.to_bytes(16, "big")


class Wrapped(msgspec.Struct, frozen=True, gc=False):
    """A frame for relays.

    Attributes:
        message_id: 16 bytes.
        frame: whole, from its length field on.
    """

    message_id: bytes
    frame: bytes


class Envelopes:
    """Wraps what this node sends through relays.

    Args:
        node_id: this node's id.
        sealer: seals for the receiver; None where the operator set sealing off.
        card_of: the newest card of a node.
        codec: encodes what is enclosed: the binary one.
        limits: of frames and headers.
        random_bytes: makes message ids.
    """

    def __init__(
        self,
        node_id: str,
        sealer: Sealer | None,
        card_of: Callable[[str], Card | None],
        codec: Codec,
        limits: Limits,
        *,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.node_id = node_id
        self._sealer = sealer
        self._card_of = card_of
        self._codec = codec
        self._limits = limits
        self._ids = MessageIds(random_bytes)
        # Each with when it has to be looked up again: to check one takes as long as to seal.
        self._cards: dict[str, tuple[Card | None, int]] = {}

    def new_id(self, now_ms: int) -> bytes:
        """An id for a message, 16 bytes."""
        return self._ids.next(now_ms)

    def wrap(
        self,
        to: str,
        body: Body,
        payload: Payload | None,
        qos: QoS,
        *,
        now_ms: int,
        life_ms: int,
        confirm: bool = False,
        sequence: int | None = None,
    ) -> Wrapped:
        """Wrap a message.

        Args:
            to: whom it is for.
            body: its kind.
            payload: its data.
            qos: how relays treat it.
            now_ms: Unix milliseconds.
            life_ms: when it expires, from now.
            confirm: whether the receiver is asked for its word.
            sequence: a number for it.

        Raises:
            KindNotAllowed: a kind that belongs to sessions.
            NoRoute: `no_card`: no valid card of the receiver is known, or nothing can be
                sealed for the key in it.
            PayloadTooLarge: over a limit.
            PayloadError: the payload is not what its form says.
        """
        if type(body) not in _ENCLOSED:
            raise KindNotAllowed(f"{body.token} does not go through relays")
        message_id = self._ids.next(now_ms)
        delivery_class, asked = _FIRE_AND_FORGET, None
        if confirm:
            delivery_class = _RELIABLE
            asked = DeliveryMetadata(UUID(bytes=message_id), DeliveryClass.RELIABLE)
        delivery = DeliveryHeader(message_id, delivery_class, None, None, now_ms, now_ms + life_ms)
        header = ForwardHeader(None, None, delivery, to, self.node_id, sequence, qos)
        enclosed = self._codec.encode(Message(body, payload, "", None, asked))
        if self._sealer is None:
            frame = pack_forward(header, PayloadForm.FRAME, enclosed, self._limits)
        else:
            sealed = self._seal(self._sealer, header, enclosed, self._sealing_key(to, now_ms))
            frame = pack_forward(header, PayloadForm.SEALED, sealed, self._limits)
        return Wrapped(message_id, frame)

    def _seal(self, sealer: Sealer, header: ForwardHeader, enclosed: bytes, key: bytes) -> bytes:
        try:
            return sealer.seal(header, enclosed, key)
        except ValueError as error:
            # Its owner signed it, and may have put anything there.
            raise NoRoute(
                Reason.NO_CARD,
                f"nothing can be sealed for the key in the card of {header.to} ({error}); it has "
                "to make another one, and to open its mailbox at a relay again",
            ) from error

    def _sealing_key(self, to: str, now_ms: int) -> bytes:
        card, until = self._cards.get(to, _NO_CARD)
        if card is None or not until - _CARD_MS <= now_ms < until:
            card = self._card(to, now_ms)
        return card.sealing_key

    def _card(self, to: str, now_ms: int) -> Card:
        """The card of a node, looked up anew."""
        card = self._card_of(to)
        if card is None or now_ms > card.not_after:
            self._cards.pop(to, None)
            raise NoRoute(
                Reason.NO_CARD,
                f"no valid card of {to} is known, so nothing can be sealed for it; {_way_out(to)}, "
                'or both set network.relay.seal = "off"',
            )
        if len(self._cards) >= _CARDS:
            self._cards.clear()
        self._cards[to] = card, min(now_ms + _CARD_MS, card.not_after + 1)
        return card


def _way_out(to: str) -> str:
    if may_be_derived(to):
        return "it has to open its mailbox at a relay again"
    return "its id was chosen, so its key has to be met in a session, pinned or trusted first"


def check_size(frame: bytes, most: int, relay: str) -> None:
    """Raise PayloadTooLarge where a relay takes no frame of that size."""
    if len(frame) > most:
        raise PayloadTooLarge(
            f"a frame of {len(frame)} bytes: the relay {relay} takes at most {most}"
        )
