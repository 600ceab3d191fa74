"""The JSON encoding, subprotocol `thenodes.v1.json`: the reference's envelope.

`{"from", "to", "msg_type", "payload", "realm", "delivery"?}` with `msg_type`
tagged from outside: `{"EXTENSION": {…}}`, `{"TEXT": "hi"}`, `"HEARTBEAT"`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Raw, UnsetType, structs

from thenodes_plugin_api import (
    KINDS,
    Ack,
    Body,
    DeliveryMetadata,
    Disconnect,
    Extension,
    Hello,
    Message,
    Payload,
    PayloadError,
    PayloadForm,
    PayloadTooLarge,
    Realm,
    RelayBind,
    RelayBindAck,
    RelayForward,
    RelayNotify,
    Text,
    TheNodesError,
    Verified,
)

from ..errors import ProtocolError
from ..limits import Limits
from .codec import BY_TOKEN, Part, UnknownKind, check_counts
from .forward import frame_of
from .frame import header_limit
from .realm import realm_code

__all__ = ["JsonCodec"]

# Fields that the reference does not know: left out where they are null. Its own
# optional fields are always written.
_OURS: dict[type[Body], frozenset[str]] = {
    Hello: frozenset(
        {"public_key", "certificate", "nonce", "instance", "card", "binding", "features"}
    ),
    RelayBind: frozenset({"card"}),
    RelayBindAck: frozenset({"limits", "target_card"}),
    RelayForward: frozenset({"qos"}),
    RelayNotify: frozenset({"message_id", "retry_after"}),
    Ack: frozenset({"message_id"}),
    Disconnect: frozenset({"reason", "detail", "retry_after"}),
    Extension: frozenset({"request_id", "reply_to"}),
}
# What the envelope may need around the kind's own fields, node ids and realm included.
_ENVELOPE_BYTES = 1024

# How much of a name that a peer made up is repeated.
_NAME_CHARACTERS = 64

_NONE: frozenset[str] = frozenset()

# Kinds without a field of the reference's: a bare string where ours are null.
_BARE: dict[str, Body] = {
    kind.token: msgspec.convert({}, kind)
    for kind in KINDS
    if all(field.name in _OURS.get(kind, _NONE) for field in structs.fields(kind))
}

# What is written of each kind: attribute, wire name, whether null is left out.
_FIELDS: dict[type[Body], tuple[tuple[str, str, bool], ...]] = {
    kind: tuple(
        (field.name, field.encode_name, field.name in _OURS.get(kind, _NONE))
        for field in structs.fields(kind)
        if not (kind is Hello and field.name == "realm")
    )
    for kind in KINDS
}

_Tagged = msgspec.defstruct(
    "_Tagged",
    [(kind.token, (str if kind is Text else kind) | UnsetType, UNSET) for kind in KINDS],
)


Word = Annotated[str, msgspec.Meta(max_length=128)]


class _JsonRealm(msgspec.Struct):
    name: Word
    version: Word
    code: Word | None = None


class _JsonPayload(msgspec.Struct):
    type: str
    value: Raw


class _Envelope(msgspec.Struct, rename={"sender": "from"}):
    sender: str
    to: str
    msg_type: str | _Tagged  # type: ignore[valid-type]  # made by defstruct
    payload: _JsonPayload | None = None
    realm: _JsonRealm | None = None
    delivery: DeliveryMetadata | None = None


class _Written(msgspec.Struct, rename={"sender": "from"}):
    sender: str
    to: str
    msg_type: object
    payload: _JsonPayload | None
    realm: Realm | None
    delivery: DeliveryMetadata | UnsetType = UNSET


# In what this codec wrote, where quotes within texts are escaped.
_TOKEN = re.compile(rb'"msg_type":\{?"([A-Z_]+)"')

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Envelope).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_base64 = msgspec.json.Decoder(bytes).decode
_decode_numbers = msgspec.json.Decoder(list[int]).decode
_FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError)


class JsonCodec:
    """Encodes and decodes JSON envelopes; holds no state between calls.

    Args:
        limits: what is refused, on both sides.
    """

    subprotocol = "thenodes.v1.json"
    name = "json"
    coalesces = False

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def encode(self, message: Message) -> bytes:
        """Return the message's envelope.

        Raises:
            PayloadTooLarge: over the limit of a WebSocket message, a header or a payload.
            PayloadError: the payload is not the JSON or text that it claims to be.
        """
        body = message.body
        payload = message.payload
        limits = self._limits
        check_counts(body)
        if payload is not None and len(payload.data) > limits.frame_bytes:
            raise PayloadTooLarge(
                f"{body.token} with a payload of {len(payload.data)} bytes: "
                f"at most {limits.frame_bytes}"
            )
        envelope = _Written(
            message.sender,
            message.to or "",
            _tag(body),
            None if payload is None else _write_payload(payload),
            body.realm if isinstance(body, Hello) else None,
            UNSET if message.delivery is None else message.delivery,
        )
        try:
            data = _encode(envelope)
        except UnicodeEncodeError as error:
            raise PayloadError(f"{body.token} cannot be encoded: {error}") from error
        self._check_header(body, len(data) - _value_bytes(envelope.payload), PayloadTooLarge)
        if len(data) > limits.message_bytes:
            raise PayloadTooLarge(
                f"{body.token} of {len(data)} bytes as JSON: at most {limits.message_bytes}"
            )
        return data

    def _check_header(self, body: Body, size: int, error: type[TheNodesError]) -> None:
        most = header_limit(body.code, self._limits) + _ENVELOPE_BYTES
        if size > most:
            raise error(f"{body.token} with {size} bytes beside its payload, at most {most}")

    def decode(
        self, data: bytes, *, sender: str = "", verified: Verified = Verified.NONE
    ) -> list[Message | UnknownKind]:
        """Return the one message of one WebSocket message.

        Raises:
            ProtocolError: anything that is not allowed.
        """
        try:
            envelope = _decode(data)
            body = _untag(envelope.msg_type, data)
            if isinstance(body, UnknownKind):
                return [body]
            payload = None if envelope.payload is None else _read_payload(envelope.payload)
        except _FAULTS as error:
            raise ProtocolError(f"JSON envelope: {error}") from error
        self._check_header(body, len(data) - _value_bytes(envelope.payload), ProtocolError)
        if payload is not None and len(payload.data) > self._limits.frame_bytes:
            raise ProtocolError(
                f"payload of {len(payload.data)} bytes, at most {self._limits.frame_bytes}"
            )
        if isinstance(body, Hello):
            realm = envelope.realm
            body = structs.replace(body, realm=None if realm is None else _read_realm(realm))
        return [
            Message(
                body,
                payload,
                sender=sender,
                delivery=envelope.delivery,
                verified=verified,
            )
        ]

    def code_of(self, encoded: bytes) -> int:
        """The code of the kind of a message that `encode` made; 0 where it is unknown."""
        found = _TOKEN.search(encoded)
        kind = None if found is None else BY_TOKEN.get(found[1].decode())
        return 0 if kind is None else kind.code

    def read(
        self, data: bytes, *, sender: str = "", verified: Verified = Verified.NONE
    ) -> list[Part]:
        """As `decode`; a RELAY_FWD becomes a binary frame.

        Raises:
            ProtocolError: anything that is not allowed.
        """
        messages = self.decode(data, sender=sender, verified=verified)
        (message,) = messages
        if isinstance(message, Message) and isinstance(message.body, RelayForward):
            return [[frame_of(message, self._limits)]]
        return [messages]


def _value_bytes(payload: _JsonPayload | None) -> int:
    return 0 if payload is None else len(memoryview(payload.value))


def _read_realm(realm: _JsonRealm) -> Realm:
    # A code is compared as it came; only a name without one is brought into its form.
    code = realm_code(realm.name) if realm.code is None else realm.code
    return Realm(name=realm.name, code=code, version=realm.version)


def _tag(body: Body) -> object:
    if isinstance(body, Text):
        return {"TEXT": body.text}
    fields = {
        wire_name: value
        for name, wire_name, ours in _FIELDS[type(body)]
        if (value := getattr(body, name)) is not None or not ours
    }
    return {body.token: fields} if fields or body.token not in _BARE else body.token


def _untag(tagged: Any, data: bytes) -> Body | UnknownKind:
    if isinstance(tagged, str):
        if tagged in _BARE:
            return _BARE[tagged]
        if tagged in BY_TOKEN:
            raise ProtocolError(f"{tagged} without its fields")
        return UnknownKind(tagged[:_NAME_CHARACTERS])
    found = [value for value in structs.astuple(tagged) if value is not UNSET]
    if len(found) > 1:
        raise ProtocolError("msg_type holds more than one kind")
    if not found:
        names = msgspec.json.decode(data)["msg_type"]
        if not names:
            raise ProtocolError("msg_type is empty")
        return UnknownKind(next(iter(names))[:_NAME_CHARACTERS])
    body: Body = Text(found[0]) if isinstance(found[0], str) else found[0]
    return body


def _write_payload(payload: Payload) -> _JsonPayload:
    match payload.form:
        case PayloadForm.TEXT:
            return _JsonPayload("Text", Raw(_encode(payload.as_text())))
        case PayloadForm.JSON:
            # It may be a peer's: what is not JSON would change the envelope around it.
            payload.as_json()
            return _JsonPayload("Json", Raw(payload.data))
        case PayloadForm.BINARY:
            return _JsonPayload("Binary", Raw(_encode(list(payload.data))))
        case PayloadForm.SEALED:
            return _JsonPayload("Sealed", Raw(_encode(payload.data)))
        case PayloadForm.FRAME:
            return _JsonPayload("Frame", Raw(_encode(payload.data)))


def _read_payload(payload: _JsonPayload) -> Payload:
    value = payload.value
    match payload.type:
        case "Text":
            return Payload(PayloadForm.TEXT, _decode_text(value).encode())
        case "Json":
            return Payload(PayloadForm.JSON, bytes(value))
        case "Binary":
            return Payload(PayloadForm.BINARY, bytes(_decode_numbers(value)))
        case "Sealed":
            return Payload(PayloadForm.SEALED, _decode_base64(value))
        case "Frame":
            return Payload(PayloadForm.FRAME, _decode_base64(value))
    raise ProtocolError(f"payload type {payload.type[:_NAME_CHARACTERS]!r} is not defined")
