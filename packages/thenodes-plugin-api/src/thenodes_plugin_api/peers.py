"""What a plugin sees of peers: the connected and the known."""

from __future__ import annotations

import enum

import msgspec

from .messages import Reason, Verified

__all__ = ["Direction", "PeerInfo", "PeerJoined", "PeerLeft", "PeerRecord", "PeerSource"]


class Direction(enum.StrEnum):
    """Which side dialled."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class PeerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A connected peer.

    Attributes:
        node_id: its id.
        address: the other end of the connection, `host:port`.
        listen_addr: where it says it listens, or None.
        direction: who dialled.
        node_type: its type in the realm, such as `"daemon"`.
        capabilities: what it advertises.
        encoding: `"binary"` or `"json"`.
        connected_at: Unix seconds.
        verified: how its id was proven; `NONE` only where the operator admits peers
            without a key.
        fingerprint: SHA-256 of its public key, in hex, or None without one.
    """

    node_id: str
    address: str
    direction: Direction
    connected_at: float
    listen_addr: str | None = None
    node_type: str | None = None
    capabilities: tuple[str, ...] = ()
    encoding: str = "binary"
    verified: Verified = Verified.NONE
    fingerprint: str | None = None


class PeerJoined(msgspec.Struct, frozen=True):
    """A peer's session was established."""

    peer: PeerInfo


class PeerLeft(msgspec.Struct, frozen=True):
    """A peer's last session ended."""

    peer: PeerInfo
    reason: Reason = Reason.PEER_LEFT


class PeerSource(enum.StrEnum):
    """How an address became known; the names are those of `peers.json`."""

    BOOTSTRAP = "Bootstrap"
    HANDSHAKE = "Handshake"
    GOSSIP = "Gossip"
    MANUAL = "Manual"


class PeerRecord(msgspec.Struct, frozen=True):
    """A known address.

    Attributes:
        addr: `host:port`, `ws://…` or `wss://…`.
        source: how it became known.
        failures: attempts that failed since the last success.
        last_success_epoch: Unix seconds of the last success, or None.
        node_id: who answered there.
        capabilities: what it advertised.
    """

    addr: str
    source: PeerSource
    failures: int = 0
    last_success_epoch: int | None = None
    node_id: str | None = None
    capabilities: tuple[str, ...] | None = None
