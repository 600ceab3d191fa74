"""Gives events to sinks without ever making the caller wait."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from thenodes_plugin_api import Event, EventSink, Level, SystemEvent

from .counters import Counters

__all__ = ["BatchSink", "Dispatcher"]

_log = logging.getLogger("thenodes.events")

_LOG_INTERVAL_SECONDS = 60.0


@runtime_checkable
class BatchSink(Protocol):
    """What a sink has, besides `handle`, to be given all that is queued for it at once."""

    async def handle_batch(self, events: Sequence[Event]) -> None:
        """Take events, in order. At the end it is called once more, with none, to flush."""
        ...


class Dispatcher:
    """A bounded queue and a task for each sink.

    Nobody waits: where a sink's queue is full the event is dropped for that
    sink and counted as `events_dropped`; the sink is told how many it missed
    once it goes on. What a sink raises is counted as `event_sink_failures`
    each time, and logged once a minute and sink at most.

    Args:
        counters: counts drops and failures.
        queue_events: the bound of each queue. A burst of that many, in one
            turn of the event loop, loses nothing.
        flush_seconds: time that sinks get at the end.
        monotonic: seconds that never go back, which space the log lines.
    """

    def __init__(
        self,
        counters: Counters,
        *,
        queue_events: int = 16384,
        flush_seconds: float = 0.5,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counters = counters
        self._queue_events = queue_events
        self._flush_seconds = flush_seconds
        self._monotonic = monotonic
        self._feeds: dict[int, _Feed] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        feeds, self._feeds = list(self._feeds.values()), {}
        for feed in feeds:
            feed.finish()
        tasks = [feed.task for feed in feeds]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._flush_seconds)
            for task in late:
                task.cancel()
            if late:
                # A sink that does not let itself be cancelled is left behind.
                await asyncio.wait(late, timeout=self._flush_seconds)

    def add_sink(self, sink: EventSink) -> None:
        """Give the sink every event from now on. Needs a running event loop."""
        if id(sink) not in self._feeds:
            failures = _Failures(type(sink).__name__, self._counters, self._monotonic)
            self._feeds[id(sink)] = _Feed(sink, self._counters, failures, self._queue_events)

    def remove_sink(self, sink: EventSink) -> None:
        """Give it none any more; what is queued for it is dropped."""
        feed = self._feeds.pop(id(sink), None)
        if feed is not None:
            feed.task.cancel()

    def emit(self, event: Event) -> None:
        """Queue an event for every sink; never waits, never raises."""
        for feed in self._feeds.values():
            feed.put(event)


class _Feed:
    def __init__(
        self, sink: EventSink, counters: Counters, failures: _Failures, most: int
    ) -> None:
        self._sink = sink
        self._batch_sink = sink if isinstance(sink, BatchSink) else None
        self._counters = counters
        self._failures = failures
        self._most = most
        self._queue: deque[Event] = deque()
        self._missed = 0
        self._finishing = False
        self._wake = asyncio.Event()
        self.task = asyncio.get_running_loop().create_task(self._run(), name="event sink")

    def put(self, event: Event) -> None:
        if len(self._queue) >= self._most:
            self._missed += 1
            self._counters.add("events_dropped")
            return
        self._queue.append(event)
        self._wake.set()

    def finish(self) -> None:
        self._finishing = True
        self._wake.set()

    async def _run(self) -> None:
        while True:
            while self._queue or self._missed:
                await self._hand_over(self._take())
            if self._finishing:
                if self._batch_sink is not None:
                    await self._hand_over([])
                return
            self._wake.clear()
            await self._wake.wait()

    def _take(self) -> list[Event]:
        if self._batch_sink is None and self._queue:
            return [self._queue.popleft()]
        batch = list(self._queue)
        self._queue.clear()
        if self._missed:
            # Events are dropped while the queue is full, so after all that was in it.
            batch.append(_missed(self._missed))
            self._missed = 0
        return batch

    async def _hand_over(self, batch: list[Event]) -> None:
        try:
            if self._batch_sink is not None:
                await self._batch_sink.handle_batch(batch)
            else:
                for event in batch:
                    await self._sink.handle(event)
        except asyncio.CancelledError:
            if self.task.cancelling():
                raise
            # Not this task was cancelled, but something that the sink waited for.
            self._failures.add()
        except (Exception, SystemExit):
            # A sink may be a plugin's: whatever it raises stays here.
            self._failures.add()


class _Failures:
    def __init__(self, name: str, counters: Counters, monotonic: Callable[[], float]) -> None:
        self._name = name
        self._counters = counters
        self._monotonic = monotonic
        self._unlogged = 0
        self._next_log = -float("inf")

    def add(self) -> None:
        """Count the exception that is being handled, and log it unless one was just logged."""
        self._counters.add("event_sink_failures")
        now = self._monotonic()
        if now < self._next_log:
            self._unlogged += 1
            return
        _log.exception(
            "event sink %s failed (%d failures before it were not logged)",
            self._name,
            self._unlogged,
        )
        self._next_log = now + _LOG_INTERVAL_SECONDS
        self._unlogged = 0


def _missed(count: int) -> Event:
    return SystemEvent(
        level=Level.WARNING,
        action="events_dropped",
        detail=f"{count} events were dropped here: this sink is too slow",
    )
