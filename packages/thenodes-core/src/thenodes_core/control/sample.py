"""What a node did in a second, and what waits in it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

__all__ = ["Inbox", "KindRate", "Rate", "Sample", "SessionRate"]


class Rate(msgspec.Struct, frozen=True):
    """Frames and bytes a second."""

    frames: float = 0.0
    bytes: float = 0.0


class KindRate(msgspec.Struct, frozen=True):
    """What comes and goes of one kind.

    Attributes:
        kind: its token.
        received: from peers.
        sent: to peers; what waits to be sent included.
    """

    kind: str
    received: Rate
    sent: Rate


class SessionRate(msgspec.Struct, frozen=True):
    """What one session carries.

    Attributes:
        node_id: the peer.
        path: `direct`, or `relay` where it is a relay through which others are reached.
        received: from the peer.
        sent: to the peer.
        queued_frames: that wait to be sent.
        queued_bytes: theirs.
        rtt_seconds: the newest round trip; None where it is not known.
    """

    node_id: str
    path: str
    received: Rate
    sent: Rate
    queued_frames: int
    queued_bytes: int
    rtt_seconds: float | None


class Inbox(msgspec.Struct, frozen=True):
    """What waits for a plugin.

    Attributes:
        plugin: its id.
        items: how many.
        bytes: of payload.
    """

    plugin: str
    items: int
    bytes: int


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What the node did in a second, and what waits now.

    Attributes:
        at: the end of that second, Unix seconds.
        node_id: the node.
        interval_seconds: what the second was in truth.
        received: from all peers.
        sent: to all peers.
        kinds: by kind, those with most bytes first.
        session_count: of all.
        sessions: those with most bytes first, at most 40.
        outbox_frames: that wait for peers.
        outbox_bytes: theirs.
        waiting_peers: how many peers something waits for.
        inboxes: of plugins, the fullest first, at most 40.
        lag_seconds: the latest that the event loop lately was.
    """

    at: float
    node_id: str
    interval_seconds: float
    received: Rate
    sent: Rate
    kinds: Sequence[KindRate]
    session_count: int
    sessions: Sequence[SessionRate]
    outbox_frames: int
    outbox_bytes: int
    waiting_peers: int
    inboxes: Sequence[Inbox]
    lag_seconds: float
