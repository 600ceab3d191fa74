"""The targets of this relay: they come, leave, and end; and so does what waits for them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine

from thenodes_plugin_api import QoS, Reason, RelayNotify, ServiceSession

from .bindings import Bindings
from .causes import Cause
from .counters import Counter, Tally
from .delivery import Delivery
from .endings import Endings
from .flow import Flow
from .grants import Ended, Mailbox
from .guests import Guests
from .lanes import Lanes
from .notices import Notices
from .quotas import Quotas
from .room import Room
from .store.base import FlowCount, FrameStore, Stored
from .store.base import Mailbox as KeptMailbox
from .store.errors import StoreError

__all__ = ["Targets"]

NEVER_MS = 1 << 62
"""Stands for a mailbox that ends when its owner was away for the retention time."""

_PURGE_FRAMES = 256


class Targets:
    """Keeps a `Flow` for each mailbox.

    Args:
        bindings: the tables of mailboxes and bindings.
        guests: who is there.
        delivery: hands over stored frames.
        lanes: what waits for present targets, in memory.
        room: of frames that end.
        quotas: of what waits in memory.
        notices: tells the ends of bindings.
        endings: ends frames.
        store: keeps mailboxes and frames.
        tally: counts.
        spawn: runs work in the background.
    """

    def __init__(
        self,
        bindings: Bindings[ServiceSession],
        guests: Guests,
        delivery: Delivery,
        lanes: Lanes,
        room: Room,
        quotas: Quotas,
        notices: Notices,
        endings: Endings,
        store: FrameStore,
        tally: Tally,
        *,
        spawn: Callable[[Coroutine[object, object, object]], object],
    ) -> None:
        self._bindings = bindings
        self._guests = guests
        self._delivery = delivery
        self._lanes = lanes
        self._room = room
        self._quotas = quotas
        self._notices = notices
        self._endings = endings
        self._store = store
        self._tally = tally
        self._spawn = spawn
        self._purging: set[str] = set()
        self._unpurged: set[str] = set()
        self._untold: set[str] = set()
        self.flows: dict[str, Flow] = {}

    def restore(self, kept: KeptMailbox, now: float) -> None:
        """Take a mailbox of before a restart, unless it stores nothing: such ones end with it."""
        if not kept.store:
            self._store.drop_mailbox(kept.node_id)
            return
        ends_at = None if kept.expires_at >= NEVER_MS else kept.expires_at / 1000
        self._bindings.restore(
            kept.node_id,
            kept.fingerprint,
            kept.card or None,
            store=kept.store,
            stranger=kept.stranger,
            ends_at=ends_at,
            now=now,
        )
        self.flows[kept.node_id] = Flow(kept.node_id, self._quotas)

    def restore_frames(self, count: FlowCount) -> None:
        """Take what is stored for a target since before a restart."""
        flow = self.flows.get(count.to)
        if flow is None:
            # Its mailbox is gone: nobody will fetch them.
            self.purge(count.to)
            return
        flow.is_behind = True
        if count.qos is not QoS.RELIABLE:
            # Which rows they are in is not known; the first drain finds out.
            flow.plain_row = NEVER_MS

    def arrive(self, mailbox: Mailbox[ServiceSession], session: ServiceSession) -> None:
        """A node opened its mailbox, or renewed it."""
        flow = self.flows.get(mailbox.node)
        if flow is None:
            flow = self.flows[mailbox.node] = Flow(mailbox.node, self._quotas)
        self.keep(mailbox)
        self._begin(flow, session)

    def leave(self, session: ServiceSession, node: str, now: float) -> None:
        """A session ended."""
        flow = self.flows.get(node)
        if flow is not None and flow.session is session:
            self._delivery.end(flow)
            self._lanes.leave(flow)
        self.end(self._bindings.session_left(session, node, now))
        mailbox = self._bindings.mailbox(node)
        if mailbox is not None and mailbox.session is None:
            self.keep(mailbox)

    def keep(self, mailbox: Mailbox[ServiceSession]) -> None:
        """Note in the store how a mailbox is now."""
        ends_at = mailbox.ends_at
        self._store.put_mailbox(
            KeptMailbox(
                node_id=mailbox.node,
                fingerprint=mailbox.fingerprint,
                card=mailbox.card or b"",
                store=mailbox.store,
                stranger=mailbox.stranger,
                expires_at=NEVER_MS if ends_at is None else int(ends_at * 1000),
            )
        )

    def end(self, ended: Ended[ServiceSession]) -> None:
        """Tell who has to know, and end what waits for mailboxes that are no more."""
        for notice in ended.notices:
            if self._guests.session(notice.node) is notice.session:
                told = RelayNotify(Reason.PEER_LEFT, notice.binding_id, notice.detail)
                self._notices.tell(notice.node, told)
        if ended.bindings:
            self._tally.add(Counter.UNBOUND, len(ended.bindings))
        for mailbox in ended.mailboxes:
            self._close(mailbox)

    def _close(self, mailbox: Mailbox[ServiceSession]) -> None:
        self._store.drop_mailbox(mailbox.node)
        self._notices.forget(mailbox.node)
        flow = self.flows.pop(mailbox.node, None)
        if flow is None:
            return
        flow.is_closed = True
        self._delivery.end(flow)
        self._lanes.leave(flow)
        self.purge(mailbox.node)

    def purge(self, node: str) -> None:
        """End everything that is stored for a node whose mailbox ended."""
        if node not in self._purging:
            self._purging.add(node)
            self._spawn(self._purge(node))

    def end_late(self, frame: Stored) -> None:
        """End a frame that was on its way into the store when its mailbox ended."""
        self._store.remove([frame.row])
        self._end_stored(frame)

    def resume(self) -> None:
        """Go on with what the store failed in."""
        unpurged, self._unpurged = self._unpurged, set()
        for node in unpurged:
            self._spawn(self._purge(node))
        untold, self._untold = self._untold, set()
        for node in untold:
            self._spawn(self._give_kept(node))

    async def _give_kept(self, node: str) -> None:
        try:
            await self._notices.give_kept(node)
        except StoreError:
            self._untold.add(node)

    async def _purge(self, node: str) -> None:
        try:
            while frames := await self._store.take(node, 0, _PURGE_FRAMES):
                self._store.remove([frame.row for frame in frames])
                for frame in frames:
                    self._end_stored(frame)
        except StoreError:
            self._unpurged.add(node)
            return
        self._purging.discard(node)
        flow, mailbox = self.flows.get(node), self._bindings.mailbox(node)
        if flow is not None and mailbox is not None and mailbox.session is not None:
            self._begin(flow, mailbox.session)

    def _begin(self, flow: Flow, session: ServiceSession) -> None:
        if flow.session is session or flow.node in self._purging:
            return
        self._lanes.leave(flow)
        self._delivery.begin(flow, session)
        self._spawn(self._give_kept(flow.node))

    def _end_stored(self, frame: Stored) -> None:
        self._room.give_back(
            frame.to, frame.sender, frame.qos, len(frame.data), stranger=frame.stranger
        )
        refused = Cause.MAILBOX_ENDED.refuse(target=frame.to)
        self._endings.end(frame.sender, frame.message_id, frame.sequence, refused)
