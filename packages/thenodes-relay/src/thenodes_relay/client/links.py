"""The relays that this node has, or had, a session with."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from thenodes_plugin_api import PluginContext
from thenodes_plugin_api.service import ServiceSession

from .agenda import Agenda
from .recent import Recent

__all__ = ["WATCH_SECONDS", "Link", "Links"]

WATCH_SECONDS = 2.0
"""A relay that is used has so long to be silent before it is asked for a sign of life."""

_SETTLING_SECONDS = 5.0


class Link:
    """One relay.

    Attributes:
        relay: its node id.
        session: the session with it; None while there is none.
        lost_at: when the last one was cut, of the monotonic clock; None where it fell silent.
        is_leaving: whether it said that it is about to restart.
        stores: whether it keeps frames for targets that are away.
        waiting: what is done when the session has room, in order.
        recent: for whom the last frames were that are not reliable.
    """

    def __init__(self, relay: str) -> None:
        self.relay = relay
        self.session: ServiceSession | None = None
        self.lost_at: float | None = None
        self.is_leaving = False
        self.stores = False
        self.recent = Recent()
        self._is_watched = False
        self.waiting: deque[Callable[[], bool]] = deque()
        self._room_asked = False

    @property
    def is_up(self) -> bool:
        """Whether it may be asked for something new."""
        return self.session is not None and self.session.is_open and not self.is_leaving

    def up(self, session: ServiceSession) -> None:
        """There is a session with it, which may take the place of another."""
        self.session = session
        self.is_leaving = False
        self.stores = "relay_store_forward" in session.peer.capabilities
        self._is_watched = False
        self._forget_waiting()

    def down(self, now: float) -> None:
        """There is none any more."""
        self.session = None
        self.lost_at = now
        self._forget_waiting()

    def use(self) -> ServiceSession | None:
        """The session, from now on watched more closely than others."""
        if self.session is not None and not self._is_watched:
            self._is_watched = True
            self.session.watch_closely(WATCH_SECONDS)
        return self.session

    def wait_for_room(self, action: Callable[[], bool]) -> None:
        """Call `action` when the session has room, again and again until it returns True.

        Those who wait come in their order; whoever waits on a session that ends is called
        once more.
        """
        self.waiting.append(action)
        self._ask_for_room()

    def _ask_for_room(self) -> None:
        if self.session is None or self._room_asked or not self.waiting:
            return
        self._room_asked = True
        session = self.session

        def has_room() -> None:
            if session is self.session:
                self._room_asked = False
                self._serve_waiting()

        session.on_room(has_room)

    def _serve_waiting(self) -> None:
        while self.waiting:
            action = self.waiting[0]
            if not action():
                self._ask_for_room()
                return
            self.waiting.popleft()

    def _forget_waiting(self) -> None:
        self._room_asked = False
        waiting, self.waiting = self.waiting, deque()
        for action in waiting:
            action()


class Links:
    """Every relay by its node id, and whoever waits for one to come."""

    def __init__(self, ctx: PluginContext, agenda: Agenda) -> None:
        self._clock = ctx.clock
        self._agenda = agenda
        self._links: dict[str, Link] = {}
        self._watchers: set[asyncio.Future[bool | None]] = set()
        self._changed_at = float("-inf")

    def get(self, relay: str) -> Link | None:
        """What is known of a relay."""
        return self._links.get(relay)

    def all(self) -> list[Link]:
        """Every one that is known."""
        return list(self._links.values())

    @property
    def is_settling(self) -> bool:
        """Whether one came or went in the last 5 s; others may not yet be where they will be."""
        return self._clock.monotonic() - self._changed_at < _SETTLING_SECONDS

    def joined(self, session: ServiceSession) -> Link:
        """A session with a relay was established."""
        relay = session.peer.node_id
        link = self._links.get(relay)
        if link is None:
            link = self._links[relay] = Link(relay)
        link.up(session)
        self._changed()
        return link

    def left(self, session: ServiceSession) -> Link | None:
        """A session ended; returns the relay that is without one because of that."""
        link = self._links.get(session.peer.node_id)
        if link is None or link.session is not session:
            return None
        link.down(self._clock.monotonic())
        self._changed()
        return link

    def returned(self, link: Link) -> None:
        """One that said it is about to stop may be asked again, on the session there is."""
        link.is_leaving = False
        self._changed()

    def forget(self, relay: str) -> None:
        """It is of no use any more."""
        self._links.pop(relay, None)

    async def change(self, seconds: float) -> None:
        """Wait until a relay comes or goes, at most so long."""
        changed: asyncio.Future[bool | None] = asyncio.get_running_loop().create_future()
        self._watchers.add(changed)
        try:
            await self._agenda.within(changed, seconds)
        finally:
            self._watchers.discard(changed)

    def _changed(self) -> None:
        self._changed_at = self._clock.monotonic()
        for watcher in self._watchers:
            if not watcher.done():
                watcher.set_result(True)
