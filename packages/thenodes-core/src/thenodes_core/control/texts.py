"""The command `send`: a text to one peer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from thenodes_plugin_api import DeliveryOutcome, DeliveryStatus, NodeId, SendError

from ..errors import CommandError, CommandFailed
from ..text import printable
from .commands import CommandTable, Reply
from .naming import find_peer

__all__ = ["TextView", "add_send_command"]


class TextView(Protocol):
    """What this command acts on."""

    def peer_ids(self) -> Sequence[str]:
        """Every peer that may be named."""
        ...

    async def send_text(self, node_id: str, text: str) -> DeliveryOutcome:
        """Send a text to a node, reliably where it goes through a relay.

        Raises:
            SendError: it did not leave this node.
        """
        ...


def add_send_command(table: CommandTable, view: TextView) -> None:
    """Add `send`."""

    async def send(words: Sequence[str]) -> Reply:
        if len(words) < 2:
            got = " ".join(words) or "nothing"
            raise CommandError(f"send <peer> <text>: expected a peer and a text, got {got!r}")
        to, text = _receiver(words[0], view), " ".join(words[1:])
        try:
            outcome = await view.send_text(to, text)
        except SendError as error:
            raise CommandFailed(printable(f"not sent to {to}: {error}")) from error
        if not outcome.ok:
            why = outcome.detail or outcome.reason or "refused"
            where = f" by {outcome.relay}" if outcome.relay else ""
            raise CommandFailed(printable(f"refused{where}, for {to}: {why}"))
        data = {"to": to, **msgspec.to_builtins(outcome)}
        return Reply(printable(_told(to, outcome)), data)

    table.define("send", send, complete=lambda: list(view.peer_ids()))


def _receiver(typed: str, view: TextView) -> str:
    """Who is meant. A whole id may be of a node that was never met, behind a relay."""
    ids = view.peer_ids()
    if any(node_id.startswith(typed) for node_id in ids):
        return find_peer(typed, ids)
    try:
        return msgspec.convert(typed, NodeId)
    except msgspec.ValidationError as error:
        raise CommandError(f"send: {printable(typed, most=128)!r} is no node id") from error


def _told(to: str, outcome: DeliveryOutcome) -> str:
    way = f" through relay {outcome.relay}" if outcome.relay else ""
    match outcome.status:
        case DeliveryStatus.DELIVERED:
            return f"delivered to {to}{way}"
        case DeliveryStatus.STORED:
            return f"stored at relay {outcome.relay} for {to}, until it is there"
        case _:
            return f"sent to {to}{way}"
