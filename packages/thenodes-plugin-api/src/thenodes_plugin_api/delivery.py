"""How a message is to travel, and what became of it."""

from __future__ import annotations

import enum
import uuid

import msgspec

from .messages import Reason

__all__ = ["MOST_TTL_SECONDS", "DeliveryOptions", "DeliveryOutcome", "DeliveryStatus", "QoS"]

MOST_TTL_SECONDS = 30 * 24 * 3600.0
"""The longest that a sender may ask for: 30 days, which no relay exceeds."""


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
        store: whether a relay is to keep it for a target that is away; one of QoS
            `LOW_LATENCY` is never kept.
        ttl_seconds: no delivery later than that, at most `MOST_TTL_SECONDS`; as long as the
            relay grants where None.
        confirm: wait for the word of the target itself, `DELIVERED`; with `RELIABLE` only.

    Raises:
        ValueError: a `qos`, `ttl_seconds` or `confirm` that is not as said.
    """

    qos: QoS = QoS.HIGH_THROUGHPUT
    store: bool = True
    ttl_seconds: float | None = None
    confirm: bool = False

    def __post_init__(self) -> None:
        # A plain string would be equal to its QoS, and not be it.
        if type(self.qos) is not QoS:
            msgspec.structs.force_setattr(self, "qos", QoS(self.qos))
        if self.ttl_seconds is not None:
            check_ttl(self.ttl_seconds)
        if self.confirm and self.qos is not QoS.RELIABLE:
            raise ValueError(
                f"confirm with QoS {self.qos}: the target's word goes with "
                f"{QoS.RELIABLE} alone; set that QoS, or leave confirm out"
            )


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


def check_ttl(seconds: float) -> float:
    """Return `seconds`.

    Raises:
        ValueError: not more than 0, or more than `MOST_TTL_SECONDS`.
    """
    if not 0 < seconds <= MOST_TTL_SECONDS:
        raise ValueError(
            f"ttl of {seconds!r} seconds: expected more than 0 and at most {MOST_TTL_SECONDS:.0f}"
        )
    return seconds
