"""Frames as they go between nodes in memory: seen on the way, made by hand, and sent."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import msgspec

from thenodes_core import Node
from thenodes_plugin_api import (
    Ack,
    Body,
    DeliveryHeader,
    ForwardHeader,
    Frame,
    Message,
    PayloadForm,
    RelayBind,
    RelayBindAck,
    RelayNotify,
    ServiceSession,
)

__all__ = ["Heard", "Tap", "bind", "delivery", "forward", "raw", "send_raw"]

_PREFIX = struct.Struct(">IBBH")
_FORWARD = 7
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ForwardHeader).decode


class Tap:
    """Sees every message of a network in memory: `MemoryNetwork(doubles=tap)`; doubles none.

    Attributes:
        frames: the RELAY_FWD frames that were sent, each as often as it was.
    """

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def __call__(self, message: bytes) -> bool:
        at = 0
        while at + _PREFIX.size <= len(message):
            length, kind, _, header = _PREFIX.unpack_from(message, at)
            end = at + 4 + length
            if kind == _FORWARD:
                data = message[at:end]
                self.frames.append(Frame(_decode(data[_PREFIX.size : _PREFIX.size + header]), data))
            at = end
        return False


class Heard:
    """What a node without the plugin hears of relaying.

    Attributes:
        bodies: in order.
        frames: RELAY_FWD frames.
    """

    def __init__(self, node: Node) -> None:
        self.bodies: list[Body] = []
        self.frames: list[Frame] = []
        for kind in (RelayBind, RelayBindAck, RelayNotify, Ack):
            node.peers.serve_kind(kind, self._take)
        node.peers.serve_frames(lambda session, frames: self.frames.extend(frames))

    def notices(self) -> list[RelayNotify]:
        """The RELAY_NOTIFYs."""
        return [body for body in self.bodies if isinstance(body, RelayNotify)]

    def answers(self) -> list[RelayBindAck]:
        """The RELAY_BIND_ACKs."""
        return [body for body in self.bodies if isinstance(body, RelayBindAck)]

    def acks(self) -> list[Ack]:
        """The ACKs."""
        return [body for body in self.bodies if isinstance(body, Ack)]

    def _take(self, session: ServiceSession, message: Message) -> None:
        self.bodies.append(message.body)


def raw(kind: int, header: object, body: bytes = b"", *, flags: int = 0) -> bytes:
    """A frame of that kind; its header is whatever msgpack can write."""
    data = _encode(header)
    return _PREFIX.pack(4 + len(data) + len(body), kind, flags, len(data)) + data + body


def delivery(
    number: int, *, created_at: int | None = None, expires_at: int | None = None
) -> DeliveryHeader:
    """Delivery data with an id that is this number."""
    message_id = number.to_bytes(16, "big")
    return DeliveryHeader(message_id, created_at=created_at, expires_at=expires_at)


def forward(
    to: str,
    sender: str,
    number: int,
    qos: str | None = "high_throughput",
    body: bytes = b"nobody opens this",
    **times: int,
) -> bytes:
    """A RELAY_FWD frame."""
    header = ForwardHeader(None, None, delivery(number, **times), to, sender, number, qos)
    return raw(_FORWARD, header, body, flags=PayloadForm.SEALED)


def bind(target: str, *, store: bool = True, nonce: int | None = None) -> bytes:
    """A RELAY_BIND frame."""
    return raw(RelayBind.code, [None, None, None, target, store, None, nonce])


def send_raw(node: Node, to: str, frames: Iterable[bytes]) -> int:
    """Send bytes over the session with a peer; returns how many frames there was room for."""
    session = node.peers.service_session(to)
    assert session is not None
    return session.offer(list(frames))
