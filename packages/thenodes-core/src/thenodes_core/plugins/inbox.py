"""What waits for a plugin."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TypeAlias

from thenodes_plugin_api import Message, PeerJoined, PeerLeft

from .tracked import Fate, Tracked, give_up

__all__ = ["Inbox", "Item"]

_MOST_ITEMS = 8192
_MOST_BYTES = 16 * 1024 * 1024

Item: TypeAlias = Message | Tracked | PeerJoined | PeerLeft


class Inbox:
    """Items in the order they came; it outlives the instance of the plugin that is served.

    Bounded: 8192 items, whose headers the codecs bound, and 16 MiB of payload. Nobody
    waits; what has no room is dropped by whoever puts it in, who counts and reports it.
    Whoever follows a tracked item that is dropped is told here.

    Attributes:
        items: the items; whoever removes one tells `free` of its bytes.
    """

    def __init__(self) -> None:
        self.items: deque[Item] = deque()
        self._bytes = 0

    @property
    def crowded(self) -> bool:
        """True where it is half full."""
        return len(self.items) >= _MOST_ITEMS // 2 or self._bytes >= _MOST_BYTES // 2

    @property
    def roomy(self) -> bool:
        """True where less than half of the items that it may hold are in it."""
        return len(self.items) < _MOST_ITEMS // 2

    @property
    def size_bytes(self) -> int:
        """Bytes of payload that are in it."""
        return self._bytes

    def put(self, items: Sequence[Item]) -> int:
        """Add items; returns how many of them had no room."""
        size = sum([_size(item) for item in items])
        if len(items) > _MOST_ITEMS - len(self.items) or self._bytes + size > _MOST_BYTES:
            return self._put_what_fits(items)
        self.items.extend(items)
        self._bytes += size
        return 0

    def free(self, size: int) -> None:
        """Count bytes of payload no longer: of items that were removed."""
        # The inbox may have been emptied in between.
        self._bytes = max(0, self._bytes - size)

    def clear(self) -> int:
        """Empty it; returns how many items that were."""
        dropped = list(self.items)
        self.items.clear()
        self._bytes = 0
        give_up(dropped)
        return len(dropped)

    def _put_what_fits(self, items: Sequence[Item]) -> int:
        dropped = 0
        for item in items:
            size = _size(item)
            if len(self.items) >= _MOST_ITEMS or self._bytes + size > _MOST_BYTES:
                dropped += 1
                if type(item) is Tracked:
                    item.end(Fate.DROPPED)
            else:
                self.items.append(item)
                self._bytes += size
        return dropped


def _size(item: Item) -> int:
    message = item.message if type(item) is Tracked else item
    if type(message) is not Message or message.payload is None:
        return 0
    return len(message.payload.data)
