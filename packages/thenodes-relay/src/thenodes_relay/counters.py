"""The names of what the relay counts."""

from __future__ import annotations

import enum
from typing import Protocol

from thenodes_plugin_api import Reason

__all__ = ["ClientCounter", "Count", "Counter", "Tally"]


class Counter(enum.StrEnum):
    """Counters of the relay; those that say so are counted by reason."""

    BOUND = "relay_bound"
    """Mailboxes and bindings that were granted or refreshed."""
    REFUSED_BINDS = "relay_refused_binds"
    """Binds that were refused, by reason."""
    UNBOUND = "relay_unbound"
    """Bindings that ended."""
    FORWARDED = "relay_forwarded"
    """Frames handed to a target that is there."""
    STORED = "relay_stored"
    """Frames that are on disk."""
    DUPLICATES = "relay_duplicates"
    """Reliable frames that came again while they were stored."""
    DELIVERED_FROM_STORE = "relay_delivered_from_store"
    """Stored frames handed to their target for the first time."""
    ACKED = "relay_acked"
    """Stored frames that their target acknowledged."""
    REDELIVERED = "relay_redelivered"
    """Stored frames that were handed over again, marked so."""
    DROPPED = "relay_dropped"
    """Frames that were refused or given up, by reason; their origins are told.

    Whatever else is counted of such a frame, it is counted here.
    """
    EXPIRED = "relay_expired"
    """Frames whose time was over before their target had them."""
    EVICTED = "relay_evicted"
    """Bulk frames that made room."""
    NOTIFIED = "relay_notified"
    """Notifications, by reason."""
    NOTICES_LOST = "relay_notices_lost"
    """Notifications that could not be given, by reason."""
    STALLED = "relay_stalled"
    """Times that a target stopped reading, by its node id."""
    ACKS_IGNORED = "relay_acks_ignored"
    """ACKs for frames that the session did not carry."""


class ClientCounter(enum.StrEnum):
    """Counters of a user of relays; those that say so are counted by reason."""

    MAILBOXES = "relay_client_mailboxes"
    """Mailboxes that relays granted or refreshed."""
    BOUND = "relay_client_bound"
    """Routes that relays granted or renewed."""
    REFUSED_BINDS = "relay_client_refused_binds"
    """Mailboxes and routes that relays refused, by reason."""
    REFUSED = "relay_client_refused"
    """Reliable frames that a relay refused, or that expired before one had them, by reason."""
    MOVED = "relay_client_moved"
    """Times that what waited for one relay went to another."""
    NOTIFIED = "relay_client_notified"
    """Notifications of relays, by reason."""
    RECEIVED = "relay_client_received"
    """Frames that relays brought."""
    ACKED = "relay_client_acked"
    """Acknowledgements given, by status."""
    UNSAVED = "relay_client_unsaved"
    """Reliable frames that no relay had when the node stopped."""
    CARDS_REFUSED = "relay_client_cards_refused"
    """Cards that a relay handed on and that prove nothing, or are older than known ones."""
    IGNORED = "relay_client_ignored"
    """Answers of relays that were not asked for, by kind."""


class Count(Protocol):
    """Counts, as `ServiceDoor.count` does."""

    def __call__(self, name: str, amount: int = 1, *, reason: str | None = None) -> None:
        """Add to a counter."""
        ...


class Tally:
    """The relay's counters: kept for `relay status`, and passed on to the node's.

    Args:
        count: the node's.
    """

    def __init__(self, count: Count) -> None:
        self._count = count
        self._numbers: dict[str, int] = {}

    def add(self, counter: Counter, amount: int = 1, reason: Reason | str | None = None) -> None:
        """Count something."""
        word = None if reason is None else str(reason)
        name = counter.value if word is None else f"{counter.value}.{word}"
        self._numbers[name] = self._numbers.get(name, 0) + amount
        self._count(counter.value, amount, reason=word)

    def numbers(self) -> dict[str, int]:
        """Every counter that moved, by name."""
        return dict(sorted(self._numbers.items()))
