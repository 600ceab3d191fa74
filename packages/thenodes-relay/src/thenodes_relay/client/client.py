"""The node's side of relays: its mailboxes, its routes, and what it has in flight."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import msgspec

from thenodes_plugin_api import (
    Ack,
    Level,
    Message,
    PluginContext,
    PluginEvent,
    Reason,
    RelayBindAck,
    RelayNotify,
    Verified,
)
from thenodes_plugin_api.service import Frame, ServiceSession

from ..counters import ClientCounter
from ..selection import use_position
from .agenda import Agenda
from .asks import Asks
from .carrier import RelayCarrier
from .complaints import Complaints
from .flight import Flight
from .grants import Grants
from .keeper import Keeper
from .links import Link, Links
from .mailboxes import Mailboxes, MailboxState
from .mending import Mender
from .outstanding import InFlightLimits
from .receiving import Receiver

__all__ = ["ClientStatus", "RelayClient", "RelayUse"]

_CAPABILITY = "relay"
_SHOWN = 8
_DETAIL_SHOWN = 256
_RETURN_SECONDS = 1.0

# What a relay says of a frame where it has no such route, or the target is not there.
_DOUBTS = (Reason.NOT_BOUND, Reason.UNKNOWN_TARGET, Reason.PEER_LEFT)


class RelayUse(msgspec.Struct, frozen=True):
    """How a relay is used.

    Attributes:
        relay: its node id.
        connected: whether there is a session with it.
        mailbox: `open`, `asked`, `refused: <reason>` or `none`.
        routes: targets that are bound there.
        in_flight: reliable frames that it has not confirmed.
        stores: whether it keeps frames for nodes that are away.
        leaving: whether it said that it is about to stop.
    """

    relay: str
    connected: bool
    mailbox: str
    routes: int
    in_flight: int
    stores: bool = False
    leaving: bool = False


class ClientStatus(msgspec.Struct, frozen=True):
    """What this node does with relays.

    Attributes:
        active: whether it is configured to use relays.
        relays: those that it knows, by node id.
        in_flight_frames: reliable frames that no relay has confirmed.
        in_flight_bytes: their size.
        missing: entries of `use` that no known relay answers to.
    """

    active: bool
    relays: tuple[RelayUse, ...] = ()
    in_flight_frames: int = 0
    in_flight_bytes: int = 0
    missing: tuple[str, ...] = ()


class RelayClient:
    """Uses relays for its node, where the operator's `[network.relay]` says so.

    The plugin hands on what concerns the client. Every method returns at once.

    Args:
        ctx: the plugin's context; its `service` is the way to sessions, cards and plugins.
        random_number: returns a number in [0, 1); for jitter.
        limits: how much may be in flight.
    """

    def __init__(
        self,
        ctx: PluginContext,
        *,
        random_number: Callable[[], float] = random.random,
        limits: InFlightLimits | None = None,
    ) -> None:
        self._ctx = ctx
        self._door = ctx.service
        table = self._door.table
        use = table.get("use") or ()
        self._use = tuple(str(entry) for entry in use) if isinstance(use, (tuple, list)) else ()
        rendezvous = table.get("selection") == "rendezvous"
        self._is_active = bool(self._use) or rendezvous
        self._agenda = Agenda(ctx)
        self._links = Links(ctx, self._agenda)
        self._asks = Asks(self._agenda, random_number)
        self._flight = Flight(ctx, self._agenda, self._links, limits)
        self._grants = Grants(ctx, self._agenda, self._asks, self._flight, random_number)
        self._mailboxes = Mailboxes(
            ctx.node_id, self._use, rendezvous=rendezvous, random=random_number
        )
        self._keeper = Keeper(
            ctx, self._agenda, self._links, self._asks, self._mailboxes, rendezvous=rendezvous
        )
        self._carrier = RelayCarrier(
            ctx,
            self._agenda,
            self._links,
            self._grants,
            self._flight,
            self._keeper,
            expects_relays=bool(self._use),
        )
        self._mender = Mender(
            ctx, self._links, self._grants, self._flight, self._carrier, random_number
        )
        self._flight.wants_route = self._mender.mend
        self._receiver = Receiver(ctx)
        self._complaints = Complaints(ctx)
        self._random = random_number
        self._returning: dict[str, ServiceSession] = {}
        self._is_stopped = False

    @property
    def is_active(self) -> bool:
        """Whether `use` names relays, or `selection` is `"rendezvous"`."""
        return self._is_active

    @property
    def is_settled(self) -> bool:
        """Whether every reliable frame of this node's is at a relay."""
        return not self._flight.outstanding.frames

    def start(self) -> None:
        """Offer the node a carrier, where this node uses relays."""
        if self._is_active:
            self._grants.start()
            self._keeper.start()
            self._door.offer_carrier(self._carrier)

    def stop(self) -> None:
        """Tell what was not saved; nothing more is sent."""
        self._is_stopped = True
        self._mender.stop()
        self._carrier.close()
        lost = self._flight.stop()
        self._agenda.close()
        if lost:
            self._tell_unsaved(lost)

    def session_joined(self, session: ServiceSession) -> None:
        """A session was established, with anybody; told before `session_left` of an older one."""
        peer = session.peer
        if self._is_stopped or not self._is_active or not _may_carry(session):
            return
        before = self._links.get(peer.node_id)
        if before is not None and before.session is not None:
            self._lost(before, before.session)
        link = self._links.joined(session)
        if self._is_eligible(session):
            link.use()
        self._keeper.joined(link, eligible=self._is_eligible(session))
        self._grants.joined(link)

    def session_left(self, session: ServiceSession, reason: Reason) -> None:
        """A session ended."""
        self._receiver.left(session)
        link = None if self._is_stopped else self._links.left(session)
        if link is not None:
            # One that restarts is not waited for where there is another.
            link.is_leaving = reason is Reason.RESTARTING
            if reason is Reason.TIMEOUT:
                link.lost_at = None
            self._lost(link, session)
            self._keeper.left(link)
            self._forget_unused()

    def take_frames(self, session: ServiceSession, frames: Sequence[Frame]) -> None:
        """Take frames whose `to` is this node, from whichever session brought them."""
        self._receiver.take(session, frames)

    def take_bind_ack(self, session: ServiceSession, message: Message) -> None:
        """Take a RELAY_BIND_ACK."""
        if isinstance(message.body, RelayBindAck) and not self._asks.answered(
            session, message.body
        ):
            self._door.count(ClientCounter.IGNORED, reason="bind_ack")

    def take_ack(self, session: ServiceSession, message: Message) -> bool:
        """Take an ACK; returns whether it was for a frame of this node's in flight."""
        return isinstance(message.body, Ack) and self._flight.acknowledged(session, message.body)

    def take_notify(self, session: ServiceSession, message: Message) -> None:
        """Take a RELAY_NOTIFY: what is not dealt with here goes to the plugins."""
        notify = message.body
        link = self._links.get(session.peer.node_id)
        if (
            not isinstance(notify, RelayNotify)
            or link is None
            or link.session is not session
            or self._is_at_another(link, notify)
        ):
            self._door.count(ClientCounter.IGNORED, reason="notify")
            return
        self._door.count(ClientCounter.NOTIFIED, reason=notify.notif_type.value)
        self._complaints.notified(link.relay, notify)
        if self._heed(link, session, notify):
            return
        self._door.dispatch(
            Message(notify, sender=session.peer.node_id, verified=session.peer.verified)
        )

    def status(self) -> ClientStatus:
        """What it does now."""
        outstanding = self._flight.outstanding
        return ClientStatus(
            self._is_active,
            tuple(self._describe(link) for link in self._links.all()),
            outstanding.frames,
            outstanding.size,
            self._missing(),
        )

    def _is_at_another(self, link: Link, notify: RelayNotify) -> bool:
        """Whether it tells of a frame that another relay has to confirm."""
        if notify.message_id is None:
            return False
        return self._flight.relay(notify.message_id.bytes) not in (None, link.relay)

    def _heed(self, link: Link, session: ServiceSession, notify: RelayNotify) -> bool:
        """Draw the conclusions; returns whether plugins need not hear of it."""
        if notify.notif_type is Reason.RESTARTING:
            return self._leaves(link, session, notify)
        if notify.notif_type in _DOUBTS and notify.message_id is not None:
            message_id = notify.message_id.bytes
            to = self._flight.target(message_id) or link.recent.target(message_id)
            if to is not None:
                self._grants.doubt(link.relay, to)
        dealt_with = self._flight.notified(session, notify)
        if notify.message_id is not None or notify.binding_id is None:
            return dealt_with
        return (
            self._keeper.notified(link, notify)
            or self._grants.ended(session, notify.binding_id)
            or dealt_with
        )

    def _leaves(self, link: Link, session: ServiceSession, notify: RelayNotify) -> bool:
        """A relay is about to stop, or its plugin was stopped; a usual thing."""
        was_leaving, link.is_leaving = link.is_leaving, True
        self._flight.notified(session, notify)
        if not was_leaving:
            detail = (notify.detail or "it says no more")[:_DETAIL_SHOWN]
            self._ctx.logger.info("%s takes nothing more: %s", link.relay, detail)
            self._lost(link, None)
            self._keeper.left(link)
        # It names what ended where the plugin stopped, which may run again on this session.
        if notify.binding_id is not None and self._returning.get(link.relay) is not session:
            self._returning[link.relay] = session
            seconds = _RETURN_SECONDS * (1.0 + self._random())
            self._agenda.call_later(seconds, lambda: self._try_again(link, session))
        return True

    def _try_again(self, link: Link, session: ServiceSession) -> None:
        if self._returning.get(link.relay) is session:
            del self._returning[link.relay]
        if link.session is not session or not session.is_open or not link.is_leaving:
            return
        # What it granted while it stopped, too, is forgotten there.
        self._lost(link, None)
        self._links.returned(link)
        self._keeper.joined(link, eligible=self._is_eligible(session))
        self._grants.joined(link)

    def _lost(self, link: Link, session: ServiceSession | None) -> None:
        """What was granted and asked on a session no longer counts."""
        if session is not None:
            self._asks.ended(session)
        self._grants.lost(link)

    def _forget_unused(self) -> None:
        """Whoever says that it is a relay has a place; it goes with its session if it can."""
        for link in self._links.all():
            relay = link.relay
            is_used = self._grants.needs(relay) or self._flight.in_flight(relay)
            if link.session is None and not is_used and self._mailboxes.get(relay) is None:
                self._links.forget(relay)

    def _is_eligible(self, session: ServiceSession) -> bool:
        peer = session.peer
        named = use_position(self._use, peer.node_id, peer.address) < len(self._use)
        trusted = peer.fingerprint is not None and self._door.is_trusted(peer.fingerprint)
        return named or session.is_configured or trusted

    def _describe(self, link: Link) -> RelayUse:
        mailbox = self._mailboxes.get(link.relay)
        state = MailboxState.NONE if mailbox is None else mailbox.state
        text = state.value
        if mailbox is not None and state is MailboxState.REFUSED and mailbox.reason is not None:
            text = f"refused: {mailbox.reason.value}"
        return RelayUse(
            link.relay,
            link.session is not None,
            text,
            self._grants.count(link.relay),
            self._flight.in_flight(link.relay),
            link.stores,
            link.is_leaving,
        )

    def _missing(self) -> tuple[str, ...]:
        known = self._mailboxes.all()
        positions = {mailbox.position for mailbox in known}
        relays = {mailbox.relay for mailbox in known}
        return tuple(
            entry
            for position, entry in enumerate(self._use)
            if position not in positions and entry not in relays
        )

    def _tell_unsaved(self, lost: dict[str, int]) -> None:
        shown = ", ".join(f"{count} to {to}" for to, count in list(lost.items())[:_SHOWN])
        more = f" and {len(lost) - _SHOWN} more targets" if len(lost) > _SHOWN else ""
        self._door.count(ClientCounter.UNSAVED, sum(lost.values()))
        self._ctx.events.emit(
            PluginEvent(
                plugin=self._ctx.plugin_id,
                action="unsaved",
                detail=f"reliable messages that no relay had confirmed are lost: {shown}{more}",
                level=Level.WARNING,
                at=self._ctx.clock.time(),
            )
        )


def _may_carry(session: ServiceSession) -> bool:
    peer = session.peer
    return _CAPABILITY in peer.capabilities and peer.verified is Verified.SESSION
