"""What relays granted this node: asked for, renewed, asked for again after a reconnect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from thenodes_plugin_api import (
    CardRefused,
    PluginContext,
    QoS,
    Reason,
    RelayBindAck,
    RelayUnbind,
)
from thenodes_plugin_api.service import ServiceSession

from ..counters import ClientCounter
from .agenda import Agenda
from .asks import Asks
from .flight import Flight
from .hints import ROUTE_HINTS
from .links import Link
from .refusals import Refusals
from .routes import Grant
from .turns import Turns

__all__ = ["ASK_SECONDS", "Grants", "Refused"]

ASK_SECONDS = 2.5
"""A relay has so long to answer before another is asked."""

_RENEW_SECONDS = 2700.0
_SWEEP_SECONDS = 60.0
_RECHECK_SECONDS = 2.0

# What says nothing about the next attempt, and is asked anew each time.
_FORGOTTEN = (Reason.UNKNOWN_TARGET, Reason.PEER_LEFT)


class Refused(msgspec.Struct, frozen=True):
    """A relay granted nothing: why, and the same in words."""

    reason: Reason
    detail: str


class Wish(msgspec.Struct):
    """A binding that a plugin asked for.

    Attributes:
        store: whether frames are to be kept.
        qos: of frames that name none.
        ends_at: Unix seconds; None for as long as the node runs.
    """

    store: bool
    qos: QoS
    ends_at: float | None = None


class Grants:
    """The named bindings of this node.

    One is renewed after 45 minutes; if nothing was sent on it meanwhile, it is given up.
    A refusal counts for a while, by its reason, but for `unknown_target`: that is asked anew
    whenever somebody wants to send.

    Args:
        ctx: the plugin's context.
        agenda: for deadlines.
        asks: to ask relays.
        flight: is told which targets may be sent to.
        random: returns a number in [0, 1).
    """

    def __init__(
        self,
        ctx: PluginContext,
        agenda: Agenda,
        asks: Asks,
        flight: Flight,
        random: Callable[[], float],
    ) -> None:
        self._ctx = ctx
        self._agenda = agenda
        self._asks = asks
        self._flight = flight
        self._refusals: Refusals[tuple[str, str]] = Refusals(random)
        self._bound: dict[tuple[str, str], Grant] = {}
        self._wishes: dict[tuple[str, str], Wish] = {}
        self._asking: dict[tuple[str, str, bool], list[asyncio.Future[Grant | Refused | None]]] = {}
        self._turns = Turns()

    def start(self) -> None:
        """Renew from now on."""
        self._agenda.call_later(_SWEEP_SECONDS, self._sweep)

    def count(self, relay: str) -> int:
        """How many targets are bound at a relay."""
        return sum(through == relay for through, _ in self._bound)

    def wished(self, to: str) -> list[str]:
        """The relays at which a plugin bound that target."""
        return [relay for relay, target in self._wishes if target == to]

    def wish(
        self, relay: str, to: str, *, store: bool, qos: QoS, ttl_seconds: float | None
    ) -> None:
        """A plugin asks for a binding, which holds across reconnects."""
        ends_at = None if ttl_seconds is None else self._ctx.clock.time() + ttl_seconds
        self._wishes[relay, to] = Wish(store, qos, ends_at)

    def unwish(self, relay: str, to: str) -> None:
        """It was refused."""
        self._wishes.pop((relay, to), None)

    async def get(
        self, link: Link, to: str, *, store: bool, timeout_seconds: float
    ) -> Grant | Refused:
        """A binding at a relay for a target: the one there is, or one that is asked for.

        Args:
            link: the relay.
            to: the target.
            store: whether frames are to be kept; a plugin's own binding decides for itself.
            timeout_seconds: how long to wait.
        """
        key = (link.relay, to)
        wish = self._wish(*key)
        store = wish.store if wish is not None else store and link.stores
        bound = self._bound.get(key)
        if bound is not None and bound.is_open and bound.store is store and self._is_fresh(bound):
            return bound
        if refusal := self._refusals.blocking(key, self._ctx.clock.monotonic()):
            left = refusal.until - self._ctx.clock.monotonic()
            return Refused(
                refusal.reason,
                f"{link.relay} refused {to}: {refusal.reason}; it is asked again in {left:.0f} s",
            )
        answer: asyncio.Future[Grant | Refused | None]
        answer = asyncio.get_running_loop().create_future()
        waiters = self._asking.setdefault((*key, store), [])
        waiters.append(answer)
        if len(waiters) == 1:
            self._ctx.spawn(self._ask(link, to, store), name=f"relay bind {to}")
        got: Grant | Refused | None = await self._agenda.within(answer, timeout_seconds)
        return got or Refused(
            Reason.TIMEOUT, f"{link.relay} has not answered within {timeout_seconds:g} s"
        )

    async def ask(
        self, link: Link, to: str, *, store: bool, qos: QoS, timeout_seconds: float
    ) -> RelayBindAck:
        """Ask a relay; what it grants is kept."""
        # One after the other: what is sent on the answer comes before the next question.
        async with self._turns.of((link.relay, to)):
            session = link.use()
            if session is None:
                return RelayBindAck(ok=False, reason=Reason.PEER_LEFT)
            wish = self._wish(link.relay, to)
            # Without a time it holds as long as the session: clocks need not agree.
            ends_at = None if wish is None else wish.ends_at
            if not self._is_for_reliable(link, store=store, own=wish is not None):
                # From the question on, and for as long as it has no answer.
                self.doubt(link.relay, to)
                self._flight.paused(link.relay, to)
            ack = await self._asks.ask(
                session,
                to,
                store=store,
                qos=qos,
                expires_at=None if ends_at is None else int(ends_at) + 1,
                card=None,
                timeout_seconds=timeout_seconds,
            )
            if ack.ok and link.session is session:
                self._take(link, session, to, ack, store=store, own=wish is not None)
            return ack

    def joined(self, link: Link) -> None:
        """A relay is there again: what plugins bound is bound again."""
        # What it refused before need not be so for this session.
        self._refusals.forget_where(lambda key: key[0] == link.relay)
        for relay, to in list(self._wishes):
            if relay == link.relay:
                self._restore(link, to)

    def lost(self, link: Link) -> None:
        """Its session ended, and every binding with it."""
        for relay, to in [key for key in self._bound if key[0] == link.relay]:
            self.drop(relay, to)

    def drop(self, relay: str, to: str) -> None:
        """A binding is over."""
        bound = self._bound.pop((relay, to), None)
        if bound is not None:
            # Routes still hold it.
            bound.is_stale = True
            self._flight.closed(relay, to)

    def ended(self, session: ServiceSession, binding_id: str) -> bool:
        """A relay says that the target of a binding left, or that the binding is over."""
        for bound in self._bound.values():
            if bound.binding_id == binding_id and bound.session is session:
                bound.is_stale = True
                bound.is_present = False
                self._restore(bound.link, bound.to)
                return True
        return False

    def doubt(self, relay: str, to: str) -> None:
        """A relay could not use a binding: it is asked for again before it is used."""
        bound = self._bound.get((relay, to))
        if bound is not None:
            bound.is_stale = True

    def needs(self, relay: str) -> bool:
        """Whether a plugin bound something there."""
        return any(through == relay for through, _ in self._wishes)

    def is_usable(self, bound: Grant, *, store: bool) -> bool:
        """Whether something may be sent on it without asking again."""
        return bound.is_open and bound.serves(store=store) and self._is_fresh(bound)

    def _is_fresh(self, bound: Grant) -> bool:
        if bound.is_stale or not bound.has_mailbox:
            return False
        # A target that was away may be elsewhere by now.
        age = self._ctx.clock.monotonic() - bound.granted_at
        return bound.is_present or age < _RECHECK_SECONDS

    def _restore(self, link: Link, to: str) -> None:
        """Ask again for what a plugin wants to hold."""
        wish = self._wish(link.relay, to)
        if wish is not None:
            self._ctx.spawn(
                self.get(link, to, store=wish.store, timeout_seconds=ASK_SECONDS),
                name=f"relay bind {to}",
            )

    async def _ask(self, link: Link, to: str, store: bool) -> None:
        key = (link.relay, to)
        wish = self._wish(*key)
        qos = wish.qos if wish is not None else QoS.HIGH_THROUGHPUT
        got: Grant | Refused = Refused(Reason.PEER_LEFT, f"no session with {link.relay}")
        try:
            ack = await self.ask(link, to, store=store, qos=qos, timeout_seconds=ASK_SECONDS)
            if ack.reason is Reason.QUOTA and self._make_room(link, to):
                ack = await self.ask(link, to, store=store, qos=qos, timeout_seconds=ASK_SECONDS)
            got = self._judge(link, to, ack)
        finally:
            for waiter in self._asking.pop((*key, store), ()):
                if not waiter.done():
                    waiter.set_result(got)

    def _judge(self, link: Link, to: str, ack: RelayBindAck) -> Grant | Refused:
        key = (link.relay, to)
        bound = self._bound.get(key)
        if ack.ok and bound is not None:
            self._refusals.forget(key)
            return bound
        reason = Reason.PEER_LEFT if ack.ok else ack.reason or Reason.DECLINED
        if reason not in _FORGOTTEN:
            self._refusals.note(key, reason, self._ctx.clock.monotonic())
        self._ctx.service.count(ClientCounter.REFUSED_BINDS, reason=reason.value)
        hint = ROUTE_HINTS.get(reason, "")
        return Refused(reason, f"{link.relay} granted no route to {to}: {reason}{hint}")

    def _take(
        self,
        link: Link,
        session: ServiceSession,
        to: str,
        ack: RelayBindAck,
        *,
        store: bool,
        own: bool,
    ) -> None:
        key = (link.relay, to)
        if ack.target_card is not None:
            self._learn(link.relay, to, ack.target_card)
        # Renewed in place: routes hold it. At the end again: the least recent one goes first.
        bound = self._bound.pop(key, None)
        if bound is None or bound.session is not session:
            bound = Grant(link, session, to, self._ctx.service.frame_bytes)
        bound.granted(ack, store=store, own=own, now=self._ctx.clock.monotonic())
        self._bound[key] = bound
        self._ctx.service.count(ClientCounter.BOUND)
        if bound.has_mailbox and self._is_for_reliable(link, store=store, own=own):
            self._flight.opened(link.relay, to, session)

    def _is_for_reliable(self, link: Link, *, store: bool, own: bool) -> bool:
        """Whether reliable frames go out on such a binding; if only to be refused."""
        return store or own or not link.stores

    def _learn(self, relay: str, to: str, card: bytes) -> None:
        try:
            if self._ctx.service.read_card(card).node_id != to:
                raise CardRefused(f"a card of another node than {to}")
            self._ctx.service.learn_card(card)
        except CardRefused as error:
            self._ctx.service.count(ClientCounter.CARDS_REFUSED)
            # It may well be an older one than this node knows.
            self._ctx.logger.info("%s handed on a card of %s: %s", relay, to, error)

    def _make_room(self, link: Link, to: str) -> bool:
        """Give up the binding there that is of least use, if there is one to spare."""
        spare = [
            bound
            for (relay, target), bound in self._bound.items()
            if relay == link.relay
            and target != to
            and not bound.is_own
            and self._flight.outstanding.lane(relay, target) is None
        ]
        if not spare:
            return False
        spare.sort(key=lambda bound: bound.is_used)
        self._unbind(spare[0])
        return True

    def _unbind(self, bound: Grant) -> None:
        if bound.is_open and bound.binding_id is not None:
            bound.session.send(RelayUnbind(bound.binding_id))
        self.drop(bound.link.relay, bound.to)

    def _sweep(self) -> None:
        now = self._ctx.clock.monotonic()
        for (relay, to), bound in list(self._bound.items()):
            if now - bound.granted_at < _RENEW_SECONDS or not bound.is_open:
                continue
            lane = self._flight.outstanding.lane(relay, to)
            if bound.is_used or lane is not None or self._wish(relay, to) is not None:
                bound.is_stale = True
                self._ctx.spawn(
                    self.get(bound.link, to, store=bound.store, timeout_seconds=ASK_SECONDS),
                    name=f"relay bind {to}",
                )
            else:
                self._unbind(bound)
        self._agenda.call_later(_SWEEP_SECONDS, self._sweep)

    def _wish(self, relay: str, to: str) -> Wish | None:
        wish = self._wishes.get((relay, to))
        if wish is not None and wish.ends_at is not None and wish.ends_at <= self._ctx.clock.time():
            del self._wishes[relay, to]
            return None
        return wish
