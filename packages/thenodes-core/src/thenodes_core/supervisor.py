"""The node's own background work: begun, kept going, and ended with the node."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self, TypeAlias

from thenodes_plugin_api import Level, SystemEvent

from .clock import Clock
from .events.counters import Counters
from .events.dispatcher import Dispatcher

__all__ = ["Supervisor", "Work"]

_DEFECT_PAUSE_SECONDS = 10.0

Work: TypeAlias = Callable[[], Awaitable[object]]

_log = logging.getLogger("thenodes.node")


class Supervisor:
    """Owns the tasks of a node; on leaving its context they are cancelled.

    A defect in one of them is told and counted, and harms no other.

    Args:
        events: told of defects.
        counters: counts them.
        clock: times the pause after one.
    """

    def __init__(self, events: Dispatcher, counters: Counters, clock: Clock) -> None:
        self._events = events
        self._counters = counters
        self._clock = clock
        self._stack = AsyncExitStack()
        self._background: set[asyncio.Task[None]] = set()
        self._group: asyncio.TaskGroup

    async def __aenter__(self) -> Self:
        self._group = await self._stack.enter_async_context(asyncio.TaskGroup())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in list(self._background):
            task.cancel()
        await self._stack.aclose()

    def spawn(self, work: Work, name: str) -> None:
        """Do work in the background, at most until the node stops."""
        self._keep(self._do(work), name)

    def spawn_for_ever(self, work: Work, name: str) -> None:
        """As `spawn`, for work that never ends: a defect interrupts it, and it is begun anew."""
        self._keep(self._do_for_ever(work), name)

    async def supervise(self, work: Awaitable[object]) -> bool:
        """Do work; False where a defect of ours ended it."""
        try:
            await work
            return True
        except Exception as error:
            # A defect of ours in one session must not end the others.
            _log.exception("internal error")
            self._counters.add("internal_errors")
            self._events.emit(
                SystemEvent(
                    action="internal_error",
                    detail=f"internal error: {error!r}",
                    level=Level.ERROR,
                    at=self._clock.time(),
                )
            )
            return False

    def _keep(self, work: Coroutine[object, object, None], name: str) -> None:
        task = self._group.create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _do(self, work: Work) -> None:
        await self.supervise(work())

    async def _do_for_ever(self, work: Work) -> None:
        while not await self.supervise(work()):
            await self._clock.sleep(_DEFECT_PAUSE_SECONDS)
