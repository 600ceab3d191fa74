"""Puts together what the doors of a node's services lead to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import structs

from thenodes_plugin_api import (
    CardInfo,
    CardRefused,
    Carrier,
    Frame,
    Settled,
)

from ..clock import Clock
from ..config import Config
from ..control.commands import CommandTable
from ..control.service_commands import ServiceCommands
from ..credentials import Credentials
from ..errors import CredentialError
from ..events.counters import Counters
from ..network import PeerNetwork
from ..node_id import fingerprint
from ..plugins.ground import Ground, Undo
from ..plugins.host import PluginHost
from ..protocol.card import Card, CardBook, open_card

__all__ = ["make_ground"]


def make_ground(
    config: Config,
    network: PeerNetwork,
    host: PluginHost,
    commands: CommandTable,
    counters: Counters,
    clock: Clock,
) -> Ground:
    """The ground of one node.

    Args:
        config: its configuration.
        network: its peers.
        host: its plugins.
        commands: its commands.
        counters: its counters.
        clock: its clock.
    """
    return Ground(
        instance=network.peers.local.instance,
        tables={"network.relay": structs.asdict(config.network.relay)},
        counters=counters,
        commands=ServiceCommands(commands),
        sessions=network.peers,
        cards=_Cards(network.cards, network.credentials, clock),
        inbound=_NoInbound(),
        carriers=_NoCarriers(),
        is_trusted=network.trust.is_trusted,
        dispatch=host.deliver,
    )


class _NoInbound:
    """In the place of what opens sealed frames."""

    def deliver(
        self, relay: str, frames: Sequence[Frame], settled: Callable[[Frame, Settled], None]
    ) -> None:
        pass


class _NoCarriers:
    """In the place of what sends through carriers."""

    def use(self, carrier: Carrier) -> Undo:
        return _nothing


class _Cards:
    """Cards as far as they are read."""

    def __init__(self, book: CardBook, credentials: Credentials, clock: Clock) -> None:
        self._book = book
        self._credentials = credentials
        self._clock = clock

    def read(self, card: bytes) -> CardInfo:
        try:
            return _info(open_card(card, now_ms=int(self._clock.time() * 1000)))
        except CredentialError as error:
            raise CardRefused(str(error)) from error

    def learn(self, card: bytes) -> CardInfo:
        return self.read(card)

    def get(self, node_id: str) -> CardInfo | None:
        card = self._book.get(node_id)
        return None if card is None else _info(card)

    def sign(self, relays: Sequence[str]) -> bytes:
        return self._credentials.card


def _info(card: Card) -> CardInfo:
    return CardInfo(
        card.node_id, fingerprint(card.public_key), card.relays, card.issued_at, card.not_after
    )


def _nothing() -> None:
    pass
