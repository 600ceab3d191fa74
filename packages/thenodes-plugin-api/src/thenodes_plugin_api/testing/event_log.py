"""A node's events in a test: all of them, and the sinks that plugins add."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ..events import Event, EventSink
from .wall import raise_if_ours

__all__ = ["EventLog", "PluginEvents"]

_QUEUE_EVENTS = 16_384


class EventLog:
    """Keeps every event of a node, and gives each to the sinks.

    A sink that is slow loses the newest events beyond 16384, as on a node.

    Attributes:
        events: all, oldest first.
        sink_failures: what sinks raised.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.sink_failures: list[BaseException] = []
        self._feeds: dict[int, _Feed] = {}

    def emit(self, event: Event) -> None:
        """Take an event."""
        self.events.append(event)
        for feed in self._feeds.values():
            feed.put(event)

    def add_sink(self, sink: EventSink) -> None:
        """Give the sink every event from now on."""
        if id(sink) not in self._feeds:
            self._feeds[id(sink)] = _Feed(sink, self.sink_failures.append)

    def remove_sink(self, sink: EventSink) -> None:
        """Give it none any more."""
        feed = self._feeds.pop(id(sink), None)
        if feed is not None:
            feed.task.cancel()


class _Feed:
    def __init__(self, sink: EventSink, failed: Callable[[BaseException], None]) -> None:
        self._sink = sink
        self._failed = failed
        self._queue: deque[Event] = deque()
        self._wake = asyncio.Event()
        self.task = asyncio.get_running_loop().create_task(self._run(), name="event sink")

    def put(self, event: Event) -> None:
        if len(self._queue) < _QUEUE_EVENTS:
            self._queue.append(event)
            self._wake.set()

    async def _run(self) -> None:
        while True:
            while self._queue:
                try:
                    await self._sink.handle(self._queue.popleft())
                except BaseException as error:
                    raise_if_ours(error)
                    self._failed(error)
            self._wake.clear()
            await self._wake.wait()


class PluginEvents:
    """The `events` of one context.

    Attributes:
        emitted: what this plugin emitted.
        sinks: those that this plugin added.
    """

    def __init__(self, log: EventLog) -> None:
        self.emitted: list[Event] = []
        self.sinks: list[EventSink] = []
        self._log = log

    def emit(self, event: Event) -> None:
        """Tell every sink.

        Raises:
            TypeError: it is not one of the event types.
        """
        if not isinstance(event, Event):
            raise TypeError(f"expected an event such as PluginEvent, got {type(event).__name__}")
        self.emitted.append(event)
        self._log.emit(event)

    def add_sink(self, sink: EventSink) -> None:
        """Give the sink every event from now on.

        Raises:
            TypeError: it has no method `handle`.
        """
        if not callable(getattr(sink, "handle", None)):
            raise TypeError(f"expected a sink with a handle method, got {type(sink).__name__}")
        self.sinks.append(sink)
        self._log.add_sink(sink)

    def close(self) -> None:
        """Take the sinks back."""
        for sink in self.sinks:
            self._log.remove_sink(sink)
