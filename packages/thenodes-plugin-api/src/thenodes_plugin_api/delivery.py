"""How a message is to travel, and what became of it."""

from __future__ import annotations

import enum
import uuid

import msgspec

from .messages import Reason

__all__ = ["DeliveryOptions", "DeliveryOutcome", "DeliveryStatus", "QoS"]


class QoS(enum.StrEnum):
    """How a relay treats a frame.

    `LOW_LATENCY`: first in line, never stored. `HIGH_THROUGHPUT`: in order, stored for a
    target that is away where the binding asks for it. `BULK`: last in line, first to be
    dropped. `RELIABLE`: stored before it is sent, and kept until the target's plugins had it.
    """

    LOW_LATENCY = "low_latency"
    HIGH_THROUGHPUT = "high_throughput"
    BULK = "bulk"
    RELIABLE = "reliable"


class DeliveryOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a sender asks of delivery. On a direct session only `confirm` has a meaning.

    Attributes:
        qos: how relays treat it.
        store: whether a relay is to keep it for a target that is away.
        ttl_seconds: no delivery later than that; as long as the relay grants where None.
        confirm: wait for the word of the target itself, `DELIVERED`; with `RELIABLE` only.
    """

    qos: QoS = QoS.HIGH_THROUGHPUT
    store: bool = True
    ttl_seconds: float | None = None
    confirm: bool = False


class DeliveryStatus(enum.StrEnum):
    """How far a message is known to have come."""

    SENT = "sent"
    """Queued for the peer, or for the relay."""
    STORED = "stored"
    """The relay keeps it on disk until the target had it, or it expires."""
    DELIVERED = "delivered"
    """The target's plugins had it."""
    REFUSED = "refused"
    """It is not on its way; `reason` says why."""


class DeliveryOutcome(msgspec.Struct, frozen=True):
    """What became of a message.

    Attributes:
        status: how far it came.
        relay: node id of the relay that carries it; None on a direct session.
        message_id: by which a relay's later RELAY_NOTIFY names it; None on a direct session.
        reason: why it was refused.
        detail: the same in words.
    """

    status: DeliveryStatus
    relay: str | None = None
    message_id: uuid.UUID | None = None
    reason: Reason | None = None
    detail: str = ""

    @property
    def ok(self) -> bool:
        """True where it is on its way, or there."""
        return self.status is not DeliveryStatus.REFUSED
