"""The bounds of the wire protocol (design: wire.md, Limits)."""

from __future__ import annotations

import msgspec

__all__ = ["Limits"]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much one peer may ask of this node. Sizes are in bytes.

    Attributes:
        handshake_bytes: everything a peer sends before its session is established.
        handshake_seconds: time for that.
        admission_seconds: how long a dialling side waits for the word that it is admitted.
        message_bytes: one WebSocket message.
        frame_bytes: one frame, its prefix included; in JSON one envelope's payload as bytes.
        header_bytes: a frame's header, of kinds that a relay may carry.
        control_header_bytes: a frame's header, of the other kinds.
        coalesce_bytes: how much the writer puts into one WebSocket message.
        outbox_frames: frames waiting for one peer.
        outbox_bytes: bytes waiting for one peer.
        close_seconds: time to send what is queued, and to close.
    """

    handshake_bytes: int = 16 * 1024
    handshake_seconds: float = 10.0
    admission_seconds: float = 2.0
    message_bytes: int = 1024 * 1024
    frame_bytes: int = 256 * 1024
    header_bytes: int = 4 * 1024
    control_header_bytes: int = 60 * 1024
    coalesce_bytes: int = 64 * 1024
    outbox_frames: int = 4096
    outbox_bytes: int = 4 * 1024 * 1024
    close_seconds: float = 1.0
