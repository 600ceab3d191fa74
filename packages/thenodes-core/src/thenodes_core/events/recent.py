"""What happened lately, kept in memory for whoever asks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeAlias

from thenodes_plugin_api import Event, Level, SystemEvent

__all__ = ["RecentEvents", "Subscription", "Wanted"]

_MOST_EVENTS = 1000
_MOST_PROBLEMS = 32
_MOST_SUBSCRIPTIONS = 16
_SEVERE = Level.WARNING.severity

Wanted: TypeAlias = Callable[[Event], bool]
"""Whether an event is of those that somebody asked for."""


class RecentEvents:
    """A sink that keeps the last events, and the last warnings and errors apart.

    A flood of harmless events does not push out a warning. Beyond its bound the oldest
    goes; what is kept is gone when the node stops, unlike the log.

    Args:
        most: how many events are kept.
        most_problems: how many warnings and errors.

    Attributes:
        unread: warnings and errors since `mark_read`, also those that are no longer kept.
    """

    def __init__(self, *, most: int = _MOST_EVENTS, most_problems: int = _MOST_PROBLEMS) -> None:
        self._events: deque[Event] = deque(maxlen=most)
        self._problems: deque[Event] = deque(maxlen=most_problems)
        self._subscriptions: list[Subscription] = []
        self.unread = 0

    async def handle(self, event: Event) -> None:
        """Keep an event."""
        await self.handle_batch([event])

    async def handle_batch(self, events: Sequence[Event]) -> None:
        """Keep events, in order."""
        self._events.extend(events)
        problems = [event for event in events if event.level.severity >= _SEVERE]
        self._problems.extend(problems)
        self.unread += len(problems)
        for subscription in self._subscriptions:
            subscription.put(events)

    @property
    def problems(self) -> Sequence[Event]:
        """The last warnings and errors, oldest first."""
        return list(self._problems)

    def mark_read(self) -> None:
        """Somebody has seen the warnings and errors so far."""
        self.unread = 0

    def last(self, count: int, wanted: Wanted = lambda event: True) -> Sequence[Event]:
        """The last events of those that are wanted, at most `count`, oldest first."""
        found: list[Event] = []
        for event in reversed(self._events):
            if len(found) >= count:
                break
            if wanted(event):
                found.append(event)
        return found[::-1]

    def subscribe(self, wanted: Wanted = lambda event: True) -> Subscription | None:
        """Follow what happens from now on; None where 16 do so already."""
        if len(self._subscriptions) >= _MOST_SUBSCRIPTIONS:
            return None
        subscription = Subscription(wanted, self._subscriptions.remove)
        self._subscriptions.append(subscription)
        return subscription


class Subscription:
    """Events as they happen, for one reader, until the end of its context.

    At most 1000 wait to be read. Beyond that the oldest are dropped, and the reader is
    given an event that says how many, in their place.

    Args:
        wanted: says which.
        forget: ends it.
        most: how many may wait.
    """

    def __init__(
        self,
        wanted: Wanted,
        forget: Callable[[Subscription], object],
        *,
        most: int = _MOST_EVENTS,
    ) -> None:
        self._wanted = wanted
        self._forget = forget
        self._most = most
        self._waiting: deque[Event] = deque()
        self._skipped = 0
        self._arrived = asyncio.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._forget(self)

    def put(self, events: Sequence[Event]) -> None:
        """Let those wait that are wanted."""
        self._waiting.extend(event for event in events if self._wanted(event))
        while len(self._waiting) > self._most:
            self._waiting.popleft()
            self._skipped += 1
        if self._waiting:
            self._arrived.set()

    async def next(self) -> Event:
        """The next event, once there is one."""
        await self._arrived.wait()
        if self._skipped:
            skipped, self._skipped = self._skipped, 0
            return _skipped(skipped, self._waiting[0].at)
        event = self._waiting.popleft()
        if not self._waiting:
            self._arrived.clear()
        return event


def _skipped(count: int, at: float) -> Event:
    return SystemEvent(
        level=Level.WARNING,
        action="events_dropped",
        detail=f"{count} events were skipped here: they came faster than they were read",
        at=at,
    )
