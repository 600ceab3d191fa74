"""Routes that are open, and what is sent on them."""

from __future__ import annotations

import asyncio
import uuid

from thenodes_plugin_api import (
    DeliveryOutcome,
    DeliveryStatus,
    OutboxFull,
    QoS,
    Reason,
    RelayBindAck,
    RelayLimits,
)
from thenodes_plugin_api.service import ServiceSession

from .agenda import Agenda
from .flight import Flight
from .links import Link

__all__ = ["ClientRoute", "Grant"]

_FRAME_BYTES = 256 * 1024
_TTL_SECONDS = 7 * 86_400
_MOST_TTL_SECONDS = 30 * 86_400

# Looked at for every frame: the member of an enumeration is slower to get.
_RELIABLE = QoS.RELIABLE


class Grant:
    """What a relay granted this node for one target, on one session.

    Attributes:
        link: the relay.
        session: the session that it holds on.
        to: the target.
        store: whether frames are kept for the target where it is away.
        is_own: whether a plugin asked for it; then its `store` stays as it is.
        binding_id: as the relay calls it.
        is_present: whether the target was there when it was granted.
        has_mailbox: whether it has a mailbox there, as far as the relay said.
        is_stale: whether something changed since, so that the relay has to be asked again.
        frame_bytes: the largest frame that both the relay and this node take.
        ttl_seconds: how long it keeps one at most.
        granted_at: of the monotonic clock.
        is_used: whether anything was sent since it was granted.

    Args:
        own_bytes: the largest frame that this node takes.
    """

    def __init__(self, link: Link, session: ServiceSession, to: str, own_bytes: int) -> None:
        self.link = link
        self.session = session
        self.to = to
        self.store = False
        self.is_own = False
        self.binding_id: str | None = None
        self.is_present = False
        self.has_mailbox = False
        self.is_stale = False
        self.frame_bytes = self._own_bytes = own_bytes
        self.ttl_seconds = float(_TTL_SECONDS)
        self.granted_at = 0.0
        self.is_used = False

    def granted(self, ack: RelayBindAck, *, store: bool, own: bool, now: float) -> None:
        """The relay granted it, or renewed it."""
        limits = ack.limits or RelayLimits()
        self.store = store
        self.is_own = own
        self.binding_id = ack.binding_id
        self.is_present = bool(ack.peer_present)
        self.has_mailbox = store or self.is_present or ack.target_card is not None
        self.is_stale = self.is_used = False
        self.frame_bytes = _limit(limits.frame_bytes, _FRAME_BYTES, most=self._own_bytes)
        self.ttl_seconds = float(_limit(limits.ttl_seconds, _TTL_SECONDS, most=_MOST_TTL_SECONDS))
        self.granted_at = now

    @property
    def is_open(self) -> bool:
        """Whether the session that it holds on is there."""
        return self.link.session is self.session and self.link.is_up

    def serves(self, *, store: bool) -> bool:
        """Whether it is as a sender wants it, as far as this relay can."""
        return self.is_own or self.store is (store and self.link.stores)


class ClientRoute:
    """A `Route`: what was granted, and the way onto its session.

    Args:
        grant: what was granted.
        flight: takes reliable frames.
        agenda: for deadlines.
        pinned: whether reliable frames go through this relay and no other.
    """

    __slots__ = ("_agenda", "_flight", "_link", "_offer", "_pinned", "_remember", "_to", "grant")

    def __init__(self, grant: Grant, flight: Flight, agenda: Agenda, *, pinned: bool) -> None:
        self.grant = grant
        self._to = grant.to
        self._link = grant.link
        self._offer = grant.session.offer
        self._remember = grant.link.recent.add
        self._flight = flight
        self._agenda = agenda
        self._pinned = pinned

    @property
    def relay(self) -> str:
        """The relay's node id."""
        return self.grant.link.relay

    @property
    def frame_bytes(self) -> int:
        """The largest frame that it takes."""
        return self.grant.frame_bytes

    @property
    def ttl_seconds(self) -> float:
        """How long a frame may be kept on it, at most."""
        return self.grant.ttl_seconds

    def offer(self, frame: bytes, message_id: bytes, qos: QoS) -> bool:
        """Send a frame that is not reliable, if that takes no waiting; False where it would."""
        grant = self.grant
        if grant.is_stale or self._link.waiting or qos is _RELIABLE:
            return False
        grant.is_used = True
        self._remember((message_id, self._to))
        return self._offer((frame,)) == 1

    async def send(
        self, frame: bytes, message_id: bytes, qos: QoS, *, timeout_seconds: float
    ) -> DeliveryOutcome:
        """Send a frame; see `Route.send`."""
        self.grant.is_used = True
        if qos is QoS.RELIABLE:
            return await self._flight.send(
                self.relay,
                self.grant.to,
                frame,
                message_id,
                pinned=self._pinned,
                ttl_seconds=self.ttl_seconds,
                timeout_seconds=timeout_seconds,
            )
        if self.offer(frame, message_id, qos):
            return self._sent(message_id)
        return await self._send_when_room(frame, message_id, timeout_seconds)

    async def _send_when_room(
        self, frame: bytes, message_id: bytes, timeout_seconds: float
    ) -> DeliveryOutcome:
        grant = self.grant
        sent: asyncio.Future[bool | None] = asyncio.get_running_loop().create_future()

        def try_again() -> bool:
            if sent.done():
                return True
            if grant.is_open and grant.session.offer((frame,)) == 0:
                return False
            sent.set_result(grant.is_open)
            return True

        if not grant.is_open:
            return self._closed(message_id)
        grant.link.wait_for_room(try_again)
        went = await self._agenda.within(sent, timeout_seconds)
        if went is None:
            raise OutboxFull(f"{self.relay} takes no more: no room within {timeout_seconds:g} s")
        return self._sent(message_id) if went else self._closed(message_id)

    def _sent(self, message_id: bytes) -> DeliveryOutcome:
        return DeliveryOutcome(DeliveryStatus.SENT, self.relay, uuid.UUID(bytes=message_id))

    def _closed(self, message_id: bytes) -> DeliveryOutcome:
        return DeliveryOutcome(
            DeliveryStatus.REFUSED,
            self.relay,
            uuid.UUID(bytes=message_id),
            Reason.PEER_LEFT,
            f"the session with {self.relay} ended before the frame went out; send it again",
        )


def _limit(said: int | None, usual: int, *, most: int) -> int:
    """A limit as a relay says it; what no limit can be says nothing."""
    return min(usual if said is None or said <= 0 else said, most)
