"""The binary encoding, subprotocol `thenodes.v1.bin`.

A header is the msgpack array `[to, from, delivery, …fields of the kind]`. A
direct session's frames leave `to` and `from` null: the session says who.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import structs

from thenodes_plugin_api import (
    KINDS,
    Binding,
    Body,
    DeliveryClass,
    DeliveryMetadata,
    Hello,
    Message,
    Payload,
    PayloadForm,
    PayloadTooLarge,
    Realm,
    Verified,
)

from ..errors import ProtocolError
from ..limits import Limits
from .codec import UnknownKind
from .frame import FORM_MASK, PREFIX_BYTES, REDELIVERED, check_header, pack, split

__all__ = ["BinaryCodec"]


class _Delivery(msgspec.Struct, array_like=True):
    message_id: uuid.UUID
    delivery_class: DeliveryClass = DeliveryClass.FIRE_AND_FORGET
    ordering_key: str | None = None
    ordering_sequence: int | None = None
    created_at: int | None = None
    expires_at: int | None = None


class _Realm(msgspec.Struct, array_like=True):
    name: str
    code: str
    version: str


class _Binding(msgspec.Struct, array_like=True):
    mode: str
    value: bytes = b""


# Types that are arrays in this encoding and objects in JSON.
_ARRAYS: dict[Any, Any] = {Realm | None: _Realm | None, Binding | None: _Binding | None}
_PLAIN: dict[type, type] = {_Realm: Realm, _Binding: Binding}

_encode = msgspec.msgpack.Encoder(uuid_format="bytes").encode
_FORMS = {form.value: form for form in PayloadForm}
_NESTED = (Realm, Binding)

# A plugin sends thousands of messages whose headers are equal, byte for byte.
# Bodies are immutable, so their decoded form is shared (benchmarks/README.md).
_CACHED_HEADERS = 1024
_CACHED_HEADER_BYTES = 64


class _Kind:
    """How one kind's header is read and written."""

    def __init__(self, body_type: type[Body]) -> None:
        fields = structs.fields(body_type)
        self.body_type = body_type
        self.code = body_type.code
        self.token = body_type.token
        header = msgspec.defstruct(
            f"{body_type.__name__}Header",
            [
                ("envelope_to", str | None),
                ("envelope_from", str | None),
                ("delivery", _Delivery | None),
                *(_header_field(field) for field in fields),
            ],
            array_like=True,
        )
        self.decode: Callable[[bytes], Any] = msgspec.msgpack.Decoder(header).decode
        self.build = _builder(body_type, [field.name for field in fields])


def _header_field(field: structs.FieldInfo) -> tuple[str, Any] | tuple[str, Any, Any]:
    kind = _ARRAYS.get(field.type, field.type)
    return (field.name, kind) if field.required else (field.name, kind, field.default)


def _builder(body_type: type[Body], names: list[str]) -> Callable[[Any], Body]:
    build: Callable[..., Body] = body_type
    if not names:
        only = build()
        return lambda header: only
    values = attrgetter(*names)
    if len(names) == 1:
        return lambda header: build(values(header))
    return lambda header: build(*values(header))


class BinaryCodec:
    """Encodes and decodes binary frames; between calls it keeps only a bounded cache.

    Args:
        limits: what is refused, on both sides.
    """

    subprotocol = "thenodes.v1.bin"
    name = "binary"
    coalesces = True

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._kinds = {kind.code: kind for kind in map(_Kind, KINDS)}
        self._bodies: dict[tuple[int, bytes], Body] = {}

    def encode(self, message: Message) -> bytes:
        """Return the message's frame.

        Raises:
            PayloadTooLarge: header or frame over its limit.
        """
        body, payload, delivery = message.body, message.payload, message.delivery
        fields = structs.astuple(body)
        if type(body) is Hello:
            fields = tuple(structs.astuple(f) if isinstance(f, _NESTED) else f for f in fields)
        header = _encode(
            (None, None, None if delivery is None else structs.astuple(delivery), *fields)
        )
        flags = REDELIVERED if message.redelivered else 0
        data = b""
        if payload is not None:
            flags |= payload.form
            data = payload.data
        limits = self._limits
        if len(header) > limits.header_bytes:
            try:
                check_header(body.code, len(header), limits)
            except ProtocolError as error:
                raise PayloadTooLarge(str(error)) from error
        size = PREFIX_BYTES + len(header) + len(data)
        if size > limits.frame_bytes:
            raise PayloadTooLarge(
                f"{body.token} of {size} bytes: a frame holds at most {limits.frame_bytes}"
            )
        return pack(body.code, flags, header, data)

    def decode(
        self, data: bytes, *, sender: str = "", verified: Verified = Verified.NONE
    ) -> list[Message | UnknownKind]:
        """Return the messages of one WebSocket message.

        Raises:
            ProtocolError: anything that is not allowed.
        """
        messages: list[Message | UnknownKind] = []
        bodies = self._bodies
        for frame in split(data, self._limits):
            flags = frame.flags
            body = bodies.get((frame.kind, frame.header))
            delivery = None
            if body is None:
                kind = self._kinds.get(frame.kind)
                if kind is None:
                    messages.append(UnknownKind(str(frame.kind)))
                    continue
                body, delivery = _decode_header(kind, frame.header)
                if delivery is None and len(frame.header) <= _CACHED_HEADER_BYTES:
                    self._remember(frame.kind, frame.header, body)
            payload = None
            if flags & FORM_MASK:
                payload = Payload(_form(flags), frame.body)
            elif frame.body:
                raise ProtocolError(
                    f"{body.token} has {len(frame.body)} bytes of body, but no form"
                )
            messages.append(
                Message(body, payload, sender, None, delivery, verified, flags & REDELIVERED != 0)
            )
        return messages

    def _remember(self, kind: int, header: bytes, body: Body) -> None:
        if len(self._bodies) >= _CACHED_HEADERS:
            self._bodies.clear()
        self._bodies[kind, header] = body


def _form(flags: int) -> PayloadForm:
    try:
        return _FORMS[flags & FORM_MASK]
    except KeyError:
        raise ProtocolError(f"payload form {flags & FORM_MASK} is not defined") from None


def _decode_header(kind: _Kind, header: bytes) -> tuple[Body, DeliveryMetadata | None]:
    try:
        fields = kind.decode(header)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"{kind.token} header: {error}") from error
    body = kind.build(fields)
    if isinstance(body, Hello):
        body = _plain(body)
    delivery = fields.delivery
    return body, None if delivery is None else DeliveryMetadata(*structs.astuple(delivery))


def _plain(hello: Hello) -> Hello:
    changes = {
        name: _PLAIN[type(value)](*structs.astuple(value))
        for name in ("realm", "binding")
        if type(value := getattr(hello, name)) in _PLAIN
    }
    return structs.replace(hello, **changes)
