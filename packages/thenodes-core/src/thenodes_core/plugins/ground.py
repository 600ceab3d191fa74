"""What the doors of services stand on: the parts of the node that they lead to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from thenodes_plugin_api import (
    Body,
    CardInfo,
    Carrier,
    Frame,
    FrameHandler,
    Message,
    MessageHandler,
    Reason,
    ServiceCommand,
    ServiceSession,
    Settled,
)

from ..events.counters import Counters
from ..limits import Limits

__all__ = ["Cards", "Carriers", "Commands", "Ground", "SealedInbound", "Sessions"]

Joined = Callable[[ServiceSession], None]
Left = Callable[[ServiceSession, Reason], None]
Undo = Callable[[], None]


class Sessions(Protocol):
    """The sessions with peers, and what comes through them for a service.

    What registers something returns what takes it back.
    """

    def serve_frames(self, handler: FrameHandler) -> Undo:
        """Give RELAY_FWD frames to `handler`.

        Raises:
            ValueError: another has them.
        """
        ...

    def serve_kind(self, kind: type[Body], handler: MessageHandler) -> Undo:
        """Give messages of a kind to `handler`.

        Raises:
            ValueError: another has them, or the kind is the node's own.
        """
        ...

    def on_session(self, joined: Joined, left: Left) -> Undo:
        """Tell of sessions, at once of those that there are."""
        ...

    def service_session(self, node_id: str) -> ServiceSession | None:
        """The session with a peer."""
        ...


class Cards(Protocol):
    """Identity cards; each method as that of `ServiceDoor`."""

    def read(self, card: bytes) -> CardInfo:
        """Check a card on its own."""
        ...

    def learn(self, card: bytes) -> CardInfo:
        """Check a card that somebody handed on, and remember it."""
        ...

    def get(self, node_id: str) -> CardInfo | None:
        """The newest card of a node."""
        ...

    def sign(self, relays: Sequence[str]) -> bytes:
        """Put relays into this node's card."""
        ...


class SealedInbound(Protocol):
    """Opens what relays bring for this node."""

    def deliver(
        self, relay: str, frames: Sequence[Frame], settled: Callable[[Frame, Settled], None]
    ) -> None:
        """As `ServiceDoor.deliver`."""
        ...


class Carriers(Protocol):
    """Sends through a carrier to peers with whom there is no session."""

    def use(self, carrier: Carrier, fault: Callable[[str, BaseException], None]) -> Undo:
        """Send through this one from now on; returns what takes it back.

        Args:
            carrier: a service's.
            fault: told of what it raises that it should not.

        Raises:
            ValueError: another is used.
        """
        ...


class Commands(Protocol):
    """The node's commands."""

    def add(self, command: ServiceCommand) -> Undo:
        """Add a command; returns what takes it away.

        Raises:
            ValueError: its name is taken.
        """
        ...


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of one node.

    Attributes:
        instance: random, of this process.
        tables: the tables of the configuration that a service may be given.
        limits: the node's.
        counters: the node's.
        commands: the node's.
        sessions: with its peers.
        cards: what is known of nodes.
        inbound: opens sealed frames.
        carriers: takes what a service offers.
        is_trusted: whether the operator pinned or trusted the key of a fingerprint.
        dispatch: gives messages to the plugins that they are for.
    """

    instance: bytes
    tables: Mapping[str, Mapping[str, object]]
    limits: Limits
    counters: Counters
    commands: Commands
    sessions: Sessions
    cards: Cards
    inbound: SealedInbound
    carriers: Carriers
    is_trusted: Callable[[str], bool]
    dispatch: Callable[[Sequence[Message]], object]
