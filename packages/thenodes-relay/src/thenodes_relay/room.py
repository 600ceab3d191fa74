"""Room for frames: quotas, and bulk frames that make way."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TypeAlias

import msgspec

from thenodes_plugin_api import QoS

from .causes import Cause, Refused
from .quotas import Quotas
from .settings import Settings
from .store.base import FlowCount, FrameStore, Gone

__all__ = ["Depth", "Room"]

_Key: TypeAlias = tuple[str, QoS, bool]
"""A sender, the QoS of its frames, and whether it is a stranger."""

_MAKES_WAY = frozenset((Cause.TARGET_FULL, Cause.RELAY_FULL))


class Depth(msgspec.Struct):
    """How much waits."""

    frames: int = 0
    bytes: int = 0


class Room:
    """Says whether a frame may be kept; what is full of bulk frames is made room in.

    A bulk frame that makes way is gone a moment after the other was admitted, so for that
    moment the limits are exceeded by as much; where the store fails, until there is room again.

    Args:
        settings: the limits of frames.
        quotas: what is taken of the limits.
        store: holds bulk frames that may make way.
        evicted: told of those that did.
        spawn: runs work in the background.
    """

    def __init__(
        self,
        settings: Settings,
        quotas: Quotas,
        store: FrameStore,
        *,
        evicted: Callable[[Sequence[Gone]], None],
        spawn: Callable[[Coroutine[object, object, object]], object],
    ) -> None:
        self._frames_max = settings.queue_max_global
        self._target_frames_max = settings.queue_max_per_target
        self._quotas = quotas
        self._store = store
        self._evicted = evicted
        self._spawn = spawn
        self._evicting: dict[str | None, int] = {}
        self._kept: dict[str, dict[_Key, Depth]] = {}
        self._bulk = 0

    def depths(self, target: str) -> dict[QoS, Depth]:
        """What is stored for a target, by QoS."""
        depths: dict[QoS, Depth] = {}
        for (_, qos, _), kept in self._kept.get(target, {}).items():
            depth = depths.setdefault(qos, Depth())
            depth.frames += kept.frames
            depth.bytes += kept.bytes
        return depths

    def restore(self, count: FlowCount) -> None:
        """Count what is stored since before a restart."""
        self._quotas.add(
            count.to,
            count.sender,
            count.qos,
            count.bytes,
            stranger=count.stranger,
            frames=count.frames,
        )
        key = (count.sender, count.qos, count.stranger)
        self._note(count.to, key, count.frames, count.bytes)

    def forget(self) -> None:
        """What was stored is lost."""
        for to, kept in self._kept.items():
            for (sender, qos, stranger), depth in kept.items():
                self._quotas.give_back(
                    to, sender, qos, depth.bytes, stranger=stranger, frames=depth.frames
                )
        self._kept.clear()
        self._bulk = 0

    def take(self, to: str, sender: str, qos: QoS, size: int, *, stranger: bool) -> Refused | None:
        """Take room for a frame, or say why there is none."""
        cause = self._quotas.take(to, sender, qos, size, stranger=stranger)
        if cause is None:
            self._note(to, (sender, qos, stranger), 1, size)
            return None
        if cause in _MAKES_WAY and qos is not QoS.BULK:
            target = to if cause is Cause.TARGET_FULL else None
            if self._make_way(target, to, sender, qos, size, stranger=stranger):
                self._note(to, (sender, qos, stranger), 1, size)
                return None
        return self._quotas.refuse(cause, to, sender, qos, size)

    def give_back(self, to: str, sender: str, qos: QoS, size: int, *, stranger: bool) -> None:
        """Give back the room of a frame that is kept no more."""
        key = (sender, qos, stranger)
        if (depth := self._kept.get(to, {}).get(key)) is not None:
            # Where what was stored is lost, frames end that are not counted any more.
            size = depth.bytes if depth.frames == 1 else min(size, depth.bytes)
            self._quotas.give_back(to, sender, qos, size, stranger=stranger)
            self._note(to, key, -1, -size)

    def _note(self, to: str, key: _Key, frames: int, size: int) -> None:
        kept = self._kept.setdefault(to, {})
        depth = kept.get(key)
        if depth is None:
            depth = kept[key] = Depth()
        depth.frames += frames
        depth.bytes += size
        if key[1] is QoS.BULK:
            self._bulk += frames
        if depth.frames <= 0:
            del kept[key]
            if not kept:
                del self._kept[to]

    def _make_way(
        self, target: str | None, to: str, sender: str, qos: QoS, size: int, *, stranger: bool
    ) -> bool:
        bulk = self._bulk if target is None else self._bulk_of(target)
        going = self._evicting.get(target, 0)
        load = self._quotas.total if target is None else self._quotas.waiting_for(target)
        most = self._frames_max if target is None else self._target_frames_max
        wanted = 1 if load.frames >= most else 1 + size * load.frames // max(1, load.bytes)
        if bulk < going + wanted:
            return False
        self._evicting[target] = going + wanted
        self._quotas.add(to, sender, qos, size, stranger=stranger)
        if not going:
            self._spawn(self._evict(target))
        return True

    def _bulk_of(self, target: str) -> int:
        kept = self._kept.get(target, {})
        return sum(depth.frames for (_, qos, _), depth in kept.items() if qos is QoS.BULK)

    async def _evict(self, target: str | None) -> None:
        try:
            while count := self._evicting.get(target, 0):
                gone = await self._store.evict_bulk(target, count)
                self._evicted(gone)
                self._evicting[target] -= count
        finally:
            self._evicting.pop(target, None)
