"""What waits in memory for a target that is present and has no room."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec

from thenodes_plugin_api import QoS

from .causes import Cause, Refused
from .lane import AgedLane, Lane
from .quotas import Load, Quotas
from .store.base import Stored

__all__ = ["Dropped", "Taken", "TargetQueue"]

_OWN_SHARE = frozenset((Cause.SHARE_OF_TARGET_FULL, Cause.SHARE_OF_ALL_FULL, Cause.STRANGERS_FULL))


class Dropped(msgspec.Struct, frozen=True, gc=False):
    """A frame that is not to be delivered; its origin has to be told.

    Attributes:
        frame: the frame.
        why: what to tell.
    """

    frame: Stored
    why: Refused


class Taken(msgspec.Struct, frozen=True, gc=False):
    """What comes next.

    Attributes:
        frames: to be sent, in this order.
        expired: whose time was over; their origins have to be told.
    """

    frames: list[Stored]
    expired: list[Stored]


class TargetQueue:
    """Lanes for one target: low_latency before high_throughput before bulk.

    In a lane each sender's frames keep their order, and the senders are served in turn, a
    frame each. Reliable frames do not come here: they are stored before they are sent.

    Who waits: nobody. What is dropped: where the quotas have no room, bulk frames go first,
    the oldest before others; then for a low_latency frame the oldest low_latency one; of the
    sender's own where its own share or the strangers' is full. Where that makes no room the
    frame itself is refused, and nothing else is dropped for it. Every frame that is put comes
    out once: taken, as `Dropped`, expired, or from `drain`.

    Args:
        target: whose frames these are.
        quotas: asked before a frame is queued, and given back the room when it comes out.
    """

    def __init__(self, target: str, quotas: Quotas) -> None:
        self._target = target
        self._quotas = quotas
        self._first = AgedLane()
        self._second = Lane()
        self._last = AgedLane()
        self._lanes = {
            QoS.LOW_LATENCY: self._first,
            QoS.HIGH_THROUGHPUT: self._second,
            QoS.BULK: self._last,
        }
        self._count = 0
        self._soonest: float = math.inf

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Stored]:
        for lane in self._lanes.values():
            yield from lane

    @property
    def next_deadline(self) -> int | None:
        """Unix milliseconds before which no frame expires; None where none is there."""
        return None if self._count == 0 else int(self._soonest)

    def loads(self) -> dict[QoS, Load]:
        """What waits, by class; counted anew."""
        return {qos: _load(lane) for qos, lane in self._lanes.items()}

    def put(self, frame: Stored) -> Sequence[Dropped]:
        """Queue a frame.

        Returns:
            What is not to be delivered because of it: nothing where there was room; frames
            that were there, with EVICTED; or this one, with the limit that was met.

        Raises:
            KeyError: the frame is reliable.
        """
        lane = self._lanes[frame.qos]
        cause = self._quotas.take(
            self._target, frame.sender, frame.qos, len(frame.data), stranger=frame.stranger
        )
        if cause is not None:
            return self._press(frame, cause)
        lane.put(frame)
        self._count += 1
        if frame.expires_at < self._soonest:
            self._soonest = frame.expires_at
        return ()

    def make_room(self, frame: Stored) -> Sequence[Dropped]:
        """Evict bulk frames so that one finds room that is to be stored.

        Args:
            frame: it is not queued, and its room is not taken.

        Returns:
            What was evicted; nothing where there is room, or where that would not make any.
        """
        size, stranger = len(frame.data), frame.stranger
        where = (self._target, frame.sender, frame.qos, size)
        cause = self._quotas.take(*where, stranger=stranger)
        dropped: Sequence[Dropped] = ()
        if cause is not None:
            victims = self._take_by_evicting(frame, cause)
            if isinstance(victims, Refused):
                return ()
            dropped = self._evict(victims)
        self._quotas.give_back(*where, stranger=stranger)
        return dropped

    def take(self, frames: int, size: int, now_ms: int) -> Taken:
        """Take out what comes next.

        Args:
            frames: at most so many.
            size: until they have so many bytes; the last one may go beyond.
            now_ms: Unix milliseconds.
        """
        taken: list[Stored] = []
        expired: list[Stored] = []
        for lane in self._lanes.values():
            while lane and size > 0 and len(taken) < frames:
                frame = lane.take()
                if frame.expires_at <= now_ms:
                    expired.append(frame)
                else:
                    taken.append(frame)
                    size -= len(frame.data)
        self._release(taken)
        self._release(expired)
        return Taken(taken, expired)

    def put_back(self, frames: Sequence[Stored]) -> None:
        """Undo `take` for its last ones, before anything else is done: they come next again.

        Args:
            frames: as they were taken; all after the first that was not sent.
        """
        for frame in reversed(frames):
            self._lanes[frame.qos].put_back(frame)
            self._retain(frame)
            self._soonest = min(self._soonest, frame.expires_at)

    def expire(self, now_ms: int) -> Sequence[Stored]:
        """Take out what has expired; costs as much as waits, so call it a few times a second.

        Args:
            now_ms: Unix milliseconds.

        Returns:
            The frames; their origins have to be told.
        """
        if now_ms < self._soonest:
            return ()
        expired: list[Stored] = []
        for lane in self._lanes.values():
            expired.extend(lane.remove_expired(now_ms))
        self._release(expired)
        self._soonest = min((frame.expires_at for frame in self), default=math.inf)
        return expired

    def drain(self) -> Sequence[Stored]:
        """Take out everything, lane by lane and in each sender's order, as the target left."""
        frames = list(self)
        self._release(frames)
        for lane in self._lanes.values():
            lane.clear()
        self._soonest = math.inf
        return frames

    def _press(self, frame: Stored, cause: Cause) -> Sequence[Dropped]:
        """Queue a frame by evicting others."""
        victims = self._take_by_evicting(frame, cause)
        if isinstance(victims, Refused):
            return (Dropped(frame, victims),)
        # First in, then out: a sender that replaces its only frame keeps its turn.
        self._lanes[frame.qos].put(frame)
        self._count += 1
        self._soonest = min(self._soonest, frame.expires_at)
        return self._evict(victims)

    def _take_by_evicting(self, frame: Stored, met: Cause) -> Collection[Stored] | Refused:
        """Take room for a frame in place of others, which are to be evicted then."""
        size, cause = len(frame.data), met
        victims: dict[int, Stored] = {}
        lanes = self._giving_way(frame.qos)
        own = _frames(lane.of_sender(frame.sender) for lane in lanes)
        everybodys = _frames(lane.by_age() for lane in lanes)
        while True:
            pool = own if cause in _OWN_SHARE else everybodys
            victim = next((found for found in pool if id(found) not in victims), None)
            if victim is None:
                for kept in victims.values():
                    self._retain(kept)
                return self._quotas.refuse(cause, self._target, frame.sender, frame.qos, size)
            victims[id(victim)] = victim
            self._release((victim,))
            left = self._quotas.take(
                self._target, frame.sender, frame.qos, size, stranger=frame.stranger
            )
            if left is None:
                return victims.values()
            cause = left

    def _evict(self, victims: Collection[Stored]) -> Sequence[Dropped]:
        for victim in victims:
            (self._last if victim.qos is QoS.BULK else self._first).evict(victim)
        why = Cause.EVICTED.refuse(target=self._target)
        return [Dropped(victim, why) for victim in victims]

    def _giving_way(self, qos: QoS) -> Sequence[AgedLane]:
        if qos is QoS.LOW_LATENCY:
            return (self._last, self._first)
        return () if qos is QoS.BULK else (self._last,)

    def _release(self, frames: Sequence[Stored]) -> None:
        self._count -= len(frames)
        self._quotas.give_back_all(self._target, frames)

    def _retain(self, frame: Stored) -> None:
        self._count += 1
        self._quotas.add(
            self._target, frame.sender, frame.qos, len(frame.data), stranger=frame.stranger
        )


def _frames(pools: Iterable[Iterable[Stored]]) -> Iterator[Stored]:
    return itertools.chain.from_iterable(pools)


def _load(lane: Lane) -> Load:
    sizes = [len(frame.data) for frame in lane]
    return Load(len(sizes), sum(sizes))
