"""Puts together a node's part in relaying."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
from msgspec import structs

from thenodes_plugin_api import (
    Body,
    CardInfo,
    CardRefused,
    DeliveryAck,
    Frame,
    Message,
    NotConnected,
    ServiceSession,
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
from ..peers.manager import PeerManager
from ..plugins.ground import Ground
from ..plugins.host import PluginHost
from ..protocol.card import Card, CardBook, open_card
from ..protocol.codec_bin import BinaryCodec
from ..security.seal import Sealer
from ..supervisor import Supervisor
from .confirmations import Confirmations, Confirmer
from .envelope import Envelopes
from .outbound import Outbound

__all__ = ["Relaying", "make_relaying"]


class Relaying(msgspec.Struct, frozen=True):
    """A node's part in relaying.

    Attributes:
        outbound: its way through relays.
        ground: what the doors of its services lead to.
    """

    outbound: Outbound
    ground: Ground


def make_relaying(
    config: Config,
    network: PeerNetwork,
    host: PluginHost,
    commands: CommandTable,
    supervisor: Supervisor,
    counters: Counters,
    clock: Clock,
) -> Relaying:
    """Put together the relaying of one node.

    Args:
        config: its configuration.
        network: its peers.
        host: its plugins.
        commands: its commands.
        supervisor: runs its background work.
        counters: its counters.
        clock: its clock.
    """
    peers, credentials = network.peers, network.credentials
    is_sealed = config.network.relay.seal == "required"
    envelopes = Envelopes(
        credentials.node_id,
        _sealer(credentials) if is_sealed else None,
        network.cards.get,
        BinaryCodec(config.limits),
        config.limits,
        random_bytes=os.urandom,
    )
    confirmations = Confirmations(counters, clock)
    outbound = Outbound(peers, envelopes, confirmations, supervisor, counters, clock)
    confirmer = Confirmer(partial(_send_to, peers, outbound), supervisor, counters)
    host.roster.follow(confirmer.follow)
    peers.serve_kind(DeliveryAck, partial(_confirmed, confirmations))
    ground = Ground(
        instance=peers.local.instance,
        tables={"network.relay": structs.asdict(config.network.relay)},
        counters=counters,
        commands=ServiceCommands(commands),
        sessions=peers,
        cards=_Cards(network.cards, credentials, clock),
        inbound=_NoInbound(),
        carriers=outbound,
        is_trusted=network.trust.is_trusted,
        dispatch=host.deliver,
    )
    return Relaying(outbound, ground)


def _sealer(credentials: Credentials) -> Sealer:
    sign = credentials.identity.sign
    return Sealer(credentials.node_id, credentials.realm, sign, lambda: credentials.card)


async def _send_to(peers: PeerManager, outbound: Outbound, to: str, body: Body) -> None:
    """Send over the session with a node, else through a relay; never waits."""
    try:
        await peers.send(to, body, timeout_seconds=0.0)
    except NotConnected:
        await outbound.answer(to, body, None)


def _confirmed(confirmations: Confirmations, session: ServiceSession, message: Message) -> None:
    if isinstance(message.body, DeliveryAck):
        confirmations.arrived(session.peer.node_id, message.body)


class _NoInbound:
    """In the place of what opens sealed frames."""

    def deliver(
        self, relay: str, frames: Sequence[Frame], settled: Callable[[Frame, Settled], None]
    ) -> None:
        pass


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
