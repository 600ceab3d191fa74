"""How a node finishes what it has begun, before it stops."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from thenodes_plugin_api import Level, SystemEvent

from .clock import Clock, timeout
from .events.dispatcher import Dispatcher
from .peers.manager import PeerManager
from .plugins.roster import Roster

__all__ = ["Draining"]

_LOOK_SECONDS = 0.02
_LOOKS = 2


class Draining:
    """Takes nothing new, and waits until nothing waits any more.

    Args:
        peers: their sessions; none is accepted any more, those there are go on.
        roster: the plugins; their inboxes are emptied, and services are told.
        events: told of the beginning and the end.
        clock: bounds it.
    """

    def __init__(
        self, peers: PeerManager, roster: Roster, events: Dispatcher, clock: Clock
    ) -> None:
        self._peers = peers
        self._roster = roster
        self._events = events
        self._clock = clock

    async def run(self, seconds: float) -> bool:
        """Drain; returns whether nothing was left when the time was up."""
        self._tell("draining", f"the node takes nothing new, and stops within {seconds:g} s")
        self._peers.accept_no_more()
        began = self._clock.monotonic()
        try:
            async with timeout(self._clock, seconds):
                await self._wait()
        except TimeoutError:
            left = ", ".join(self.left())
            if left:
                text = f"{seconds:g} s are up, and not everything is done: {left}"
                self._tell("drain_cut", text, Level.WARNING)
                return False
        took = self._clock.monotonic() - began
        self._tell("drained", f"everything that had begun is done, after {took:.1f} s")
        return True

    async def _wait(self) -> None:
        """Return once nothing is left twice in a row: what ends may begin something else."""
        empty = 0
        while True:
            for slot in self._roster:
                # Each time: a plugin may be loaded anew meanwhile.
                slot.runtime.drain()
            await asyncio.sleep(0)
            empty = 0 if self.left() else empty + 1
            if empty >= _LOOKS:
                return
            await self._clock.sleep(_LOOK_SECONDS)

    def left(self) -> Sequence[str]:
        """What is not done, in words."""
        found = []
        for slot in self._roster:
            runtime = slot.runtime
            if runtime.waiting:
                found.append(f"{runtime.waiting} waiting for plugin {slot.plugin_id}")
            elif not runtime.is_drained:
                found.append(f"plugin {slot.plugin_id} is busy")
        frames, peers = self._peers.unsent
        if frames:
            found.append(f"{frames} frames unsent to {peers} peers")
        return found

    def _tell(self, action: str, detail: str, level: Level = Level.INFO) -> None:
        at = self._clock.time()
        self._events.emit(SystemEvent(action=action, detail=detail, level=level, at=at))
