"""The bounds of the wire protocol (design: wire.md, Limits), as the table `[limits]`."""

from __future__ import annotations

from typing import Annotated

import msgspec

__all__ = ["Limits"]

Count = Annotated[int, msgspec.Meta(ge=1, le=10**9)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=10**6)]


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much one peer, or all of them, may ask of this node. Sizes are in bytes.

    Lengths that are part of a name's meaning are not settings: a node id of 128
    characters, 64 capabilities of 64 characters, 256 addresses in a PEER_LIST.

    Attributes:
        max_sessions: peers at once; more are told to come back later.
        max_handshakes: accepted connections at once that are not sessions yet; beyond
            that the oldest is cut.
        handshake_bytes: everything a peer sends before its session is established.
        handshake_seconds: time for that.
        admission_seconds: how long a dialling side waits for the word that it is admitted.
        message_bytes: one WebSocket message.
        frame_bytes: one frame, its prefix included; in JSON one envelope's payload as bytes.
        header_bytes: a frame's header, of kinds that a relay may carry.
        control_header_bytes: a frame's header, of the other kinds.
        control_per_second: messages for the node itself (heartbeats, requests for
            addresses, unknown kinds), over a while; ten times as many at once.
        coalesce_bytes: how much the writer puts into one WebSocket message.
        outbox_frames: frames waiting for one peer.
        outbox_bytes: bytes waiting for one peer.
        window_bytes: bytes waiting for one peer beyond which nothing is queued that a
            service such as a relay brings; `outbox_bytes` where that is less.
        heartbeat_seconds: silence after which a peer is asked for a sign of life;
            after three times as long its session is cut.
        progress_seconds: a peer that takes nothing of what is queued for it for
            so long is cut.
        close_seconds: time to send what is queued, and to close.
    """

    max_sessions: Count = 4096
    max_handshakes: Count = 512
    handshake_bytes: Count = 16 * 1024
    handshake_seconds: Seconds = 10.0
    admission_seconds: Seconds = 2.0
    message_bytes: Count = 1024 * 1024
    frame_bytes: Count = 256 * 1024
    header_bytes: Count = 4 * 1024
    control_header_bytes: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 60 * 1024
    control_per_second: Count = 20
    coalesce_bytes: Count = 64 * 1024
    outbox_frames: Count = 4096
    outbox_bytes: Count = 4 * 1024 * 1024
    window_bytes: Count = 256 * 1024
    heartbeat_seconds: Seconds = 10.0
    progress_seconds: Seconds = 5.0
    close_seconds: Seconds = 1.0
