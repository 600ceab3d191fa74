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
from ..protocol.card import Card
from ..protocol.codec import Codec
from ..protocol.forward import pack_forward
from ..security.seal import Sealer

__all__ = ["Envelopes", "MessageIds", "Wrapped", "check_size"]

_ENCLOSED = frozenset({Text, Extension, DataRequest, DataResponse, DeliveryAck})

_ID_BYTES = 16
_DRAWN = 256
_VERSION, _VARIANT = 0x7 << 76, 0b10 << 62
_RANDOM_HIGH, _RANDOM_LOW = ((1 << 12) - 1) << 64, (1 << 62) - 1


class MessageIds:
    """Makes message ids: UUIDs of version 7 (RFC 9562).

    Args:
        random_bytes: makes their random part.
    """

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self._drawn = b""
        self._at = 0

    def next(self, now_ms: int) -> bytes:
        """A new id, 16 bytes.

        Args:
            now_ms: Unix milliseconds.
        """
        if self._at >= len(self._drawn):
            # Drawn for many at once: a call each would be felt.
            self._drawn, self._at = self._random_bytes(_ID_BYTES * _DRAWN), 0
        random = int.from_bytes(self._drawn[self._at : self._at + _ID_BYTES], "big")
        self._at += _ID_BYTES
        number = (now_ms << 80) | _VERSION | (random & _RANDOM_HIGH) | _VARIANT
        return (number | (random & _RANDOM_LOW)).to_bytes(_ID_BYTES, "big")


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
            NoRoute: `no_card`: no valid card of the receiver is known.
            PayloadTooLarge: over a limit.
            PayloadError: the payload is not what its form says.
        """
        if type(body) not in _ENCLOSED:
            raise KindNotAllowed(f"{body.token} does not go through relays")
        message_id = self._ids.next(now_ms)
        delivery_class = DeliveryClass.RELIABLE if confirm else DeliveryClass.FIRE_AND_FORGET
        header = ForwardHeader(
            None,
            None,
            DeliveryHeader(message_id, delivery_class, None, None, now_ms, now_ms + life_ms),
            to,
            self.node_id,
            sequence,
            qos,
        )
        asked = DeliveryMetadata(UUID(bytes=message_id), delivery_class) if confirm else None
        enclosed = self._codec.encode(Message(body, payload, delivery=asked))
        if self._sealer is None:
            frame = pack_forward(header, PayloadForm.FRAME, enclosed, self._limits)
        else:
            sealed = self._sealer.seal(header, enclosed, self._sealing_key(to, now_ms))
            frame = pack_forward(header, PayloadForm.SEALED, sealed, self._limits)
        return Wrapped(message_id, frame)

    def _sealing_key(self, to: str, now_ms: int) -> bytes:
        card = self._card_of(to)
        if card is None or now_ms > card.not_after:
            what = "no card" if card is None else "only an expired card"
            raise NoRoute(
                Reason.NO_CARD,
                f"{what} of {to} is known, so nothing can be sealed for it; it has to open its "
                'mailbox at a relay again, or both set network.relay.seal = "off"',
            )
        return card.sealing_key


def check_size(frame: bytes, most: int, relay: str) -> None:
    """Raise PayloadTooLarge where a relay takes no frame of that size."""
    if len(frame) > most:
        raise PayloadTooLarge(
            f"a frame of {len(frame)} bytes: the relay {relay} takes at most {most}"
        )
