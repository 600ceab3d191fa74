"""The relay itself: its parts, and what moves them."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Coroutine, Sequence

from thenodes_plugin_api import (
    FrameHandler,
    NetworkEvent,
    PluginContext,
    Reason,
    RelayNotify,
    ServiceSession,
    Verified,
)

from .acks import Acks
from .admission import Admission, Rates
from .alarms import Alarms
from .bindings import Bindings
from .binds import Binds
from .causes import Cause
from .counters import Counter, Tally
from .delivery import Delivery
from .endings import Endings
from .guests import Guest, Guests
from .intake import Intake
from .lanes import Lanes
from .notices import Notices
from .quotas import Quotas
from .retry import Retries
from .room import Room
from .router import Router
from .settings import Settings
from .stalls import Stalls
from .store.base import FlowCount, FrameStore, Gone
from .store.errors import StoreError
from .targets import Targets

__all__ = ["RelayServer"]

_EXPIRE_FRAMES = 1024

# A user binds at another relay in a round trip or two, as a rule with one that it knows.
_MOVE_SECONDS = 1.0


class RelayServer:
    """Carries frames between nodes, and keeps them for those who are away.

    Everything but reading from the store happens in the handlers themselves; `tick` moves what
    goes by time. Who waits is said at each part; nothing is unbounded: frames by the quotas,
    notifications by origin, ACKs by session, bindings and mailboxes by number.

    Args:
        ctx: the plugin's context.
        settings: what the operator set.
        store: keeps frames.
        own: takes frames for this node itself.
    """

    def __init__(
        self, ctx: PluginContext, settings: Settings, store: FrameStore, own: FrameHandler
    ) -> None:
        self.settings = settings
        self.store = store
        self.tally = Tally(ctx.service.count)
        self.guests = Guests()
        self.quotas = Quotas(settings)
        self.bindings: Bindings[ServiceSession] = Bindings(settings, self.quotas.is_empty)
        self._ctx = ctx
        self._alarms = Alarms(ctx)
        self._admission = Admission(settings, ctx.service.is_trusted)
        self._rates = Rates(settings)
        self._is_expiring = False
        self._drained_at: float | None = None
        self._notices = Notices(self.guests.session, self._has_mailbox, store, self.tally)
        self._endings = Endings(self._notices, self.tally, self._alarms)
        self.room = Room(settings, self.quotas, store, evicted=self._evicted, spawn=self._spawn)
        self._delivery = self._make_delivery()
        self._intake = self._make_intake()
        self._lanes = self._make_lanes()
        self.targets = self._make_targets()
        self.stalls = Stalls(self.targets.flows, self.tally, ctx)
        self._binds = self._make_binds()
        self._router = self._make_router(own)
        acks = Acks(self.targets.flows, self._delivery, self._endings, self.tally)
        self.take_frames = self._router.take_frames
        self.take_bind = self._binds.take_bind
        self.take_unbind = self._binds.take_unbind
        self.take_ack = acks.take_ack

    @property
    def is_draining(self) -> bool:
        """Whether an operator ended new binds and frames."""
        return self._router.is_closed

    async def restore(self) -> None:
        """Take what is in the store since before a restart; before anything is handled."""
        now = self._ctx.clock.time()
        for kept in await self.store.mailboxes():
            self.targets.restore(kept, now)
        counts = await self.store.counts()
        self._tell_backlog([count for count in counts if count.to in self.targets.flows])
        for count in counts:
            self.room.restore(count)
            self.targets.restore_frames(count)

    def session_joined(self, session: ServiceSession) -> None:
        """A session was established."""
        peer = session.peer
        if peer.verified is Verified.SESSION and peer.fingerprint is not None:
            stranger = self._admission.is_stranger(peer.node_id, peer.fingerprint)
            kept_out = self._admission.admit(peer.node_id, peer.fingerprint)
            self.guests.add(Guest(session, peer.fingerprint, kept_out, stranger=stranger))
            self._notices.joined(peer.node_id)

    def session_left(self, session: ServiceSession, reason: Reason) -> None:
        """A session ended."""
        guest = self.guests.remove(session)
        if guest is None:
            return
        self.targets.leave(session, guest.node, self._ctx.clock.time())
        if self.guests.session(guest.node) is None:
            self._notices.left(guest.node)

    async def tick(self) -> None:
        """Do what goes by time; called twice a second."""
        now = self._ctx.clock.time()
        deadline = self.bindings.next_deadline
        if deadline is not None and deadline <= now:
            self.targets.end(self.bindings.expire(now))
        self.targets.resume()
        self._delivery.repeat_due()
        self._lanes.expire()
        self.stalls.look()
        if self.quotas.total.frames and not self._is_expiring:
            # Not awaited: a slow disk is not to hold up the repeats.
            self._is_expiring = True
            self._spawn(self._expire(int(now * 1000)))

    def drain(self) -> int:
        """Take no more binds and frames, and tell everybody; returns how many were told."""
        self._router.is_closed = self._binds.is_closed = True
        refused = Cause.RESTARTING.refuse()
        guests = self.guests.all()
        self._drained_at = self._ctx.clock.monotonic()
        for guest in guests:
            self._notices.tell(guest.node, RelayNotify(refused.reason, detail=refused.detail))
        self._ctx.events.emit(
            NetworkEvent(
                action="relay_draining",
                detail=f"the relay takes no new binds and frames; it told {len(guests)} nodes",
                at=self._ctx.clock.time(),
            )
        )
        return len(guests)

    @property
    def is_drained(self) -> bool:
        """Whether its users have had the time to take another relay, and what waited is gone.

        What is on disk is kept for the next start.
        """
        if self._drained_at is None or not self._lanes.is_empty:
            return False
        if not len(self.guests):
            return True
        return self._ctx.clock.monotonic() - self._drained_at >= _MOVE_SECONDS

    def waiting_targets(self) -> list[str]:
        """For whom something waits."""
        return sorted(self.quotas.targets)

    def store_lost(self) -> None:
        """What was stored is out of reach: count anew, and put the mailboxes again."""
        self._delivery.forget()
        self.room.forget()
        for mailbox in self.bindings.mailboxes:
            self.targets.keep(mailbox)

    def close(self) -> None:
        """Take nothing more; the store is closed next.

        Sessions may go on, where the plugin alone is stopped or loaded anew: who bound is told,
        and asks again in a moment because a binding is named.
        """
        self._router.is_closed = self._binds.is_closed = True
        bound = [(one.session, one.binding_id) for one in self.bindings]
        bound += [
            (box.session, box.binding_id)
            for box in self.bindings.mailboxes
            if box.session is not None
        ]
        for session, binding_id in bound:
            session.send(RelayNotify(Reason.RESTARTING, binding_id, "the relay was stopped"))
        self._delivery.flush()

    def _tell_backlog(self, counts: Sequence[FlowCount]) -> None:
        if not counts:
            return
        frames, nodes = sum(count.frames for count in counts), len({count.to for count in counts})
        self._ctx.events.emit(
            NetworkEvent(
                action="relay_backlog",
                detail=f"frames stored before this start: {frames}, for nodes: {nodes}; "
                "they are delivered when these come",
                at=self._ctx.clock.time(),
            )
        )

    async def _expire(self, now_ms: int) -> None:
        try:
            while gone := await self.store.expire(now_ms, _EXPIRE_FRAMES):
                for frame in gone:
                    self._end(frame, Cause.EXPIRED, Counter.EXPIRED)
                if len(gone) < _EXPIRE_FRAMES:
                    return
        finally:
            self._is_expiring = False

    def _spawn(self, work: Coroutine[object, object, object]) -> object:
        return self._ctx.spawn(_unless_disk_fails(work))

    def _evicted(self, gone: Sequence[Gone]) -> None:
        for frame in gone:
            self._end(frame, Cause.EVICTED, Counter.EVICTED)

    def _end(self, frame: Gone, cause: Cause, counter: Counter) -> None:
        if self._delivery.is_done_with(frame.row):
            return
        self._delivery.gone(frame.row, self.targets.flows.get(frame.to))
        self.room.give_back(frame.to, frame.sender, frame.qos, frame.size, stranger=frame.stranger)
        refused = cause.refuse(target=frame.to)
        self._endings.end(frame.sender, frame.message_id, frame.sequence, refused, counter=counter)

    def _has_mailbox(self, node: str) -> bool:
        return self.bindings.mailbox(node) is not None

    def _make_delivery(self) -> Delivery:
        return Delivery(
            self.store,
            Retries(random.random),
            self.room.give_back,
            self.tally,
            late=lambda frame: self.targets.end_late(frame),
            window_bytes=self._ctx.service.window_bytes,
            clock=self._ctx.clock,
            spawn=self._spawn,
        )

    def _make_intake(self) -> Intake:
        return Intake(
            self.store,
            self.room,
            self._delivery,
            self._endings,
            self.tally,
            ttl_seconds=self.settings.ttl_secs,
            clock=self._ctx.clock,
        )

    def _make_lanes(self) -> Lanes:
        return Lanes(
            self.bindings,
            self._intake,
            self._endings,
            self.tally,
            ttl_seconds=self.settings.ttl_secs,
            window_bytes=self._ctx.service.window_bytes,
            clock=self._ctx.clock,
        )

    def _make_targets(self) -> Targets:
        return Targets(
            self.bindings,
            self.guests,
            self._delivery,
            self._lanes,
            self.room,
            self.quotas,
            self._notices,
            self._endings,
            self.store,
            self.tally,
            spawn=self._spawn,
        )

    def _make_binds(self) -> Binds:
        return Binds(
            self.settings,
            self.guests,
            self.bindings,
            self.targets,
            self._rates,
            self.tally,
            self._alarms,
            frame_bytes=self._ctx.service.frame_bytes,
            read_card=self._ctx.service.read_card,
            learn_card=self._ctx.service.learn_card,
            clock=self._ctx.clock,
        )

    def _make_router(self, own: FrameHandler) -> Router:
        return Router(
            self._ctx.node_id,
            self.guests,
            self.bindings,
            self.targets.flows,
            self._rates,
            self._intake,
            self._lanes,
            self._endings,
            self.tally,
            may_store=self.settings.store_forward,
            own=own,
            clock=self._ctx.clock,
        )


async def _unless_disk_fails(work: Coroutine[object, object, object]) -> None:
    # The store has told the operator; who works with it tries again, or does without.
    with contextlib.suppress(StoreError):
        await work
