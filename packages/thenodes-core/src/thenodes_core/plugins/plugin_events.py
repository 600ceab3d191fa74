"""The node's events, as a plugin has them: what its sinks raise harms nobody else."""

from __future__ import annotations

from collections.abc import Callable

from thenodes_plugin_api import Event, EventSink

from ..events.dispatcher import Dispatcher
from .containment import raise_if_ours

__all__ = ["PluginEvents"]


class _ContainedSink:
    def __init__(self, sink: EventSink, fault: Callable[[BaseException], None]) -> None:
        self.sink = sink
        self._fault = fault

    async def handle(self, event: Event) -> None:
        try:
            await self.sink.handle(event)
        except BaseException as error:
            raise_if_ours(error)
            self._fault(error)


class PluginEvents:
    """A plugin's `Events`.

    Args:
        dispatcher: the node's.
        fault: told of what a sink raises.
    """

    def __init__(self, dispatcher: Dispatcher, fault: Callable[[BaseException], None]) -> None:
        self._dispatcher = dispatcher
        self._fault = fault
        self._sinks: list[_ContainedSink] = []

    def emit(self, event: Event) -> None:
        """Tell every sink."""
        if not isinstance(event, Event):
            raise TypeError(f"expected an event such as PluginEvent, got {type(event).__name__}")
        self._dispatcher.emit(event)

    def add_sink(self, sink: EventSink) -> None:
        """Give the sink every event from now on."""
        if not callable(getattr(sink, "handle", None)):
            raise TypeError(f"expected a sink with a handle method, got {type(sink).__name__}")
        if any(known.sink is sink for known in self._sinks):
            return
        contained = _ContainedSink(sink, self._fault)
        self._sinks.append(contained)
        self._dispatcher.add_sink(contained)

    def close(self) -> None:
        """Give its sinks nothing more."""
        for sink in self._sinks:
            self._dispatcher.remove_sink(sink)
