"""What origins are told: RELAY_NOTIFY, at once or when they come back."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable

import msgspec

from thenodes_plugin_api import Reason, RelayNotify, ServiceSession

from .counters import Counter, Tally
from .store.base import NOTICES_PER_NODE, FrameStore

__all__ = ["Notices"]


class Notices:
    """Tells origins what became of their frames and bindings.

    Who waits: nobody. At most `NOTICES_PER_NODE` notifications wait for a present origin that
    does not take them; of what comes beyond it is told the number. As many wait in the store
    for one that is away and has a mailbox. One that is away without a mailbox is not told.

    Args:
        find: the session with a node.
        has_mailbox: whether a node has one here.
        store: keeps those for absent origins.
        tally: counts.
    """

    def __init__(
        self,
        find: Callable[[str], ServiceSession | None],
        has_mailbox: Callable[[str], bool],
        store: FrameStore,
        tally: Tally,
    ) -> None:
        self._find = find
        self._has_mailbox = has_mailbox
        self._store = store
        self._tally = tally
        self._waiting: dict[str, deque[RelayNotify]] = {}
        self._missed: dict[str, int] = {}
        self._kept: dict[str, int] = {}
        self._giving: dict[str, bool] = {}

    def tell(self, origin: str, notice: RelayNotify) -> None:
        """Tell an origin, now or later."""
        session = self._find(origin)
        if session is None:
            self._keep(origin, notice)
            return
        waiting = self._waiting.get(origin)
        if waiting is None and session.send(notice):
            self._tally.add(Counter.NOTIFIED, reason=notice.notif_type)
        elif waiting is None:
            self._waiting[origin] = deque((notice,))
            session.on_room(lambda: self._flush(origin))
        elif len(waiting) < NOTICES_PER_NODE:
            waiting.append(notice)
        else:
            self._missed[origin] = self._missed.get(origin, 0) + 1
            self._tally.add(Counter.NOTICES_LOST, reason=Reason.OVERLOAD)

    def tell_if_present(self, node: str, notice: RelayNotify) -> None:
        """Tell a node, if it is there."""
        if self._find(node) is not None:
            self.tell(node, notice)

    def left(self, origin: str) -> None:
        """Keep what waits for an origin that left."""
        self._missed.pop(origin, None)
        for notice in self._waiting.pop(origin, ()):
            self._keep(origin, notice)

    def forget(self, origin: str) -> None:
        """The origin's mailbox ended, and its notifications with it."""
        lost = self._kept.pop(origin, 0)
        if lost:
            self._tally.add(Counter.NOTICES_LOST, lost, Reason.PEER_LEFT)

    async def give_kept(self, origin: str) -> None:
        """Give a present origin what was kept while it was away.

        Raises:
            StoreError: the disk fails; nothing was given, and all is kept.
        """
        if origin in self._giving:
            self._giving[origin] = True
            return
        self._giving[origin] = True
        try:
            while self._giving[origin]:
                # Whoever comes meanwhile has it looked at once more, not read twice at a time.
                self._giving[origin] = False
                await self._give(origin)
        finally:
            del self._giving[origin]

    def joined(self, origin: str) -> None:
        """An origin has a session, perhaps in the place of one that did not take what waits."""
        self._flush(origin)

    async def _give(self, origin: str) -> None:
        rows = []
        waiting = await self._store.notices(origin)
        if self._find(origin) is None:
            return
        self._kept.pop(origin, None)
        for kept in waiting:
            rows.append(kept.row)
            with contextlib.suppress(msgspec.DecodeError):
                self.tell(origin, msgspec.msgpack.decode(kept.data, type=RelayNotify))
        if rows:
            self._store.remove_notices(rows)

    def _keep(self, origin: str, notice: RelayNotify) -> None:
        if not self._has_mailbox(origin):
            self._tally.add(Counter.NOTICES_LOST, reason=Reason.PEER_LEFT)
            return
        self._store.add_notice(origin, msgspec.msgpack.encode(notice))
        kept = self._kept.get(origin, 0)
        if kept < NOTICES_PER_NODE:
            self._kept[origin] = kept + 1
        else:
            self._tally.add(Counter.NOTICES_LOST, reason=Reason.OVERLOAD)

    def _flush(self, origin: str) -> None:
        session = self._find(origin)
        waiting = self._waiting.get(origin)
        if session is None or waiting is None:
            return
        while waiting:
            if not session.send(waiting[0]):
                session.on_room(lambda: self._flush(origin))
                return
            self._tally.add(Counter.NOTIFIED, reason=waiting.popleft().notif_type)
        del self._waiting[origin]
        if missed := self._missed.pop(origin, 0):
            detail = f"{missed} more notifications were dropped: you did not take them"
            session.send(RelayNotify(Reason.OVERLOAD, detail=detail))
