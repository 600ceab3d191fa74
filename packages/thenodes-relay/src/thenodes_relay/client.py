"""The node's side of relays: its mailboxes, its routes, and what it has in flight."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from thenodes_plugin_api import Message, PluginContext, Reason
from thenodes_plugin_api.service import Frame, ServiceSession

__all__ = ["ClientStatus", "RelayClient", "RelayUse"]


class RelayUse(msgspec.Struct, frozen=True):
    """How a relay is used.

    Attributes:
        relay: its node id.
        connected: whether there is a session with it.
        mailbox: `open`, `asked`, `refused: <reason>` or `none`.
        routes: targets that are bound there.
        in_flight: reliable frames that it has not confirmed.
    """

    relay: str
    connected: bool
    mailbox: str
    routes: int
    in_flight: int


class ClientStatus(msgspec.Struct, frozen=True):
    """What this node does with relays.

    Attributes:
        active: whether it is configured to use relays.
        relays: those that it knows, by node id.
        in_flight_frames: reliable frames that no relay has confirmed.
        in_flight_bytes: their size.
    """

    active: bool
    relays: tuple[RelayUse, ...] = ()
    in_flight_frames: int = 0
    in_flight_bytes: int = 0


class RelayClient:
    """Uses relays for its node, where the operator's `[network.relay]` says so.

    The plugin hands on what concerns the client. Every method returns at once.

    Args:
        ctx: the plugin's context; its `service` is the way to sessions, cards and plugins.
    """

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._door = ctx.service

    @property
    def is_active(self) -> bool:
        """Whether `use` names relays, or `selection` is `"rendezvous"`."""
        table = self._door.table
        return bool(table.get("use")) or table.get("selection") == "rendezvous"

    def start(self) -> None:
        """Offer the node a carrier, where this node uses relays."""

    def stop(self) -> None:
        """Tell what was not saved; nothing more is sent."""

    def session_joined(self, session: ServiceSession) -> None:
        """A session was established, with anybody; told before `session_left` of an older one."""

    def session_left(self, session: ServiceSession, reason: Reason) -> None:
        """A session ended."""

    def take_frames(self, session: ServiceSession, frames: Sequence[Frame]) -> None:
        """Take frames whose `to` is this node, from whichever session brought them."""

    def take_bind_ack(self, session: ServiceSession, message: Message) -> None:
        """Take a RELAY_BIND_ACK."""

    def take_ack(self, session: ServiceSession, message: Message) -> bool:
        """Take an ACK; returns whether it was for a frame of this node's in flight."""
        return False

    def take_notify(self, session: ServiceSession, message: Message) -> None:
        """Take a RELAY_NOTIFY: what concerns no frame in flight goes to the plugins."""

    def status(self) -> ClientStatus:
        """What it does now."""
        return ClientStatus(self.is_active)
