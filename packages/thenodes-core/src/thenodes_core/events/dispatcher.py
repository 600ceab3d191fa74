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

_BATCH_EVENTS = 1024
_COMPLAIN_EVERY_SECONDS = 60.0

_log = logging.getLogger("thenodes.events")


@runtime_checkable
class BatchSink(Protocol):
    """A sink that takes what has gathered for it at once."""

    async def handle(self, event: Event) -> None:
        """Take one event."""
        ...

    async def handle_batch(self, events: Sequence[Event]) -> None:
        """Take events, in order; at the end once more with none, to write what it held back."""
        ...


class Dispatcher:
    """A bounded queue and a task for each sink.

    Nobody waits: where a sink's queue is full the event is dropped for that
    sink and counted as `events_dropped`; the sink is told how many it missed
    once it goes on. What a sink raises is counted as `event_sink_failures`, and
    logged at most once a minute.

    Args:
        counters: counts drops and failures.
        queue_events: the bound of each queue.
        flush_seconds: time that sinks get at the end.
        monotonic: seconds of a clock that does not go back.
    """

    def __init__(
        self,
        counters: Counters,
        *,
        queue_events: int = 16_384,
        flush_seconds: float = 0.5,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counters = counters
        self._queue_events = queue_events
        self._flush_seconds = flush_seconds
        self._monotonic = monotonic
        self._feeds: dict[int, _Feed] = {}
        self._first: deque[Event] | None = deque(maxlen=_BATCH_EVENTS)

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

    def add_sink(self, sink: EventSink, *, from_the_first: bool = False) -> None:
        """Give the sink every event from now on. Needs a running event loop.

        Args:
            sink: takes them.
            from_the_first: those that came before as well, if `forget_first` was not
                called: at most 1024.
        """
        if id(sink) in self._feeds:
            return
        feed = _Feed(sink, self._counters, self._queue_events, self._monotonic)
        self._feeds[id(sink)] = feed
        for event in self._first or () if from_the_first else ():
            feed.put(event)

    def forget_first(self) -> None:
        """Keep the first events no longer: every sink that wants them has them."""
        self._first = None

    def remove_sink(self, sink: EventSink) -> None:
        """Give it none any more; what is queued for it is dropped."""
        feed = self._feeds.pop(id(sink), None)
        if feed is not None:
            feed.task.cancel()

    def emit(self, event: Event) -> None:
        """Queue an event for every sink; never waits, never raises."""
        if self._first is not None:
            self._first.append(event)
        for feed in self._feeds.values():
            feed.put(event)


class _Feed:
    def __init__(
        self, sink: EventSink, counters: Counters, most: int, monotonic: Callable[[], float]
    ) -> None:
        self._sink = sink
        self._counters = counters
        self._most = most
        self._monotonic = monotonic
        self._queue: deque[Event] = deque()
        self._missed = 0
        self._complained_at: float | None = None
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
        most = _BATCH_EVENTS if isinstance(self._sink, BatchSink) else 1
        while True:
            while self._queue:
                await self._handle(
                    [self._queue.popleft() for _ in range(min(most, len(self._queue)))]
                )
                if not self._queue and self._missed:
                    missed, self._missed = self._missed, 0
                    await self._handle([_missed(missed)])
            if self._finishing:
                if isinstance(self._sink, BatchSink):
                    await self._handle([])
                return
            self._wake.clear()
            await self._wake.wait()

    async def _handle(self, events: Sequence[Event]) -> None:
        try:
            if isinstance(self._sink, BatchSink):
                await self._sink.handle_batch(events)
            else:
                await self._sink.handle(events[0])
        except asyncio.CancelledError:
            if self.task.cancelling():
                raise
            # Something that the sink waited for was cancelled, not this task.
            self._complain()
        except OSError as error:
            self._complain(error)
        except (Exception, SystemExit):
            # A sink may be a plugin's: whatever it raises stays here.
            self._complain()

    def _complain(self, error: OSError | None = None) -> None:
        self._counters.add("event_sink_failures")
        now, last = self._monotonic(), self._complained_at
        if last is None or now - last >= _COMPLAIN_EVERY_SECONDS:
            self._complained_at = now
            name = type(self._sink).__name__
            if error is None:
                _log.exception("event sink %s failed", name)
            else:
                _log.error("event sink %s cannot write: %s", name, error)


def _missed(count: int) -> Event:
    return SystemEvent(
        level=Level.WARNING,
        action="events_dropped",
        detail=f"{count} events were dropped here: this sink is too slow",
    )
