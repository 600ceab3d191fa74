"""Who was lately reached or heard through which relay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

__all__ = ["Path", "Paths"]

_MOST = 512


class Path(msgspec.Struct, frozen=True):
    """The way to a node through a relay, as it was used last.

    Attributes:
        node_id: the node.
        relay: node id of the relay.
        sent_at: when a message was last given to the relay, Unix seconds; None for never.
        heard_at: when one last came from the node; None for never.
        is_stored: whether what was sent last waits at the relay, as far as it said so, and
            nothing was heard since.
    """

    node_id: str
    relay: str
    sent_at: float | None = None
    heard_at: float | None = None
    is_stored: bool = False

    @property
    def used_at(self) -> float:
        """When it was used last."""
        return max(self.sent_at or 0.0, self.heard_at or 0.0)


class Paths:
    """The ways of the last 512 nodes; the one that was used longest ago makes room.

    Args:
        most: how many nodes.
    """

    def __init__(self, *, most: int = _MOST) -> None:
        self._most = most
        # In the order of their use, the latest last; `Path`s are made for who asks.
        self._used: dict[str, _Use] = {}

    def sent(self, node_id: str, relay: str, at: float, *, is_stored: bool = False) -> None:
        """A message for a node was given to a relay."""
        use = self._of(node_id)
        use.relay, use.sent_at, use.is_stored = relay, at, is_stored

    def heard(self, node_ids: Iterable[str], relay: str, at: float) -> None:
        """A relay brought messages of nodes."""
        for node_id in node_ids:
            use = self._of(node_id)
            use.relay, use.heard_at, use.is_stored = relay, at, False

    def forget(self, node_id: str) -> bool:
        """Forget the way to a node; False where none is known."""
        return self._used.pop(node_id, None) is not None

    def get(self, node_id: str) -> Path | None:
        """The way to a node."""
        use = self._used.get(node_id)
        return None if use is None else use.path(node_id)

    def all(self) -> Sequence[Path]:
        """Every way, the one that was used last first."""
        return [use.path(node_id) for node_id, use in reversed(self._used.items())]

    def _of(self, node_id: str) -> _Use:
        use = self._used.pop(node_id, None)
        if use is None:
            use = _Use()
            if len(self._used) >= self._most:
                del self._used[next(iter(self._used))]
        self._used[node_id] = use
        return use


class _Use:
    """What is known of one way; changed in place, for it is so with every message."""

    __slots__ = ("heard_at", "is_stored", "relay", "sent_at")

    def __init__(self) -> None:
        self.relay = ""
        self.sent_at: float | None = None
        self.heard_at: float | None = None
        self.is_stored = False

    def path(self, node_id: str) -> Path:
        return Path(node_id, self.relay, self.sent_at, self.heard_at, self.is_stored)
