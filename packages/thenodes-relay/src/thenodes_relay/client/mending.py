"""Brings frames that have no route any more to a relay again: to theirs, or to another."""

from __future__ import annotations

from collections.abc import Callable

from thenodes_plugin_api import PluginContext, Reason

from .carrier import RelayCarrier
from .flight import Flight
from .grants import ASK_SECONDS, Grants, Refused
from .links import Link, Links
from .outstanding import Lane
from .routes import Grant

__all__ = ["Mender"]

_GRACE_SECONDS = 1.5
_FIRST_SECONDS = 0.5
_MOST_SECONDS = 10.0

# What does not go by itself: senders are told, instead of waiting until frames expire.
_FINAL = (Reason.POLICY_DENIED, Reason.UNAUTHENTICATED)


class Mender:
    """Looks after lanes whose route is gone, one task for each.

    A relay whose session was cut has 1.5 s to come back; it may have some of the frames. One
    that fell silent had its time.

    Args:
        ctx: the plugin's context.
        links: the relays.
        grants: asks them.
        flight: has the frames.
        carrier: finds another relay.
        random: returns a number in [0, 1).
    """

    def __init__(
        self,
        ctx: PluginContext,
        links: Links,
        grants: Grants,
        flight: Flight,
        carrier: RelayCarrier,
        random: Callable[[], float],
    ) -> None:
        self._ctx = ctx
        self._links = links
        self._grants = grants
        self._flight = flight
        self._carrier = carrier
        self._random = random
        self._mending: set[tuple[str, str]] = set()
        self._is_open = True

    def mend(self, relay: str, to: str) -> None:
        """Look after what goes to a target through a relay."""
        if self._is_open and (relay, to) not in self._mending:
            self._mending.add((relay, to))
            self._ctx.spawn(self._mend(relay, to), name=f"relay mend {to}")

    def stop(self) -> None:
        """Begin nothing any more."""
        self._is_open = False

    async def _mend(self, relay: str, to: str) -> None:
        attempts = 0
        try:
            while (lane := self._flight.outstanding.lane(relay, to)) is not None:
                if self._flight.is_open(relay, to):
                    return
                resting = lane.rests_until - self._ctx.clock.monotonic()
                seconds = max(self._grace(relay), resting)
                if seconds <= 0:
                    if await self._attempt(lane):
                        continue
                    seconds = self._pause(attempts)
                    attempts += 1
                await self._links.change(seconds)
        finally:
            self._mending.discard((relay, to))

    async def _attempt(self, lane: Lane) -> bool:
        """Try its relay, then others; True where something came of it."""
        link = self._links.get(lane.relay)
        got: Grant | Refused | None = None
        if link is not None and link.is_up:
            got = await self._grants.get(link, lane.to, store=True, timeout_seconds=ASK_SECONDS)
            if isinstance(got, Grant):
                return self._flight.is_open(lane.relay, lane.to)
        if lane.loose:
            other = await self._carrier.find(
                lane.to,
                store=True,
                deadline=self._ctx.clock.monotonic() + 2 * ASK_SECONDS,
                without=lane.relay,
            )
            if isinstance(other, Grant):
                self._flight.move(lane.relay, lane.to, other.link.relay)
                return True
        if isinstance(got, Refused) and got.reason in _FINAL:
            self._flight.abandon(lane.relay, lane.to, got.reason, got.detail)
            return True
        return False

    def _grace(self, relay: str) -> float:
        link: Link | None = self._links.get(relay)
        if link is None or link.is_up or link.is_leaving or link.lost_at is None:
            return 0.0
        return link.lost_at + _GRACE_SECONDS - self._ctx.clock.monotonic()

    def _pause(self, attempts: int) -> float:
        bound = min(_MOST_SECONDS, _FIRST_SECONDS * 2.0 ** min(attempts, 10))
        return bound * (0.5 + 0.5 * self._random())
