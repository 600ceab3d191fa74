"""What the relay keeps of a frame that it does not pass on at once."""

from __future__ import annotations

from thenodes_plugin_api import Frame, QoS

from .guests import Guest
from .store.base import Stored

__all__ = ["make_record"]


def make_record(
    guest: Guest, to: str, qos: QoS, frame: Frame, *, now_ms: int, ttl_ms: int
) -> Stored:
    """Make the record of a frame that came just now.

    Its message id is the frame's; where that has none, it is made of the origin's instance and
    the sequence; where that is missing, too, it is empty, and the frame cannot be stored.
    """
    header = frame.header
    delivery = header.delivery
    message_id, created_at, expires_at = b"", None, None
    if delivery is not None:
        message_id = delivery.message_id
        created_at, expires_at = delivery.created_at, delivery.expires_at
    elif header.sequence is not None:
        message_id = (guest.session.instance or b"") + header.sequence.to_bytes(8, "big")
    latest = now_ms + ttl_ms
    return Stored(
        to=to,
        sender=guest.node,
        message_id=message_id,
        qos=qos,
        created_at=now_ms if created_at is None else created_at,
        expires_at=latest if expires_at is None else min(expires_at, latest),
        data=frame.data,
        sequence=header.sequence,
        stranger=guest.stranger,
    )
