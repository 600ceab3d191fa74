"""The binary encoding, subprotocol `thenodes.v1.bin`.

A header is the msgpack array `[to, from, delivery, …fields of the kind]`. A
direct session's frames leave `to` and `from` null: the session says who.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec
from msgspec import structs

from thenodes_plugin_api import (
    KINDS,
    Binding,
    Body,
    DeliveryClass,
    DeliveryMetadata,
    Extension,
    Hello,
    Message,
    Payload,
    PayloadError,
    PayloadForm,
    PayloadTooLarge,
    Realm,
    Verified,
)

from ..errors import ProtocolError
from ..limits import Limits
from .codec import Part, UnknownKind, check_counts
from .forward import FORWARD, read_run
from .frame import (
    FORM_MASK,
    HEAD_BYTES,
    REDELIVERED,
    Frame,
    check_header,
    make_head,
    pack,
    split,
    split_until,
)

__all__ = ["BinaryCodec"]


class _Delivery(msgspec.Struct, array_like=True):
    message_id: uuid.UUID
    delivery_class: DeliveryClass = DeliveryClass.FIRE_AND_FORGET
    ordering_key: str | None = None
    ordering_sequence: int | None = None
    created_at: int | None = None
    expires_at: int | None = None


Word = Annotated[str, msgspec.Meta(max_length=128)]


class _Realm(msgspec.Struct, array_like=True):
    name: Word
    code: Word
    version: Word


class _Binding(msgspec.Struct, array_like=True):
    mode: str
    value: bytes = b""


# Types that are arrays in this encoding and objects in JSON.
_ARRAYS: dict[Any, Any] = {Realm | None: _Realm | None, Binding | None: _Binding | None}
_PLAIN: dict[type, type] = {_Realm: Realm, _Binding: Binding}

# Behind the length.
_KIND_AT = 4

_encode = msgspec.msgpack.Encoder(uuid_format="bytes").encode
_FORMS: tuple[PayloadForm | None, ...] = (None, *PayloadForm)
_NESTED = (Realm, Binding)
_ABSENT = (None, None, None)

_Decoded: TypeAlias = tuple[Body, PayloadForm | None, DeliveryMetadata | None, bool]

# A plugin sends thousands of messages whose heads are equal, byte for byte.
# Bodies are immutable, so their decoded form can be shared by all of them.
_CACHED = 1024
_CACHED_BYTES = 64

K = TypeVar("K")
V = TypeVar("V")


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
    """Encodes and decodes binary frames; between calls it keeps only bounded caches.

    Args:
        limits: what is refused, on both sides.
    """

    subprotocol = "thenodes.v1.bin"
    name = "binary"
    coalesces = True

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._kinds = {kind.code: kind for kind in map(_Kind, KINDS)}
        self._decoded: dict[bytes, _Decoded] = {}
        self._heads: dict[tuple[str, int], bytes] = {}

    def encode(self, message: Message) -> bytes:
        """Return the message's frame.

        Raises:
            PayloadTooLarge: header or frame over its limit.
        """
        payload = message.payload
        flags = REDELIVERED if message.redelivered else 0
        data = b""
        if payload is not None:
            flags |= payload.form
            data = payload.data
        head = self._head(message, flags)
        size = 4 + len(head) + len(data)
        if size > self._limits.frame_bytes:
            raise PayloadTooLarge(
                f"{message.body.token} of {size} bytes: "
                f"a frame holds at most {self._limits.frame_bytes}"
            )
        return pack(head, data)

    def decode(
        self, data: bytes, *, sender: str = "", verified: Verified = Verified.NONE
    ) -> list[Message | UnknownKind]:
        """Return the messages of one WebSocket message.

        Raises:
            ProtocolError: anything that is not allowed.
        """
        return self._messages(split(data, self._limits), sender, verified)

    def code_of(self, encoded: bytes) -> int:
        """The code of the kind of a message that `encode` made."""
        return encoded[_KIND_AT]

    def read(
        self, data: bytes, *, sender: str = "", verified: Verified = Verified.NONE
    ) -> list[Part]:
        """As `decode`, with runs of RELAY_FWD frames in their places, of which only the header
        is decoded.

        Raises:
            ProtocolError: anything that is not allowed.
        """
        limits = self._limits
        parts: list[Part] = []
        at, end = 0, len(data)
        while at < end or not parts:
            forwarded, at = read_run(data, at, limits)
            if forwarded:
                parts.append(forwarded)
            if at < end or not parts:
                frames, at = split_until(data, at, FORWARD, limits)
                parts.append(self._messages(frames, sender, verified))
        return parts

    def _messages(
        self, frames: Sequence[Frame], sender: str, verified: Verified
    ) -> list[Message | UnknownKind]:
        messages: list[Message | UnknownKind] = []
        append = messages.append
        decoded = self._decoded
        for head, body_bytes in frames:
            known = decoded.get(head)
            if known is None:
                known = self._decode_head(head)
                if known is None:
                    append(UnknownKind(str(head[0])))
                    continue
            body, form, delivery, redelivered = known
            if form is not None:
                payload = Payload(form, body_bytes)
            elif body_bytes:
                raise ProtocolError(
                    f"{body.token} has {len(body_bytes)} bytes of body, but no form"
                )
            else:
                payload = None
            append(Message(body, payload, sender, None, delivery, verified, redelivered))
        return messages

    def _head(self, message: Message, flags: int) -> bytes:
        body, delivery = message.body, message.delivery
        if type(body) is not Extension or (body.request_id, body.reply_to, delivery) != _ABSENT:
            return make_head(body.code, flags, self._encode_header(body, delivery))
        head = self._heads.get((body.kind, flags))
        if head is None:
            head = make_head(body.code, flags, self._encode_header(body, None))
            if len(head) <= _CACHED_BYTES:
                _remember(self._heads, (body.kind, flags), head)
        return head

    def _encode_header(self, body: Body, delivery: DeliveryMetadata | None) -> bytes:
        check_counts(body)
        fields = structs.astuple(body)
        if type(body) is Hello:
            fields = tuple(structs.astuple(f) if isinstance(f, _NESTED) else f for f in fields)
        metadata = None if delivery is None else structs.astuple(delivery)
        try:
            header = _encode((None, None, metadata, *fields))
        except (UnicodeEncodeError, OverflowError) as error:
            raise PayloadError(f"{body.token} cannot be encoded: {error}") from error
        if len(header) > self._limits.header_bytes:
            try:
                check_header(body.code, len(header), self._limits)
            except ProtocolError as error:
                problem = f"{body.token}: {error}; what is larger goes into a payload"
                raise PayloadTooLarge(problem) from error
        return header

    def _decode_head(self, head: bytes) -> _Decoded | None:
        kind = self._kinds.get(head[0])
        if kind is None:
            return None
        flags = head[1]
        body, delivery = _decode_header(kind, head[HEAD_BYTES:])
        known = body, _form(flags), delivery, flags & REDELIVERED != 0
        if delivery is None and len(head) <= _CACHED_BYTES:
            _remember(self._decoded, head, known)
        return known


def _remember(cache: dict[K, V], key: K, value: V) -> None:
    if len(cache) >= _CACHED:
        cache.clear()
    cache[key] = value


def _form(flags: int) -> PayloadForm | None:
    try:
        return _FORMS[flags & FORM_MASK]
    except IndexError:
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
