"""How frames come out of the database: many at once, as one row of JSON and bytes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from thenodes_plugin_api import QoS

from .base import Gone, Stored

__all__ = ["META", "NAMED", "QOS", "THESE", "decode_meta", "encode", "gone", "stored"]

QOS = (QoS.LOW_LATENCY, QoS.HIGH_THROUGHPUT, QoS.BULK, QoS.RELIABLE)
"""In the database a QoS is its place here."""

THESE = "IN (SELECT value FROM json_each(?))"
"""One of the numbers in a parameter, as `encode` makes it."""

META = (
    "json_group_array(json_array(f.row, t.name, s.name, hex(f.message_id), f.qos, f.sequence, "
    "f.created_at, f.expires_at, f.stranger, f.size, "
    "EXISTS (SELECT 1 FROM sent WHERE sent.row = f.row)))"
)
"""All of the frames in `NAMED` but their data; see `decode_meta`."""

NAMED = (
    f"(SELECT * FROM frames WHERE row {THESE} ORDER BY row) AS f "
    "CROSS JOIN nodes AS t ON t.id = f.target CROSS JOIN nodes AS s ON s.id = f.sender"
)
"""The frames of some rows, which are its parameter."""


class _Meta(msgspec.Struct, array_like=True, gc=False):
    row: int
    to: str
    sender: str
    message_id: str
    qos: int
    sequence: int | None
    created_at: int
    expires_at: int
    stranger: int
    size: int
    is_sent: int


decode_meta = msgspec.json.Decoder(list[_Meta]).decode


def encode(numbers: Sequence[int]) -> str:
    """Write numbers as one parameter."""
    return msgspec.json.encode(list(numbers)).decode()


def stored(meta: _Meta, data: bytes) -> Stored:
    """A frame that was read."""
    return Stored(
        to=meta.to,
        sender=meta.sender,
        message_id=bytes.fromhex(meta.message_id),
        qos=QOS[meta.qos],
        created_at=meta.created_at,
        expires_at=meta.expires_at,
        data=data,
        sequence=meta.sequence,
        stranger=bool(meta.stranger),
        row=meta.row,
        is_sent=bool(meta.is_sent),
    )


def gone(meta: _Meta) -> Gone:
    """A frame that ends."""
    return Gone(
        row=meta.row,
        to=meta.to,
        sender=meta.sender,
        message_id=bytes.fromhex(meta.message_id),
        qos=QOS[meta.qos],
        sequence=meta.sequence,
        size=meta.size,
        stranger=bool(meta.stranger),
    )
