"""Chooses the relay for a target, and opens the route."""

from __future__ import annotations

from collections.abc import Iterator

from thenodes_plugin_api import DeliveryOptions, NoRoute, PluginContext, QoS, Reason, RelayBindAck

from .agenda import Agenda
from .flight import Flight
from .grants import ASK_SECONDS, Grants, Refused
from .keeper import Keeper
from .links import Link, Links
from .routes import ClientRoute, Grant

__all__ = ["RelayCarrier"]

_RETRY_SECONDS = 0.5
_ROUTES = 1024
_NAMED = 8


class RelayCarrier:
    """A `Carrier` over the relays that this node has sessions with.

    A target is looked for where a plugin bound it, then at the relays of its card, then at
    this node's own in their order for that target. The first where it is present is taken;
    else the first that keeps frames for it.

    Args:
        ctx: the plugin's context.
        agenda: for deadlines.
        links: the relays.
        grants: asks them.
        flight: takes reliable frames.
        keeper: says which relays this node may choose, and has its mailboxes.
        expects_relays: whether the operator named relays, so that it is worth waiting for one.
    """

    def __init__(
        self,
        ctx: PluginContext,
        agenda: Agenda,
        links: Links,
        grants: Grants,
        flight: Flight,
        keeper: Keeper,
        *,
        expects_relays: bool,
    ) -> None:
        self._ctx = ctx
        self._agenda = agenda
        self._links = links
        self._grants = grants
        self._flight = flight
        self._keeper = keeper
        self._expects_relays = expects_relays
        self._ready: dict[str, ClientRoute] = {}
        self._most_ready = _ROUTES
        self._is_closed = False

    def close(self) -> None:
        """Open no routes any more: this node stops."""
        self._is_closed = True
        self._ready.clear()

    def ready(self, to: str, options: DeliveryOptions) -> ClientRoute | None:
        """A route that is open; see `Carrier.ready`."""
        route = self._ready.get(to)
        if route is None:
            return None
        grant = route.grant
        # Most are like that; asking for more takes as long as all the rest.
        if grant.is_present and not grant.is_stale and grant.store is options.store:
            return route
        return route if self._grants.is_usable(grant, store=options.store) else None

    async def open(
        self, to: str, options: DeliveryOptions, *, relay: str | None, timeout_seconds: float
    ) -> ClientRoute:
        """Open a route; see `Carrier.open`."""
        deadline = self._ctx.clock.monotonic() + timeout_seconds
        if to == self._ctx.node_id:
            raise NoRoute(Reason.UNKNOWN_TARGET, f"{to} is this node itself")
        refused: Refused | None = None
        while True:
            if self._is_closed:
                raise NoRoute(Reason.RESTARTING, f"no way to {to} any more: this node stops")
            found = (
                await self.find(to, store=options.store, deadline=deadline)
                if relay is None
                else await self._through(relay, to, store=options.store, deadline=deadline)
            )
            if isinstance(found, Grant):
                break
            # That there was no time for another answer says less than the answer before.
            refused = found if refused is None or found.reason is not Reason.TIMEOUT else refused
            left = deadline - self._ctx.clock.monotonic()
            if left <= 0 or not self._may_change(found):
                raise NoRoute(refused.reason, refused.detail)
            await self._links.change(min(_RETRY_SECONDS, left))
        route = ClientRoute(found, self._flight, self._agenda, pinned=relay is not None)
        if relay is None:
            self._ready[to] = route
            self._tidy()
        return route

    async def bind(
        self,
        relay: str,
        target: str,
        *,
        store_forward: bool,
        qos: QoS,
        ttl_seconds: float | None,
        timeout_seconds: float,
    ) -> RelayBindAck:
        """Ask a relay for a binding, for a plugin; see `Carrier.bind`."""
        link = self._links.get(relay)
        if link is None or not link.is_up:
            self._ctx.logger.info("a plugin's bind was not sent: %s", _why_not(link, relay))
            return RelayBindAck(ok=False, reason=Reason.PEER_LEFT)
        if target == "*":
            return await self._keeper.bind(
                link, store=store_forward, ttl_seconds=ttl_seconds, timeout_seconds=timeout_seconds
            )
        self._grants.wish(relay, target, store=store_forward, qos=qos, ttl_seconds=ttl_seconds)
        ack = await self._grants.ask(
            link, target, store=store_forward, qos=qos, timeout_seconds=timeout_seconds
        )
        if not ack.ok:
            self._grants.unwish(relay, target)
        return ack

    async def find(
        self, to: str, *, store: bool, deadline: float, without: str | None = None
    ) -> Grant | Refused:
        """Ask relays in their order for a route to a target.

        Args:
            to: the target.
            store: whether frames are to be kept for it.
            deadline: of the monotonic clock.
            without: a relay that is not asked.
        """
        tried = {without, to}
        away: Grant | None = None
        refused = Refused(Reason.PEER_LEFT, self._why_none(to))
        # The order is made anew each time: an answer may have brought the target's card.
        while link := next(self._candidates(to, tried), None):
            tried.add(link.relay)
            left = deadline - self._ctx.clock.monotonic()
            got = await self._ask(link, to, store=store, seconds=min(ASK_SECONDS, left))
            if isinstance(got, Refused):
                refused = got
            elif got.is_present:
                return got
            else:
                away = away or got
        return away or refused

    def _tidy(self) -> None:
        """Forget routes that are gone, whenever there are twice as many as were left last time."""
        if len(self._ready) > self._most_ready:
            self._ready = {to: route for to, route in self._ready.items() if route.grant.is_open}
            self._most_ready = max(_ROUTES, 2 * len(self._ready))

    async def _through(
        self, relay: str, to: str, *, store: bool, deadline: float
    ) -> Grant | Refused:
        link = self._links.get(relay)
        if link is None or not link.is_up:
            return Refused(Reason.PEER_LEFT, _why_not(link, relay))
        left = deadline - self._ctx.clock.monotonic()
        return await self._ask(link, to, store=store, seconds=left)

    async def _ask(self, link: Link, to: str, *, store: bool, seconds: float) -> Grant | Refused:
        got = await self._grants.get(link, to, store=store, timeout_seconds=seconds)
        if isinstance(got, Grant) and not got.has_mailbox:
            # Where nothing is to be kept, a relay grants also what it does not know.
            return Refused(Reason.UNKNOWN_TARGET, f"{link.relay} does not know {to}")
        return got

    def _candidates(self, to: str, tried: set[str | None]) -> Iterator[Link]:
        card = self._ctx.service.card_of(to)
        named = card.relays if card is not None else ()
        for relay in (*self._grants.wished(to), *named, *self._keeper.order(to)):
            link = self._links.get(relay)
            if relay not in tried and link is not None and link.is_up:
                yield link

    def _why_none(self, to: str) -> str:
        leaving = [link.relay for link in self._links.all() if link.is_leaving and link.session]
        if leaving:
            return f"no way to {to} but through relays about to stop: {', '.join(leaving[:_NAMED])}"
        return f"no way to {to}: no relay that may carry it is connected"

    def _may_change(self, refused: Refused) -> bool:
        """Whether a relay that is missing, or says nothing, may yet come, or a target at it."""
        if refused.reason in (Reason.PEER_LEFT, Reason.TIMEOUT):
            return self._expects_relays or bool(self._links.all())
        return refused.reason is Reason.UNKNOWN_TARGET and self._links.is_settling


def _why_not(link: Link | None, relay: str) -> str:
    if link is None:
        return f"{relay} is no relay that is connected; expected its node id, not an address"
    return f"{relay} is about to stop" if link.session else f"{relay} is not connected now"
