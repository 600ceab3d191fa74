"""RELAY_BIND and RELAY_UNBIND: who can be reached here, and by whom."""

from __future__ import annotations

import re
from collections.abc import Callable

from thenodes_plugin_api import (
    CardInfo,
    CardRefused,
    Clock,
    Message,
    Reason,
    RelayBind,
    RelayBindAck,
    RelayLimits,
    RelayUnbind,
    ServiceSession,
)

from .admission import Rates
from .alarms import Alarms
from .bindings import Bindings
from .causes import Cause, Refused
from .counters import Counter, Tally
from .grants import MAILBOX, Mailbox
from .guests import Guest, Guests
from .settings import Settings
from .targets import Targets

__all__ = ["CARD_BYTES_MAX", "Binds"]

CARD_BYTES_MAX = 16 * 1024
"""The largest identity card that is taken, as in a handshake: it is handed on in answers."""

_NODE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Binds:
    """Answers binds.

    Args:
        settings: what is granted.
        guests: who may ask.
        bindings: the tables.
        targets: the mailboxes' frames.
        rates: how often.
        tally: counts.
        alarms: tells the operator.
        frame_bytes: the largest frame that this node takes.
        read_card: checks an identity card.
        learn_card: checks besides that it is of this realm, and not older than one seen.
        clock: the node's.
    """

    def __init__(
        self,
        settings: Settings,
        guests: Guests,
        bindings: Bindings[ServiceSession],
        targets: Targets,
        rates: Rates,
        tally: Tally,
        alarms: Alarms,
        *,
        frame_bytes: int,
        read_card: Callable[[bytes], CardInfo],
        learn_card: Callable[[bytes], CardInfo],
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._guests = guests
        self._bindings = bindings
        self._targets = targets
        self._rates = rates
        self._tally = tally
        self._alarms = alarms
        self._read_card = read_card
        self._learn_card = learn_card
        self._time = clock.time
        self._monotonic = clock.monotonic
        self._limits = RelayLimits(
            settings.ttl_secs,
            frame_bytes,
            settings.frames_per_second or None,
            settings.queue_max_per_target,
        )
        self.is_closed = False

    def take_bind(self, session: ServiceSession, message: Message) -> None:
        """Answer a RELAY_BIND."""
        body = message.body
        if not isinstance(body, RelayBind):
            return
        guest = self._guests.of(session)
        if guest is None:
            answer = self._refuse(body, Cause.UNPROVEN.reason)
        elif self.is_closed:
            answer = self._refuse(body, Reason.RESTARTING)
        elif guest.kept_out is not None:
            answer = self._refuse(body, guest.kept_out.reason)
            self._alarms.refused(guest.node, guest.kept_out)
        elif refused := self._rates.take(guest.node, 1, 0, self._monotonic()):
            answer = self._refuse(body, refused.reason)
            self._alarms.refused(guest.node, refused)
        elif body.target == MAILBOX:
            answer = self._open(guest, body)
        elif body.target and not _NODE_ID.fullmatch(body.target):
            answer = self._refuse(body, Cause.NO_TARGET.reason)
        else:
            answer = self._bind(guest, body)
        # Where there is no room the binder asks again: it waits for an answer.
        session.send(answer)

    def take_unbind(self, session: ServiceSession, message: Message) -> None:
        """End what a node bound itself."""
        body, guest = message.body, self._guests.of(session)
        if guest is not None and isinstance(body, RelayUnbind):
            self._targets.end(self._bindings.unbind(guest.node, body.binding_id))

    def _open(self, guest: Guest, body: RelayBind) -> RelayBindAck:
        card = body.card or guest.session.card
        if not self._is_own_card(guest, card):
            return self._refuse(body, Reason.UNAUTHENTICATED)
        opened = self._bindings.open_mailbox(
            guest.session,
            guest.node,
            guest.fingerprint,
            card,
            store=bool(body.want_store_forward),
            stranger=guest.stranger,
            expires_at=body.expires_at,
            nonce=body.nonce,
            now=self._time(),
        )
        if isinstance(opened, Refused):
            self._alarms.refused(guest.node, opened)
            standing = self._bindings.mailbox(guest.node)
            return self._refuse(
                body, opened.reason, None if standing is None else standing.binding_id
            )
        self._targets.end(opened.ended)
        self._tally.add(Counter.BOUND)
        self._targets.arrive(opened.mailbox, guest.session)
        return self._grant(body, opened.mailbox.binding_id, opened.mailbox)

    def _bind(self, guest: Guest, body: RelayBind) -> RelayBindAck:
        bound = self._bindings.bind(
            guest.session,
            guest.node,
            body.target,
            store=bool(body.want_store_forward),
            qos=body.qos,
            expires_at=body.expires_at,
            nonce=body.nonce,
            now=self._time(),
        )
        if isinstance(bound, Refused):
            self._alarms.refused(guest.node, bound)
            standing = self._bindings.find(guest.node, body.target)
            return self._refuse(
                body, bound.reason, None if standing is None else standing.binding_id
            )
        self._tally.add(Counter.BOUND)
        return self._grant(body, bound.binding.binding_id, bound.binding.mailbox)

    def _is_own_card(self, guest: Guest, card: bytes | None) -> bool:
        if card is None or card == guest.session.card:
            return True
        if len(card) > CARD_BYTES_MAX:
            return False
        try:
            info = self._read_card(card)
            if info.node_id != guest.node or info.fingerprint != guest.fingerprint:
                return False
            self._learn_card(card)
        except CardRefused:
            return False
        return True

    def _refuse(
        self, body: RelayBind, reason: Reason, binding_id: str | None = None
    ) -> RelayBindAck:
        self._tally.add(Counter.REFUSED_BINDS, reason=reason)
        named = binding_id if reason is Reason.ALREADY_BOUND else None
        return RelayBindAck(False, reason, named, None, body.nonce)

    def _grant(
        self, body: RelayBind, binding_id: str, mailbox: Mailbox[ServiceSession] | None
    ) -> RelayBindAck:
        present = mailbox is not None and mailbox.session is not None
        card = None if mailbox is None else mailbox.card
        return RelayBindAck(True, None, binding_id, present, body.nonce, self._limits, card)
