"""What a context remembers of its plugin."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import msgspec

from ..context import Task
from ..delivery import DeliveryOptions, QoS
from ..messages import Body, Message
from ..payload import Payload

__all__ = [
    "Asked",
    "Bound",
    "Broadcast",
    "Fault",
    "Forwarded",
    "LogLine",
    "Repeated",
    "Replied",
    "Sent",
    "Spawned",
]


class Sent(msgspec.Struct, frozen=True):
    """A message that `send` took, and what was asked of its delivery."""

    to: str
    body: Body
    payload: Payload | None = None
    options: DeliveryOptions | None = None


class Bound(msgspec.Struct, frozen=True):
    """A route that `relay.bind` asked for."""

    relay: str
    target: str
    store_forward: bool = False
    qos: QoS = QoS.HIGH_THROUGHPUT
    ttl_seconds: float | None = None


class Forwarded(msgspec.Struct, frozen=True):
    """A message that `relay.forward` was given."""

    relay: str
    to: str
    body: Body
    payload: Payload | None = None
    sequence: int | None = None
    options: DeliveryOptions | None = None


class Broadcast(msgspec.Struct, frozen=True):
    """A message that `broadcast` took, and how many peers it was for."""

    body: Body
    payload: Payload | None = None
    peers: int = 0


class Asked(msgspec.Struct, frozen=True):
    """A question that `request` sent."""

    peer: str
    kind: str
    payload: Payload | None = None
    timeout_seconds: float = 10.0


class Replied(msgspec.Struct, frozen=True):
    """An answer that `reply` sent, and what it answers."""

    message: Message
    payload: Payload | None = None


class LogLine(msgspec.Struct, frozen=True):
    """A line that the plugin logged, whatever the logger's level is.

    Attributes:
        level: such as `logging.WARNING`.
        text: with its arguments filled in.
    """

    level: int
    text: str

    def __str__(self) -> str:
        return f"{logging.getLevelName(self.level)}: {self.text}"


class Spawned(msgspec.Struct, frozen=True):
    """Work that `spawn` started."""

    name: str | None
    task: Task


class Repeated(msgspec.Struct, frozen=True):
    """Work that `every` repeats."""

    seconds: float
    action: Callable[[], Awaitable[object]]
    task: Task


class Fault(msgspec.Struct, frozen=True):
    """Something that the plugin raised and a host would contain.

    Attributes:
        plugin_id: whose it is.
        where: the hook, `background work` or `repeated work`.
        error: what was raised.
    """

    plugin_id: str
    where: str
    error: BaseException
