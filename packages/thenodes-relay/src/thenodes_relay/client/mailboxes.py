"""At which relays a node has its mailboxes, and which of them its card names; pure."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

import msgspec

from thenodes_plugin_api import Reason

from ..selection import rank, use_position
from .refusals import Refusals

__all__ = ["MAILBOXES", "Choice", "Mailbox", "MailboxState", "Mailboxes", "order_relays"]

MAILBOXES = 2
"""So many relays hold a mailbox, and stand in the card."""

_STEADY_SECONDS = 20.0


class MailboxState(enum.StrEnum):
    """How far a mailbox has come on the session there is."""

    NONE = "none"
    ASKED = "asked"
    OPEN = "open"
    REFUSED = "refused"


class Mailbox:
    """What is known of one relay.

    Attributes:
        relay: its node id.
        position: in the operator's list; see `use_position`.
        is_up: whether there is a session with it.
        is_eligible: whether this node may choose it.
        is_forced: whether a plugin asked for a mailbox there.
        was_open: whether one was ever open there; then it may hold frames.
        steady_at: from when on it may take a place in the card that another has.
        state: of the mailbox, on this session.
        card: the card that it was asked with.
        binding_id: as the relay calls it.
        reason: of the last refusal.
    """

    def __init__(self, relay: str, position: int) -> None:
        self.relay = relay
        self.position = position
        self.is_up = False
        self.is_eligible = False
        self.is_forced = False
        self.was_open = False
        self.steady_at = 0.0
        self.state = MailboxState.NONE
        self.card: bytes | None = None
        self.binding_id: str | None = None
        self.reason: Reason | None = None

    def needs(self, card: bytes | None) -> bool:
        """Whether it has to be asked, with this card."""
        if self.state is MailboxState.OPEN:
            return self.card != card
        return self.state is not MailboxState.ASKED


class Choice(msgspec.Struct, frozen=True):
    """Which relays it is to be.

    Attributes:
        card: those that the card is to name, in order.
        mailboxes: those that are to have a mailbox, in order.
    """

    card: tuple[str, ...]
    mailboxes: tuple[str, ...]


def order_relays(node_id: str, relays: Sequence[Mailbox], *, rendezvous: bool) -> list[Mailbox]:
    """Order relays for a node: by rendezvous, or as the operator lists them."""
    by_score = {
        relay: place for place, relay in enumerate(rank(node_id, [r.relay for r in relays]))
    }
    if rendezvous:
        return sorted(relays, key=lambda relay: by_score[relay.relay])
    return sorted(relays, key=lambda relay: (relay.position, by_score[relay.relay]))


class Mailboxes:
    """Keeps two mailboxes open where there are two relays that grant them.

    A relay that went away keeps its place in the card until another has a mailbox in its
    stead; one that came back gets its place again after it held for 20 s, so that a relay
    that comes and goes does not have cards signed without end.

    Args:
        node_id: this node's.
        use: `[network.relay] use`.
        rendezvous: whether relays are chosen by hash; else in the order of `use`.
        random: returns a number in [0, 1).
    """

    def __init__(
        self,
        node_id: str,
        use: Sequence[str],
        *,
        rendezvous: bool,
        random: Callable[[], float],
    ) -> None:
        self._node_id = node_id
        self._use = use
        self._rendezvous = rendezvous
        self._relays: dict[str, Mailbox] = {}
        self._refusals: Refusals[str] = Refusals(random)
        self._card: tuple[str, ...] = ()

    def get(self, relay: str) -> Mailbox | None:
        """What is known of a relay."""
        return self._relays.get(relay)

    def joined(self, relay: str, address: str, *, eligible: bool, now: float) -> None:
        """A session with a relay was established, perhaps in the place of another."""
        known = self._relays.get(relay)
        if known is None:
            position = use_position(self._use, relay, address)
            known = self._relays[relay] = Mailbox(relay, position)
        else:
            known.steady_at = now + _STEADY_SECONDS
        known.is_up = True
        known.is_eligible = eligible
        known.state = MailboxState.NONE
        known.card = None
        known.reason = None
        # What it refused before need not be so for this session.
        self._refusals.forget(relay)

    def left(self, relay: str, now: float) -> None:
        """There is no session with it any more."""
        known = self._relays.get(relay)
        if known is None:
            return
        known.is_up = False
        known.state = MailboxState.NONE
        if not known.was_open and not known.is_eligible and not known.is_forced:
            del self._relays[relay]

    def forced(self, relay: str, *, wanted: bool) -> None:
        """A plugin wants a mailbox there, or no longer."""
        known = self._relays.get(relay)
        if known is not None:
            known.is_forced = wanted

    def asked(self, relay: str, card: bytes | None) -> None:
        """A mailbox was asked for."""
        known = self._relays[relay]
        known.state = MailboxState.ASKED
        known.card = card

    def granted(self, relay: str, binding_id: str | None) -> None:
        """It is open."""
        known = self._relays[relay]
        known.state = MailboxState.OPEN
        known.binding_id = binding_id
        known.was_open = True
        known.reason = None
        self._refusals.forget(relay)

    def refused(
        self, relay: str, reason: Reason, now: float, *, retry_after: float | None = None
    ) -> float:
        """It is not; returns when to ask again."""
        known = self._relays[relay]
        known.state = MailboxState.REFUSED
        known.card = None
        known.reason = reason
        return self._refusals.note(relay, reason, now, retry_after=retry_after).until

    def ended(self, binding_id: str) -> str | None:
        """A relay says that the binding is over; returns the relay's id if it was a mailbox."""
        for known in self._relays.values():
            if known.binding_id == binding_id and known.state is MailboxState.OPEN:
                known.state = MailboxState.NONE
                known.card = None
                return known.relay
        return None

    def choose(self, now: float) -> Choice:
        """Say which relays it is to be now."""
        usable = [
            known
            for known in self._relays.values()
            if known.is_up
            and (known.is_eligible or known.is_forced)
            and self._refusals.blocking(known.relay, now) is None
        ]
        ordered = order_relays(self._node_id, usable, rendezvous=self._rendezvous)
        # Stable: among the steady ones, and among the others, the order stays.
        ordered.sort(key=lambda known: now < known.steady_at and known.relay not in self._card)
        # One that refused is asked again in its time, and is no choice until it grants.
        best = [known.relay for known in ordered if known.reason is None][:MAILBOXES]
        kept = [relay for relay in self._card if relay not in best and self._may_return(relay)]
        if best:
            chosen = [*best, *kept][:MAILBOXES]
            self._card = tuple(sorted(chosen, key=lambda relay: self._place(relay, chosen)))
        others = [
            known.relay
            for place, known in enumerate(ordered)
            if known.relay not in best and (place < MAILBOXES or known.was_open or known.is_forced)
        ]
        return Choice(self._card, (*best, *others))

    def to_ask(self, choice: Choice, card: bytes | None, now: float) -> list[str]:
        """Those that have yet to be asked, with this card."""
        return [
            relay
            for relay in choice.mailboxes
            if self._relays[relay].needs(card) and self._refusals.blocking(relay, now) is None
        ]

    def next_deadline(self, now: float) -> float | None:
        """When to choose again although nothing happened."""
        times = [known.steady_at for known in self._relays.values() if known.is_up]
        for known in self._relays.values():
            refusal = self._refusals.blocking(known.relay, now) if known.is_up else None
            if refusal is not None:
                times.append(refusal.until)
        return min((time for time in times if time > now), default=None)

    def eligible(self) -> list[Mailbox]:
        """Those that this node may choose and that have a session."""
        return [known for known in self._relays.values() if known.is_up and known.is_eligible]

    def all(self) -> list[Mailbox]:
        """Every relay that is known."""
        return list(self._relays.values())

    def _may_return(self, relay: str) -> bool:
        known = self._relays.get(relay)
        return known is not None and known.reason is None

    def _place(self, relay: str, chosen: Sequence[str]) -> int:
        mailboxes = [self._relays[name] for name in chosen]
        ordered = order_relays(self._node_id, mailboxes, rendezvous=self._rendezvous)
        return [known.relay for known in ordered].index(relay)
