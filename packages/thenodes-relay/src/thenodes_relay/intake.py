"""Stores frames: takes room for them, hands them to the store, and says what became of them."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Iterable

from thenodes_plugin_api import Ack, Clock, Frame, QoS

from .causes import Cause, Refused
from .counters import Counter, Tally
from .delivery import Delivery
from .endings import Endings
from .flow import MESSAGE_ID_BYTES, Flow
from .guests import Guest
from .records import make_record
from .room import Room
from .store.base import Append, Appended, FrameStore, Stored, Told

__all__ = ["Intake"]


class Intake:
    """Puts frames into the store.

    The origin of a reliable frame is told `stored` when it is on disk, not before.

    Args:
        store: keeps them.
        room: what there is room for.
        delivery: hands over what was stored.
        endings: ends what cannot be stored.
        tally: counts.
        ttl_seconds: how long a frame is kept at most.
        clock: the node's.
    """

    def __init__(
        self,
        store: FrameStore,
        room: Room,
        delivery: Delivery,
        endings: Endings,
        tally: Tally,
        *,
        ttl_seconds: float,
        clock: Clock,
    ) -> None:
        self._store = store
        self._room = room
        self._delivery = delivery
        self._endings = endings
        self._tally = tally
        self._ttl_ms = int(ttl_seconds * 1000)
        self._time = clock.time

    def put(self, guest: Guest, flow: Flow, qos: QoS, frames: Iterable[Frame]) -> None:
        """Store frames that came just now."""
        told = functools.partial(self._told, guest, flow)
        now_ms = int(self._time() * 1000)
        for frame in frames:
            record = make_record(guest, flow.node, qos, frame, now_ms=now_ms, ttl_ms=self._ttl_ms)
            self._store_it(flow, record, told)

    def put_waiting(self, flow: Flow, frame: Stored) -> None:
        """Store a frame that waited in memory."""
        self._store_it(flow, frame, functools.partial(self._told, None, flow))

    def _store_it(self, flow: Flow, frame: Stored, told: Told) -> None:
        refused: Refused | None
        if not frame.message_id:
            words = "a frame that is to be stored needs a message id or a sequence"
            refused = Cause.BAD_FRAME.refuse(problem=words)
        else:
            refused = self._take_room(flow, frame)
        if refused is not None:
            self._endings.end(frame.sender, frame.message_id, frame.sequence, refused)
            return
        flow.pending_plain += frame.qos is not QoS.RELIABLE
        self._store.append(frame, told)

    def _take_room(self, flow: Flow, frame: Stored) -> Refused | None:
        where = (frame.to, frame.sender, frame.qos, len(frame.data))
        refused = self._room.take(*where, stranger=frame.stranger)
        if refused is None or not (dropped := flow.queue.make_room(frame)):
            return refused
        for each in dropped:
            gone = each.frame
            self._endings.end(
                gone.sender, gone.message_id, gone.sequence, each.why, counter=Counter.EVICTED
            )
        return self._room.take(*where, stranger=frame.stranger)

    def _told(self, guest: Guest | None, flow: Flow, answer: Appended) -> None:
        frame = answer.frame
        is_plain = frame.qos is not QoS.RELIABLE
        flow.pending_plain -= is_plain
        if answer.status is Append.STORED:
            self._tally.add(Counter.STORED)
            if guest is not None and not is_plain:
                guest.acknowledge(_ack(frame, "stored"))
            self._delivery.stored(flow, frame)
            return
        self._room.give_back(
            frame.to, frame.sender, frame.qos, len(frame.data), stranger=frame.stranger
        )
        if answer.status is Append.DUPLICATE:
            self._tally.add(Counter.DUPLICATES)
            if guest is not None and not is_plain:
                guest.acknowledge(_ack(frame, "dup"))
            return
        refused = Cause.DISK_FULL.refuse(problem=answer.detail)
        self._endings.end(frame.sender, frame.message_id, frame.sequence, refused)


def _ack(frame: Stored, status: str) -> Ack:
    named = None
    if len(frame.message_id) == MESSAGE_ID_BYTES:
        named = uuid.UUID(bytes=frame.message_id)
    return Ack(frame.sender, frame.to, frame.sequence or 0, status, named)
