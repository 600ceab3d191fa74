"""What is to happen later, on the node's clock: one sleeping task for everything."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import TypeVar

from thenodes_plugin_api import PluginContext, Task

__all__ = ["Agenda", "Appointment"]

T = TypeVar("T")

_FEW = 64


class Appointment:
    """A call that will happen, unless it is cancelled."""

    __slots__ = ("_agenda", "action")

    def __init__(self, agenda: Agenda, action: Callable[[], object]) -> None:
        self._agenda = agenda
        self.action: Callable[[], object] | None = action

    def cancel(self) -> None:
        """Do not call; a second time does nothing."""
        if self.action is not None:
            self.action = None
            self._agenda.count_cancelled()


class Agenda:
    """Calls what is due. Appointments that were cancelled are let go in bulk.

    Args:
        ctx: whose clock it goes by, and in whose background it sleeps.
    """

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._order = itertools.count()
        self._entries: list[tuple[float, int, Appointment]] = []
        self._give_up: dict[Appointment, Callable[[], None]] = {}
        self._cancelled = 0
        self._sleeper: Task | None = None
        self._wakes_at = 0.0
        self._open = True

    def call_later(self, seconds: float, action: Callable[[], object]) -> Appointment:
        """Call `action` once, `seconds` from now; never once the agenda is closed."""
        at = self._ctx.clock.monotonic() + seconds
        appointment = Appointment(self, action)
        heapq.heappush(self._entries, (at, next(self._order), appointment))
        self._set_alarm()
        return appointment

    async def within(self, future: asyncio.Future[T | None], seconds: float) -> T | None:
        """Wait for a future of the caller's own; None, which it is set to, when time is up."""

        def give_up() -> None:
            if not future.done():
                future.set_result(None)

        if seconds <= 0 or not self._open:
            give_up()
        if future.done():
            return future.result()
        appointment = self.call_later(seconds, give_up)
        self._give_up[appointment] = give_up
        try:
            return await future
        finally:
            self._give_up.pop(appointment, None)
            appointment.cancel()

    def close(self) -> None:
        """Call nothing any more; who waits for a future waits no longer."""
        self._open = False
        for give_up in self._give_up.values():
            give_up()
        self._entries.clear()
        if self._sleeper is not None:
            self._sleeper.cancel()

    def count_cancelled(self) -> None:
        """Note that one more entry is of no use."""
        self._cancelled += 1
        if self._cancelled > _FEW and self._cancelled * 2 > len(self._entries):
            self._entries = [entry for entry in self._entries if entry[2].action is not None]
            heapq.heapify(self._entries)
            self._cancelled = 0

    def _set_alarm(self) -> None:
        if not self._open or not self._entries:
            return
        at = self._entries[0][0]
        if self._sleeper is not None:
            if self._wakes_at <= at:
                return
            self._sleeper.cancel()
        self._wakes_at = at
        self._sleeper = self._ctx.spawn(self._sleep(at), name="relay agenda")

    async def _sleep(self, at: float) -> None:
        await self._ctx.clock.sleep(max(0.0, at - self._ctx.clock.monotonic()))
        self._sleeper = None
        try:
            self._call_due()
        finally:
            self._set_alarm()

    def _call_due(self) -> None:
        now = self._ctx.clock.monotonic()
        while self._entries and self._entries[0][0] <= now:
            _, _, appointment = heapq.heappop(self._entries)
            action, appointment.action = appointment.action, None
            if action is None:
                self._cancelled = max(0, self._cancelled - 1)
            else:
                action()
