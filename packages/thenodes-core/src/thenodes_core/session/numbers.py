"""What one session carried, in numbers."""

from __future__ import annotations

import msgspec

__all__ = ["SessionNumbers"]


class SessionNumbers(msgspec.Struct, frozen=True):
    """What one session carried.

    Attributes:
        node_id: the peer.
        since: when it was admitted, Unix seconds: another session counts from the start.
        sent_frames: given to its connection; of the node's own, too.
        sent_bytes: theirs.
        received_frames: taken from it.
        received_bytes: theirs.
        queued_frames: that wait to be sent.
        queued_bytes: theirs.
        rtt_seconds: the newest round trip; None where the peer has not answered yet.
    """

    node_id: str
    since: float
    sent_frames: int
    sent_bytes: int
    received_frames: int
    received_bytes: int
    queued_frames: int
    queued_bytes: int
    rtt_seconds: float | None
