"""Sends reliable frames, and keeps them until the relay has them or they are over."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

import msgspec

from thenodes_plugin_api import (
    Ack,
    DeliveryOutcome,
    DeliveryStatus,
    Message,
    OutboxFull,
    PluginContext,
    Reason,
    RelayNotify,
)
from thenodes_plugin_api.service import ForwardHeader, ServiceSession

from ..counters import ClientCounter
from .agenda import Agenda
from .links import Links
from .outstanding import InFlightLimits, Lane, Outstanding, Parcel

__all__ = ["Flight"]

_BATCH = 64
_SWEEP_SECONDS = 5.0
_HEADER_AT = 8
_STORED = ("stored", "dup", "ok")
_FIRST_REST_SECONDS = 0.5
_MOST_REST_SECONDS = 10.0
_ONCE_MORE = (Reason.NOT_BOUND, Reason.RESTARTING)

_decode_header = msgspec.msgpack.Decoder(ForwardHeader).decode


class Flight:
    """Every reliable frame on its way to a relay.

    They are sent in order, and after a reconnect again in that order before new ones. Where
    there is no room for one more, its sender waits up to its deadline.

    Args:
        ctx: the plugin's context.
        agenda: for deadlines.
        links: the relays.
        limits: how much may be unconfirmed.
    """

    def __init__(
        self,
        ctx: PluginContext,
        agenda: Agenda,
        links: Links,
        limits: InFlightLimits | None = None,
    ) -> None:
        self._ctx = ctx
        self._agenda = agenda
        self._links = links
        self._outstanding = Outstanding(limits)
        self._open: dict[tuple[str, str], ServiceSession] = {}
        self._paused: dict[tuple[str, str], ServiceSession] = {}
        self._waiters: dict[bytes, asyncio.Future[DeliveryOutcome | None]] = {}
        self._queued: set[tuple[str, str]] = set()
        self._is_sweeping = False
        self.wants_route: Callable[[str, str], None] = lambda relay, to: None

    @property
    def outstanding(self) -> Outstanding:
        """The frames."""
        return self._outstanding

    def in_flight(self, relay: str) -> int:
        """How many frames a relay has not confirmed."""
        return sum(len(lane) for lane in self._outstanding.lanes(relay))

    def is_open(self, relay: str, to: str) -> bool:
        """Whether the relay takes frames for a target."""
        return (relay, to) in self._open

    def target(self, message_id: bytes) -> str | None:
        """For whom a frame is that no relay has confirmed."""
        parcel = self._outstanding.get(message_id)
        return None if parcel is None else parcel.to

    def relay(self, message_id: bytes) -> str | None:
        """Which relay is to confirm a frame; None where it is in no lane."""
        parcel = self._outstanding.get(message_id)
        return None if parcel is None or parcel.lane is None else parcel.lane.relay

    async def send(
        self,
        relay: str,
        to: str,
        frame: bytes,
        message_id: bytes,
        *,
        pinned: bool,
        ttl_seconds: float,
        timeout_seconds: float,
    ) -> DeliveryOutcome:
        """Send a frame through a relay, or through another where that one is gone.

        Args:
            relay: node id.
            to: the target.
            frame: the whole binary frame.
            message_id: its id, 16 bytes.
            pinned: whether it goes through that relay and no other.
            ttl_seconds: how long it is kept where the frame itself does not say.
            timeout_seconds: how long to wait for the relay's word.

        Raises:
            OutboxFull: no room in time; the frame is not kept.
        """
        expires_at = self._expiry(frame, ttl_seconds)
        parcel = Parcel(to, message_id, frame, pinned=pinned, expires_at=expires_at)
        if not pinned:
            relay = self._settle_home(relay, to)
        self._outstanding.enter(relay, parcel)
        outcome: asyncio.Future[DeliveryOutcome | None]
        outcome = self._waiters[message_id] = asyncio.get_running_loop().create_future()
        if not self._is_sweeping:
            self._is_sweeping = True
            self._agenda.call_later(_SWEEP_SECONDS, self._sweep)
        self._push((relay, to))
        try:
            word = await self._agenda.within(outcome, timeout_seconds)
        finally:
            self._waiters.pop(message_id, None)
            if not parcel.is_kept:
                self._outstanding.drop(parcel)
        if word is not None:
            return word
        if not parcel.had_place:
            raise OutboxFull(
                f"{relay} has not confirmed earlier frames: no room for one more to {to} "
                f"within {timeout_seconds:g} s"
            )
        relay = parcel.lane.relay if parcel.lane is not None else relay
        return DeliveryOutcome(
            DeliveryStatus.SENT,
            relay,
            uuid.UUID(bytes=message_id),
            Reason.TIMEOUT,
            f"{relay} has not confirmed it within {timeout_seconds:g} s; it goes on",
        )

    def opened(self, relay: str, to: str, session: ServiceSession) -> None:
        """The relay takes frames for a target, on this session."""
        key = (relay, to)
        lane = self._outstanding.lane(relay, to)
        before = self._paused.pop(key, None) or self._open.get(key)
        if lane is not None and before is not session:
            self._outstanding.rewind(lane)
        self._open[key] = session
        self._push(key)

    def paused(self, relay: str, to: str) -> None:
        """The route will keep nothing for now: what has not gone out waits until it does again."""
        key = (relay, to)
        session, lane = self._open.pop(key, None), self._outstanding.lane(relay, to)
        if session is not None:
            self._paused[key] = session
        if lane is not None and lane.head(1):
            self.wants_route(relay, to)

    def closed(self, relay: str, to: str) -> None:
        """The relay takes none any more; what it has not confirmed will be sent again."""
        self._open.pop((relay, to), None)
        self._paused.pop((relay, to), None)
        self._queued.discard((relay, to))
        lane = self._outstanding.lane(relay, to)
        if lane is not None:
            self._outstanding.rewind(lane)
            self.wants_route(relay, to)

    def move(self, relay: str, to: str, other: str) -> None:
        """Let what goes to a target through one relay go through another, where that is open."""
        lane = self._outstanding.lane(relay, to)
        if lane is not None and self._outstanding.move(lane, other) is not None:
            self._ctx.service.count(ClientCounter.MOVED)
            self._admit()
            self._push((other, to))

    def acknowledged(self, session: ServiceSession, ack: Ack) -> bool:
        """A relay confirmed a frame, or refused it; False where it was none of its frames."""
        if ack.message_id is None:
            return False
        parcel = self._outstanding.get(ack.message_id.bytes)
        lane = None if parcel is None else parcel.lane
        parcel = self._outstanding.settle(ack.message_id.bytes, session)
        if parcel is None:
            return False
        if lane is not None:
            lane.bounced = 0
        relay = session.peer.node_id
        if ack.status in _STORED:
            outcome = DeliveryOutcome(DeliveryStatus.STORED, relay, ack.message_id)
            self._tell(parcel.message_id, outcome)
        else:
            self._refuse(parcel, relay, Reason.DECLINED, f"{relay} answered {ack.status!r}")
        self._admit()
        return True

    def notified(self, session: ServiceSession, notify: RelayNotify) -> bool:
        """A relay told what became of a frame.

        Returns:
            Whether that is dealt with: a sender was told, or the frame is sent once more.
        """
        if notify.message_id is None:
            return False
        parcel = self._outstanding.get(notify.message_id.bytes)
        if parcel is None or parcel.lane is None:
            return False
        relay = session.peer.node_id
        if notify.notif_type in _ONCE_MORE:
            # Of several frames the first word brings back all; the others say nothing new.
            if parcel.session is session:
                if notify.notif_type is Reason.NOT_BOUND:
                    self._rest(parcel.lane)
                self.closed(relay, parcel.to)
            return parcel.lane.relay == relay
        if parcel.session is not session:
            return False
        self._outstanding.drop(parcel)
        told = self._refuse(
            parcel, relay, notify.notif_type, notify.detail or f"{relay} refused it", tell=False
        )
        self._admit()
        return told

    def abandon(self, relay: str, to: str, reason: Reason, detail: str) -> None:
        """Give up what goes to a target through a relay, and tell its senders."""
        lane = self._outstanding.lane(relay, to)
        if lane is None:
            return
        for parcel in (*lane.kept.values(), *lane.waiting):
            self._outstanding.drop(parcel)
            self._refuse(parcel, relay, reason, detail)
        self._admit()

    def stop(self) -> dict[str, int]:
        """Give everything up; returns how many frames that were, by target."""
        lost: dict[str, int] = {}
        for lane in self._outstanding:
            lost[lane.to] = lost.get(lane.to, 0) + len(lane)
            for parcel in (*lane.kept.values(), *lane.waiting):
                self._outstanding.drop(parcel)
                word = DeliveryOutcome(
                    DeliveryStatus.REFUSED,
                    lane.relay,
                    uuid.UUID(bytes=parcel.message_id),
                    Reason.RESTARTING,
                    "this node stopped before a relay had it",
                )
                self._tell(parcel.message_id, word)
        return lost

    def _rest(self, lane: Lane) -> None:
        """Once a relay may have forgotten a route; one that always does is not asked at once."""
        if lane.bounced:
            bound = _FIRST_REST_SECONDS * 2.0 ** min(lane.bounced - 1, 10)
            seconds = min(_MOST_REST_SECONDS, bound)
            lane.rests_until = self._ctx.clock.monotonic() + seconds
        lane.bounced += 1

    def _settle_home(self, relay: str, to: str) -> str:
        """Through which relay one more goes: behind those before it, wherever they are."""
        home = self._outstanding.home(to)
        if home is None or home.relay == relay:
            return relay
        link = self._links.get(home.relay)
        if link is not None and link.is_up:
            return home.relay
        self.move(home.relay, to, relay)
        return relay

    def _push(self, key: tuple[str, str]) -> None:
        """Send what can be sent; the rest when there is room."""
        session, lane = self._open.get(key), self._outstanding.lane(*key)
        if lane is None or key in self._queued:
            return
        if session is None:
            self.wants_route(*key)
        elif not self._send_head(lane, session):
            self._queue(key)

    def _send_head(self, lane: Lane, session: ServiceSession) -> bool:
        while batch := lane.head(_BATCH):
            taken = session.offer([parcel.frame for parcel in batch])
            lane.mark_sent(batch[:taken], session)
            if taken < len(batch):
                return False
        return True

    def _queue(self, key: tuple[str, str]) -> None:
        link = self._links.get(key[0])
        if link is None:
            return

        def go_on() -> bool:
            session, lane = self._open.get(key), self._outstanding.lane(*key)
            if session is None or lane is None or self._send_head(lane, session):
                self._queued.discard(key)
                return True
            return False

        self._queued.add(key)
        link.wait_for_room(go_on)

    def _admit(self) -> None:
        lanes: dict[Lane, None] = {}
        for parcel in self._outstanding.admit():
            if parcel.lane is not None:
                lanes[parcel.lane] = None
        for lane in lanes:
            self._push((lane.relay, lane.to))

    def _refuse(
        self, parcel: Parcel, relay: str, reason: Reason, detail: str, *, tell: bool = True
    ) -> bool:
        """Tell the sender; where it no longer waits, the plugins."""
        message_id = uuid.UUID(bytes=parcel.message_id)
        self._ctx.service.count(ClientCounter.REFUSED, reason=reason.value)
        told = self._tell(
            parcel.message_id,
            DeliveryOutcome(DeliveryStatus.REFUSED, relay, message_id, reason, detail),
        )
        if not told and tell:
            notify = RelayNotify(reason, detail=detail, message_id=message_id)
            self._ctx.service.dispatch(Message(notify, sender=self._ctx.node_id))
        return told

    def _tell(self, message_id: bytes, outcome: DeliveryOutcome) -> bool:
        waiter = self._waiters.get(message_id)
        if waiter is None or waiter.done():
            return False
        waiter.set_result(outcome)
        return True

    def _expiry(self, frame: bytes, ttl_seconds: float) -> float:
        size = int.from_bytes(frame[6:_HEADER_AT], "big")
        header = _decode_header(frame[_HEADER_AT : _HEADER_AT + size])
        if header.delivery is not None and header.delivery.expires_at is not None:
            return header.delivery.expires_at / 1000
        return self._ctx.clock.time() + ttl_seconds

    def _sweep(self) -> None:
        for parcel in self._outstanding.expired(self._ctx.clock.time()):
            self._refuse(parcel, "", Reason.TIMEOUT, "it expired before a relay had it")
        self._admit()
        self._is_sweeping = self._outstanding.frames > 0
        if self._is_sweeping:
            self._agenda.call_later(_SWEEP_SECONDS, self._sweep)
