"""Keeps this node's mailboxes open, and its card and relays in agreement."""

from __future__ import annotations

import logging

from thenodes_plugin_api import PluginContext, QoS, Reason, RelayBindAck, RelayNotify

from ..counters import ClientCounter
from .agenda import Agenda, Appointment
from .asks import Asks
from .hints import MAILBOX_HINTS
from .links import Link, Links
from .mailboxes import Choice, Mailboxes, order_relays

__all__ = ["Keeper"]

_SHOWN = 256
_ASK_SECONDS = 5.0
_CARD_SECONDS = 3600.0

# As high as the limit may be set.
_FRAME_BYTES_MAX = 10**9


class Keeper:
    """Asks the relays that `Mailboxes` chooses, with the card that names them.

    Args:
        ctx: the plugin's context.
        agenda: for deadlines.
        links: the relays.
        asks: to ask them.
        mailboxes: decides.
        rendezvous: whether relays are ordered by hash.
    """

    def __init__(
        self,
        ctx: PluginContext,
        agenda: Agenda,
        links: Links,
        asks: Asks,
        mailboxes: Mailboxes,
        *,
        rendezvous: bool,
    ) -> None:
        self._ctx = ctx
        self._agenda = agenda
        self._links = links
        self._asks = asks
        self._mailboxes = mailboxes
        self._rendezvous = rendezvous
        self._card: bytes | None = None
        self._again: Appointment | None = None
        self._ends_at: dict[str, float] = {}
        self._told: dict[str, Reason | None] = {}

    def start(self) -> None:
        """Look after the card from now on: the node renews it now and then."""
        self._agenda.call_later(_CARD_SECONDS, self._look_at_card)

    def joined(self, link: Link, *, eligible: bool) -> None:
        """A session with a relay was established."""
        assert link.session is not None
        address = link.session.peer.address
        now = self._ctx.clock.monotonic()
        self._mailboxes.joined(link.relay, address, eligible=eligible, now=now)
        self.tend()

    def left(self, link: Link) -> None:
        """A relay has no session with this node any more."""
        self._mailboxes.left(link.relay, self._ctx.clock.monotonic())
        self.tend()

    def order(self, to: str) -> list[str]:
        """The relays that this node may choose, the first choice for a target first."""
        eligible = self._mailboxes.eligible()
        ordered = order_relays(to, eligible, rendezvous=self._rendezvous)
        return [mailbox.relay for mailbox in ordered]

    def notified(self, link: Link, notify: RelayNotify) -> bool:
        """A relay told something; returns whether it was of a mailbox."""
        if notify.binding_id is None:
            return False
        mailbox = self._mailboxes.get(link.relay)
        if mailbox is None or mailbox.binding_id != notify.binding_id:
            return False
        words = f"{link.relay} ended the mailbox of this node: {notify.notif_type}"
        words += f", {notify.detail[:_SHOWN]}" if notify.detail else ""
        self._refused(link.relay, notify.notif_type, notify.retry_after, words)
        self.tend()
        return True

    async def bind(
        self, link: Link, *, store: bool, ttl_seconds: float | None, timeout_seconds: float
    ) -> RelayBindAck:
        """Open a mailbox that a plugin asks for, and keep it."""
        ends_at = None if ttl_seconds is None else self._ctx.clock.time() + ttl_seconds
        if self._mailboxes.get(link.relay) is None:
            return RelayBindAck(ok=False, reason=Reason.PEER_LEFT)
        self._mailboxes.forced(link.relay, wanted=True)
        if ends_at is not None:
            self._ends_at[link.relay] = ends_at
        self._choose()
        ack = await self._ask(link, store=store, timeout_seconds=timeout_seconds)
        if not ack.ok:
            self._mailboxes.forced(link.relay, wanted=False)
            self._ends_at.pop(link.relay, None)
        return ack

    def tend(self) -> None:
        """Do what is to be done now, and see to it that the rest is done in time."""
        now = self._ctx.clock.monotonic()
        self._let_go()
        choice = self._choose()
        for relay in self._mailboxes.to_ask(choice, self._card, now):
            link = self._links.get(relay)
            if link is not None and link.is_up:
                self._mailboxes.asked(relay, self._card)
                self._ctx.spawn(
                    self._ask(link, store=link.stores, timeout_seconds=_ASK_SECONDS),
                    name=f"relay mailbox {relay}",
                )
        if self._again is not None:
            self._again.cancel()
            self._again = None
        deadline = self._mailboxes.next_deadline(now)
        if deadline is not None:
            self._again = self._agenda.call_later(max(0.0, deadline - now), self.tend)

    def _choose(self) -> Choice:
        """Choose relays, and name them in the card."""
        choice = self._mailboxes.choose(self._ctx.clock.monotonic())
        if choice.card and choice.mailboxes:
            self._card = self._ctx.service.sign_card(choice.card)
        return choice

    async def _ask(self, link: Link, *, store: bool, timeout_seconds: float) -> RelayBindAck:
        session = link.use()
        if session is None:
            return RelayBindAck(ok=False, reason=Reason.PEER_LEFT)
        ends_at = self._ends_at.get(link.relay)
        self._mailboxes.asked(link.relay, self._card)
        ack = await self._asks.ask(
            session,
            "*",
            store=store,
            qos=QoS.HIGH_THROUGHPUT,
            expires_at=None if ends_at is None else int(ends_at) + 1,
            card=self._card,
            timeout_seconds=timeout_seconds,
        )
        if link.session is not session:
            return RelayBindAck(ok=False, reason=Reason.PEER_LEFT)
        if ack.ok:
            self._mailboxes.granted(link.relay, ack.binding_id)
            self._ctx.service.count(ClientCounter.MAILBOXES)
            self._tell_granted(link.relay, ack, store=store)
        else:
            reason = ack.reason or Reason.DECLINED
            hint = MAILBOX_HINTS.get(reason, "")
            words = f"{link.relay} opens no mailbox for this node: {reason}{hint}"
            self._refused(link.relay, reason, None, words)
        self.tend()
        return ack

    def _refused(self, relay: str, reason: Reason, retry_after: float | None, words: str) -> None:
        now = self._ctx.clock.monotonic()
        until = self._mailboxes.refused(relay, reason, now, retry_after=retry_after)
        self._ctx.service.count(ClientCounter.REFUSED_BINDS, reason=reason.value)
        # It may refuse every few seconds for days.
        level = logging.INFO if reason is Reason.RESTARTING else logging.WARNING
        level = logging.DEBUG if self._told.get(relay) is reason else level
        self._told[relay] = reason
        self._ctx.logger.log(level, "%s; it is asked again in %.1f s", words, until - now)

    def _tell_granted(self, relay: str, ack: RelayBindAck, *, store: bool) -> None:
        if self._told.get(relay, Reason.UNKNOWN) is None:
            return
        self._told[relay] = None
        kept = "keeps what comes while it is away" if store else "keeps nothing while it is away"
        self._ctx.logger.info("%s has a mailbox of this node, and %s", relay, kept)
        own = self._ctx.service.frame_bytes
        if ack.limits is not None and (ack.limits.frame_bytes or 0) > own:
            self._ctx.logger.warning(
                "%s takes frames of %d bytes, and may bring one to this node, whose session it "
                "would end: limits.frame_bytes is %d here; set it to what the relay takes",
                relay,
                min(ack.limits.frame_bytes or 0, _FRAME_BYTES_MAX),
                own,
            )

    def _let_go(self) -> None:
        """Close what a plugin asked for until now."""
        now = self._ctx.clock.time()
        for relay in [relay for relay, ends_at in self._ends_at.items() if ends_at <= now]:
            del self._ends_at[relay]
            self._mailboxes.forced(relay, wanted=False)

    def _look_at_card(self) -> None:
        self.tend()
        self._agenda.call_later(_CARD_SECONDS, self._look_at_card)
