"""Which messages came lately, so that none is given to plugins twice."""

from __future__ import annotations

__all__ = ["RecentIds", "Window"]

_PER_SENDER = 65_536
_MOST_IDS = 1 << 20
_MOST_SENDERS = 4096


class RecentIds:
    """The message ids of every sender's latest messages, in memory.

    Of each sender the last 65,536 ids at least, and twice as many at most. Where all of
    them are more than 2**20, the sender with the most loses its older ones; of more than
    4096 senders, the one that was asked for longest ago.

    Args:
        per_sender: ids remembered of each at least.
        most_ids: ids remembered of all.
        most_senders: senders remembered.
    """

    def __init__(
        self,
        *,
        per_sender: int = _PER_SENDER,
        most_ids: int = _MOST_IDS,
        most_senders: int = _MOST_SENDERS,
    ) -> None:
        self.per_sender = per_sender
        self.most_ids = most_ids
        self.count = 0
        self._most_senders = most_senders
        self._windows: dict[str, Window] = {}

    def of(self, sender: str) -> Window:
        """The ids of a sender's messages."""
        window = self._windows.pop(sender, None)
        if window is None:
            window = Window(self)
            if len(self._windows) >= self._most_senders:
                self._windows.pop(next(iter(self._windows))).detach()
        self._windows[sender] = window
        return window

    def make_room(self) -> None:
        """Forget the older ids of whoever has the most."""
        if self._windows:
            max(self._windows.values(), key=len).shrink()


class Window:
    """One sender's ids, in two generations."""

    __slots__ = ("_all", "_old", "_young")

    def __init__(self, all_ids: RecentIds) -> None:
        self._all = all_ids
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def take(self, message_id: bytes) -> bool:
        """Remember an id; False where it is remembered already."""
        young = self._young
        if message_id in young or message_id in self._old:
            return False
        young.add(message_id)
        every = self._all
        every.count += 1
        if len(young) >= every.per_sender:
            self.shrink()
        if every.count > every.most_ids:
            every.make_room()
        return True

    def shrink(self) -> None:
        """Forget the older generation; the younger one is the older from now on."""
        self._all.count -= len(self._old)
        self._old, self._young = self._young, set()

    def detach(self) -> None:
        """Count no longer with the others; whoever uses it still may go on."""
        self._all.count -= len(self)
        self._all = RecentIds(per_sender=self._all.per_sender, most_ids=self._all.most_ids)
        self._old, self._young = set(), set()
