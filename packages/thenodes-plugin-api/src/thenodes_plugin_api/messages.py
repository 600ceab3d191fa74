"""The message model: an envelope, one body type a kind, and the payload.

A body is matched by its class:

```python
match message.body:
    case Extension(kind="my.greet"):
        ...
    case RelayNotify(notif_type=Reason.OVERLOAD):
        ...
```

Kinds, field names and codes follow the wire protocol (docs/reference/wire.md). What the
codecs need of a kind, its `code` and `token`, stands on the class.
"""

from __future__ import annotations

import enum
import uuid
from typing import Annotated, ClassVar, TypeAlias

import msgspec

from .payload import Payload
from .realm import Realm

__all__ = [
    "KINDS",
    "Ack",
    "Auth",
    "Binding",
    "Body",
    "Capabilities",
    "DataRequest",
    "DataResponse",
    "DeliveryAck",
    "DeliveryClass",
    "DeliveryMetadata",
    "Disconnect",
    "Extension",
    "Heartbeat",
    "Hello",
    "Message",
    "NodeId",
    "PeerList",
    "PeerRequest",
    "Reason",
    "RelayBind",
    "RelayBindAck",
    "RelayForward",
    "RelayLimits",
    "RelayNotify",
    "RelayUnbind",
    "Text",
    "Verified",
]

NodeId: TypeAlias = Annotated[
    str, msgspec.Meta(min_length=1, max_length=128, pattern=r"\A[A-Za-z0-9._-]+\Z")
]
"""A node id: 1 to 128 of `[A-Za-z0-9._-]`."""

Capabilities: TypeAlias = Annotated[
    tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=64)], ...],
    msgspec.Meta(max_length=64),
]
"""What a node advertises: at most 64 of 1 to 64 characters."""


class Reason(enum.StrEnum):
    """Why something was refused, dropped or ended."""

    POLICY_DENIED = "policy_denied"
    TIMEOUT = "timeout"
    ALREADY_BOUND = "already_bound"
    UNKNOWN_TARGET = "unknown_target"
    OVERLOAD = "overload"
    PEER_LEFT = "peer_left"
    NO_OBSERVED_ADDR = "no_observed_addr"
    CAPABILITY_MISSING = "capability_missing"
    DECLINED = "declined"
    QUOTA = "quota"
    RATE_LIMITED = "rate_limited"
    NOT_BOUND = "not_bound"
    NO_CARD = "no_card"
    BAD_FRAME = "bad_frame"
    UNAUTHENTICATED = "unauthenticated"
    REPLACED = "replaced"
    RESTARTING = "restarting"
    UNKNOWN = "unknown"
    """A reason that this version does not know; never sent."""

    @classmethod
    def _missing_(cls, value: object) -> Reason | None:
        return cls.UNKNOWN if isinstance(value, str) else None


class Verified(enum.Enum):
    """How the sender of a message was proven.

    `SESSION`: by the direct session's handshake. `SEAL`: by the seal of a
    relayed message. `NONE`: not at all.
    """

    NONE = "none"
    SESSION = "session"
    SEAL = "seal"


class DeliveryClass(enum.StrEnum):
    """What a sender asks of delivery; the names of the reference."""

    FIRE_AND_FORGET = "fire_and_forget"
    RELIABLE = "reliable"
    ORDERED_RELIABLE = "ordered_reliable"


class DeliveryMetadata(msgspec.Struct, frozen=True, rename={"delivery_class": "class"}):
    """Delivery data of one message.

    Attributes:
        message_id: a UUIDv7, unique for the sender.
        delivery_class: what the sender asks.
        ordering_key: messages with the same key keep their order.
        ordering_sequence: position under that key.
        created_at: Unix milliseconds.
        expires_at: Unix milliseconds; no delivery after it.
    """

    message_id: uuid.UUID
    delivery_class: DeliveryClass = DeliveryClass.FIRE_AND_FORGET
    ordering_key: str | None = None
    ordering_sequence: int | None = None
    created_at: int | None = None
    expires_at: int | None = None


class Binding(msgspec.Struct, frozen=True):
    """What the handshake's proofs are bound to: `plain`, `tls` or `proxy`, and its value."""

    mode: str
    value: bytes = b""


class Hello(msgspec.Struct, frozen=True):
    """Says who a node is; the first message of each side.

    `realm` travels in the envelope in JSON and as a field in binary.
    """

    code: ClassVar[int] = 1
    token: ClassVar[str] = "HELLO"

    node_id: NodeId
    listen_addr: str | None = None
    protocol: str | None = None
    version: str | None = None
    node_type: str | None = None
    capabilities: Capabilities | None = None
    realm: Realm | None = None
    public_key: bytes | None = None
    certificate: bytes | None = None
    nonce: bytes | None = None
    instance: bytes | None = None
    card: bytes | None = None
    binding: Binding | None = None
    features: tuple[str, ...] | None = None


class Text(msgspec.Struct, frozen=True, gc=False):
    """Text for every plugin of the receiver."""

    code: ClassVar[int] = 2
    token: ClassVar[str] = "TEXT"

    text: str


class PeerRequest(msgspec.Struct, frozen=True, gc=False):
    """Asks for at most `want` peer addresses."""

    code: ClassVar[int] = 3
    token: ClassVar[str] = "PEER_REQUEST"

    want: Annotated[int, msgspec.Meta(ge=0, le=65535)]


class PeerList(msgspec.Struct, frozen=True):
    """Addresses of peers, at most 256."""

    code: ClassVar[int] = 4
    token: ClassVar[str] = "PEER_LIST"
    most: ClassVar[int] = 256

    peers: Annotated[tuple[str, ...], msgspec.Meta(max_length=256)]


class RelayBind(msgspec.Struct, frozen=True, gc=False):
    """Asks a relay for a route to `target`, or with `"*"` for a mailbox.

    `expires_at` is in Unix seconds.
    """

    code: ClassVar[int] = 5
    token: ClassVar[str] = "RELAY_BIND"

    target: str
    want_store_forward: bool | None = None
    qos: str | None = None
    nonce: int | None = None
    expires_at: int | None = None
    card: bytes | None = None


class RelayLimits(msgspec.Struct, frozen=True, gc=False):
    """What a relay grants a binding.

    Attributes:
        ttl_seconds: how long a stored frame is kept.
        frame_bytes: largest frame.
        frames_per_second: rate; beyond it frames are refused.
        queue_frames: room in the target's queue.
    """

    ttl_seconds: int | None = None
    frame_bytes: int | None = None
    frames_per_second: int | None = None
    queue_frames: int | None = None


class RelayBindAck(msgspec.Struct, frozen=True):
    """A relay's answer to `RelayBind`."""

    code: ClassVar[int] = 6
    token: ClassVar[str] = "RELAY_BIND_ACK"

    ok: bool
    reason: Reason | None = None
    binding_id: str | None = None
    peer_present: bool | None = None
    nonce: int | None = None
    limits: RelayLimits | None = None
    target_card: bytes | None = None


class RelayForward(msgspec.Struct, frozen=True, gc=False, rename={"sender": "from"}):
    """A frame for `to`, through a relay; `sender` is the wire's `from`."""

    code: ClassVar[int] = 7
    token: ClassVar[str] = "RELAY_FWD"

    to: str
    sender: str
    sequence: int | None = None
    qos: str | None = None


class RelayUnbind(msgspec.Struct, frozen=True, gc=False):
    """Ends a binding."""

    code: ClassVar[int] = 8
    token: ClassVar[str] = "RELAY_UNBIND"

    binding_id: str


class RelayNotify(msgspec.Struct, frozen=True, gc=False):
    """A relay tells what became of a binding or a message.

    `retry_after` is in seconds.
    """

    code: ClassVar[int] = 9
    token: ClassVar[str] = "RELAY_NOTIFY"

    notif_type: Reason
    binding_id: str | None = None
    detail: str | None = None
    message_id: uuid.UUID | None = None
    retry_after: float | None = None


class Ack(msgspec.Struct, frozen=True, gc=False, rename={"sender": "from"}):
    """The hop's word on a reliable frame: `ok`, `dup`, `stored` or `error`."""

    code: ClassVar[int] = 10
    token: ClassVar[str] = "ACK"

    to: str
    sender: str
    sequence: int
    status: str | None = None
    message_id: uuid.UUID | None = None


class DeliveryAck(msgspec.Struct, frozen=True, gc=False):
    """The receiving endpoint's word to the sending one."""

    code: ClassVar[int] = 11
    token: ClassVar[str] = "DELIVERY_ACK"

    message_id: uuid.UUID
    status: str | None = None


class DataRequest(msgspec.Struct, frozen=True, gc=False):
    """Asks for data; the payload says which."""

    code: ClassVar[int] = 12
    token: ClassVar[str] = "DATA_REQUEST"


class DataResponse(msgspec.Struct, frozen=True, gc=False):
    """Data that was asked for, in the payload."""

    code: ClassVar[int] = 13
    token: ClassVar[str] = "DATA_RESPONSE"


class Heartbeat(msgspec.Struct, frozen=True, gc=False):
    """A sign of life."""

    code: ClassVar[int] = 14
    token: ClassVar[str] = "HEARTBEAT"


class Disconnect(msgspec.Struct, frozen=True, gc=False):
    """Says why the session is about to be closed.

    `retry_after` is in seconds.
    """

    code: ClassVar[int] = 15
    token: ClassVar[str] = "DISCONNECT"

    reason: Reason | None = None
    detail: str | None = None
    retry_after: float | None = None


class Extension(msgspec.Struct, frozen=True, gc=False):
    """A plugin's own message; the payload is the plugin's.

    `request_id` marks a question, `reply_to` the answer to one.
    """

    code: ClassVar[int] = 16
    token: ClassVar[str] = "EXTENSION"

    kind: str
    request_id: str | None = None
    reply_to: str | None = None


class Auth(msgspec.Struct, frozen=True, gc=False):
    """The proof that a HELLO's key is its sender's."""

    code: ClassVar[int] = 17
    token: ClassVar[str] = "AUTH"

    proof: bytes


Body: TypeAlias = (
    Hello
    | Text
    | PeerRequest
    | PeerList
    | RelayBind
    | RelayBindAck
    | RelayForward
    | RelayUnbind
    | RelayNotify
    | Ack
    | DeliveryAck
    | DataRequest
    | DataResponse
    | Heartbeat
    | Disconnect
    | Extension
    | Auth
)

KINDS: tuple[type[Body], ...] = (
    Hello,
    Text,
    PeerRequest,
    PeerList,
    RelayBind,
    RelayBindAck,
    RelayForward,
    RelayUnbind,
    RelayNotify,
    Ack,
    DeliveryAck,
    DataRequest,
    DataResponse,
    Heartbeat,
    Disconnect,
    Extension,
    Auth,
)
"""Every kind, in the order of its code."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message, as plugins get it.

    Attributes:
        body: what kind of message, with the kind's fields.
        payload: the application's data, or None.
        sender: the node id of who sent it. On a direct session this is the
            session's id, whatever the frame says.
        to: the node id it is for; None for the receiver itself.
        delivery: delivery data, where the sender gave any.
        verified: how `sender` was proven.
        redelivered: True where a relay may have sent it before.
    """

    body: Body
    payload: Payload | None = None
    sender: str = ""
    to: str | None = None
    delivery: DeliveryMetadata | None = None
    verified: Verified = Verified.NONE
    redelivered: bool = False
