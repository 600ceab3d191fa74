"""RELAY_FWD frames as a relay and its endpoints handle them: the header decoded, no more.

A relay reads a run of them in one loop and hands on their bytes; whoever seals, opens or
translates one finds here how it is put together.
"""

from __future__ import annotations

import struct
import uuid

import msgspec
from msgspec import structs

from thenodes_plugin_api import (
    DeliveryClass,
    DeliveryHeader,
    DeliveryMetadata,
    ForwardHeader,
    Frame,
    Message,
    Payload,
    PayloadError,
    PayloadForm,
    PayloadTooLarge,
    RelayForward,
)

from ..errors import ProtocolError
from ..limits import Limits
from .frame import (
    FORM_MASK,
    PREFIX_BYTES,
    REDELIVERED,
    check_header,
    make_head,
    pack,
    reject_length,
)

__all__ = ["FORWARD", "frame_of", "message_of", "pack_forward", "read_run", "split_forward"]

FORWARD = RelayForward.code

_PREFIX = struct.Struct(">IBBH")
_LENGTH_BYTES = 4
_FORMS: tuple[PayloadForm | None, ...] = (None, *PayloadForm)

_decode = msgspec.msgpack.Decoder(ForwardHeader).decode
_encode = msgspec.msgpack.Encoder().encode

# A payload of some form, sent for the first time or again.
_WITH_PAYLOAD = frozenset(form | again for form in PayloadForm for again in (0, REDELIVERED))


def read_run(data: bytes, at: int, limits: Limits) -> tuple[list[Frame], int]:
    """Read the RELAY_FWD frames that follow each other from `at` on.

    Args:
        data: a WebSocket message.
        at: where a frame begins.
        limits: of frame and header.

    Returns:
        The frames, and where the first of another kind begins, or the end.

    Raises:
        ProtocolError: a length is wrong or over its limit, or a header is not one.
    """
    frames: list[Frame] = []
    append = frames.append
    unpack, decode = _PREFIX.unpack_from, _decode
    end = len(data)
    frame_max, header_max = limits.frame_bytes, limits.header_bytes
    try:
        while at < end:
            length, kind, flags, header_length = unpack(data, at)
            if kind != FORWARD:
                break
            body_at = at + PREFIX_BYTES + header_length
            next_at = at + _LENGTH_BYTES + length
            if next_at > end or body_at > next_at:
                reject_length(length, header_length, end - at - _LENGTH_BYTES)
            if next_at - at > frame_max:
                raise ProtocolError(
                    f"frame of {next_at - at} bytes, at most {frame_max} are allowed"
                )
            if header_length > header_max:
                check_header(kind, header_length, limits)
            if flags not in _WITH_PAYLOAD:
                _check_form(flags & FORM_MASK, next_at - body_at)
            append(Frame(decode(data[at + PREFIX_BYTES : body_at]), data[at:next_at]))
            at = next_at
    except struct.error:
        raise ProtocolError(f"truncated frame: {end - at} bytes, expected {PREFIX_BYTES}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"{RelayForward.token} header: {error}") from error
    return frames, at


def pack_forward(
    header: ForwardHeader,
    form: PayloadForm,
    body: bytes,
    limits: Limits,
    *,
    redelivered: bool = False,
) -> bytes:
    """Return a RELAY_FWD frame.

    Raises:
        PayloadTooLarge: header or frame over its limit.
        PayloadError: the header holds a text or number that has no form on the wire.
    """
    try:
        encoded = _encode(header)
    except (UnicodeEncodeError, OverflowError) as error:
        raise PayloadError(f"{RelayForward.token} cannot be encoded: {error}") from error
    header_length = len(encoded)
    size = PREFIX_BYTES + header_length + len(body)
    if header_length > limits.header_bytes:
        try:
            check_header(FORWARD, header_length, limits)
        except ProtocolError as error:
            raise PayloadTooLarge(str(error)) from error
    if size > limits.frame_bytes:
        raise PayloadTooLarge(
            f"{RelayForward.token} of {size} bytes: a frame holds at most {limits.frame_bytes}"
        )
    flags = form | REDELIVERED if redelivered else form
    return _PREFIX.pack(size - _LENGTH_BYTES, FORWARD, flags, header_length) + encoded + body


def split_forward(data: bytes) -> tuple[PayloadForm | None, bytes]:
    """Return the payload of a RELAY_FWD frame that was read.

    Returns:
        Its form, None where it has none, and its bytes.
    """
    _, _, flags, header_length = _PREFIX.unpack_from(data)
    return _FORMS[flags & FORM_MASK], data[PREFIX_BYTES + header_length :]


def frame_of(message: Message, limits: Limits) -> Frame:
    """Return the frame of a RELAY_FWD that came in another encoding.

    Raises:
        ProtocolError: the header does not hold what it should, or the frame is over its limit.
    """
    body, payload, delivery = message.body, message.payload, message.delivery
    assert isinstance(body, RelayForward)
    header = ForwardHeader(
        None,
        None,
        None if delivery is None else _delivery_header(delivery),
        body.to,
        body.sender,
        body.sequence,
        body.qos,
    )
    form, data = (0, b"") if payload is None else (payload.form, payload.data)
    flags = form | REDELIVERED if message.redelivered else form
    try:
        frame = pack(make_head(FORWARD, flags, _encode(header)), data)
    except (OverflowError, struct.error) as error:
        raise ProtocolError(f"{RelayForward.token} header: {error}") from error
    frames, _ = read_run(frame, 0, limits)
    return frames[0]


def message_of(data: bytes, sender: str, to: str) -> Message:
    """Return what a RELAY_FWD frame says, for another encoding.

    Args:
        data: the frame; it has been read before.
        sender: this hop's sender.
        to: this hop's receiver.

    Raises:
        PayloadError: the delivery data has no other form.
    """
    _, _, flags, header_length = _PREFIX.unpack_from(data)
    header = _decode(data[PREFIX_BYTES : PREFIX_BYTES + header_length])
    form, body = split_forward(data)
    return Message(
        RelayForward(header.to, header.sender, header.sequence, header.qos),
        None if form is None else Payload(form, body),
        sender,
        to,
        None if header.delivery is None else _metadata(header.delivery),
        redelivered=bool(flags & REDELIVERED),
    )


def _check_form(form: int, size: int) -> None:
    if form >= len(_FORMS):
        raise ProtocolError(f"payload form {form} is not defined")
    if not form and size:
        raise ProtocolError(f"{RelayForward.token} has {size} bytes of body, but no form")


def _delivery_header(delivery: DeliveryMetadata) -> DeliveryHeader:
    message_id, delivery_class, *others = structs.astuple(delivery)
    return DeliveryHeader(message_id.bytes, delivery_class, *others)


def _metadata(delivery: DeliveryHeader) -> DeliveryMetadata:
    message_id, delivery_class, *others = structs.astuple(delivery)
    try:
        return DeliveryMetadata(uuid.UUID(bytes=message_id), DeliveryClass(delivery_class), *others)
    except ValueError as error:
        raise PayloadError(f"{RelayForward.token} cannot be encoded: {error}") from error
