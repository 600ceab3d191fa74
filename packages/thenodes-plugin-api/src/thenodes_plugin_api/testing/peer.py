"""Peers that exist only in a test."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from ..messages import Verified
from ..peers import Direction, PeerInfo

__all__ = ["make_peer"]


def make_peer(
    node_id: str,
    *,
    capabilities: Sequence[str] = (),
    direction: Direction = Direction.INBOUND,
    connected_at: float = 0.0,
    verified: Verified = Verified.SESSION,
) -> PeerInfo:
    """Make what a plugin sees of a connected peer; address and fingerprint follow from the id."""
    digest = hashlib.sha256(node_id.encode()).hexdigest()
    return PeerInfo(
        node_id=node_id,
        address=f"{node_id}.test:7447",
        listen_addr=f"{node_id}.test:7447",
        direction=direction,
        node_type="daemon",
        capabilities=tuple(capabilities),
        connected_at=connected_at,
        verified=verified,
        fingerprint=None if verified is Verified.NONE else digest,
    )
