"""Which relays a node goes to: rendezvous hashing, the same on every machine; pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

__all__ = ["rank", "score", "use_position"]


def score(node_id: str, relay_id: str) -> int:
    """How well a relay suits a node; the highest wins.

    The first 8 bytes, big-endian, of SHA-256(node id ‖ 0x00 ‖ relay id), both in UTF-8
    (design: relay.md, Selection).

    Args:
        node_id: of the node that is to be reached.
        relay_id: of the relay.
    """
    digest = hashlib.sha256(b"%b\x00%b" % (node_id.encode(), relay_id.encode())).digest()
    return int.from_bytes(digest[:8], "big")


def rank(node_id: str, relay_ids: Iterable[str]) -> list[str]:
    """Order relays by how well they suit a node, the best first.

    A relay that goes away moves only the nodes that were its own; the others keep their order.
    Of two with the same score the smaller id comes first.
    """
    return sorted(set(relay_ids), key=lambda relay: (-score(node_id, relay), relay))


def use_position(use: Sequence[str], node_id: str, address: str) -> int:
    """Where the operator's list names a relay.

    Args:
        use: `[network.relay] use`: addresses or node ids.
        node_id: the relay's.
        address: where it was dialled.

    Returns:
        The index of the first entry that names it; the length of the list where none does.
    """
    for position, entry in enumerate(use):
        place, _, named = entry.partition("#")
        bare = place.removeprefix("wss://").removeprefix("ws://").rstrip("/")
        if node_id in (entry, named) or (not named and address == bare):
            return position
    return len(use)
