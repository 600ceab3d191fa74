"""Puts together a node's part in relaying."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
from msgspec import structs

from thenodes_plugin_api import (
    Body,
    DeliveryAck,
    Level,
    Message,
    NotConnected,
    ServiceSession,
    SystemEvent,
)

from ..clock import Clock
from ..config import Config
from ..control.commands import CommandTable
from ..control.service_commands import ServiceCommands
from ..credentials import Credentials
from ..errors import CredentialError, StateDirError
from ..events.counters import Counters
from ..events.dispatcher import Dispatcher
from ..network import PeerNetwork
from ..peers.cards import Cards
from ..peers.manager import PeerManager
from ..plugins.ground import Ground
from ..plugins.host import PluginHost
from ..protocol.card import open_card
from ..protocol.codec_bin import BinaryCodec
from ..security.seal import Opener, Sealer
from ..store.received import RECEIVED_FILE, ReceivedIds
from ..supervisor import Supervisor
from .carriers import Carriers
from .confirmations import Confirmations, Confirmer
from .envelope import Envelopes
from .inbound import RelayedInbound
from .new_keys import NewKeys
from .outbound import Outbound
from .paths import Paths
from .senders import Senders
from .sending import Post

__all__ = ["Relaying", "make_relaying"]


class Relaying(msgspec.Struct, frozen=True):
    """A node's part in relaying.

    Attributes:
        outbound: its way through relays.
        ground: what the doors of its services lead to.
        received: the ids of reliable messages that its plugins had; to be entered first.
        paths: who was lately reached or heard through which relay.
    """

    outbound: Outbound
    ground: Ground
    received: ReceivedIds
    paths: Paths


def make_relaying(
    config: Config,
    state_dir: Path,
    network: PeerNetwork,
    host: PluginHost,
    commands: CommandTable,
    supervisor: Supervisor,
    events: Dispatcher,
    counters: Counters,
    clock: Clock,
) -> Relaying:
    """Put together the relaying of one node.

    Args:
        config: its configuration.
        state_dir: its state directory.
        network: its peers.
        host: its plugins.
        commands: its commands.
        supervisor: runs its background work.
        events: its events.
        counters: its counters.
        clock: its clock.
    """
    peers, credentials = network.peers, network.credentials
    cards = _Cards(network, events, clock)
    received = ReceivedIds(
        state_dir / RECEIVED_FILE,
        lambda: int(clock.time() * 1000),
        partial(_tell, events, clock, "received_ids"),
    )
    is_sealed = config.network.relay.seal == "required"
    envelopes = Envelopes(
        credentials.node_id,
        _sealer(credentials) if is_sealed else None,
        cards.card_of,
        BinaryCodec(config.limits),
        config.limits,
        random_bytes=os.urandom,
    )
    confirmations = Confirmations(counters, clock)
    post = Post(Carriers(), envelopes, confirmations, counters, clock)
    outbound = Outbound(peers, post, supervisor)
    confirmer = Confirmer(partial(_send_to, peers, outbound), supervisor, counters)
    host.roster.follow(confirmer.follow)
    peers.serve_kind(DeliveryAck, partial(_confirmed, confirmations))
    inbound = _make_inbound(
        config,
        network,
        host,
        received,
        confirmations,
        confirmer,
        post.paths,
        events,
        counters,
        clock,
    )
    peers.wait_for_plugins(inbound.take_crowded)
    ground = Ground(
        instance=peers.local.instance,
        tables={"network.relay": structs.asdict(config.network.relay)},
        limits=config.limits,
        counters=counters,
        commands=ServiceCommands(commands),
        sessions=peers,
        cards=cards,
        inbound=inbound,
        carriers=post.carriers,
        is_trusted=network.trust.is_trusted,
        dispatch=host.deliver,
    )
    return Relaying(outbound, ground, received, post.paths)


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


class _Cards(Cards):
    """Cards as services have them."""

    def __init__(self, network: PeerNetwork, events: Dispatcher, clock: Clock) -> None:
        super().__init__(network.admission, network.credentials.node_id)
        self._network = network
        self._events = events
        self._clock = clock

    def sign(self, relays: Sequence[str]) -> bytes:
        """Put relays into this node's card, and show that to peers from now on.

        Raises:
            ValueError: no reader would take a card with these.
        """
        network, credentials = self._network, self._network.credentials
        try:
            if credentials.put_relays(relays):
                network.peers.show(credentials.certificate.der, credentials.card)
        except CredentialError as error:
            raise ValueError(f"relays {list(relays)} in a card: {error}") from error
        except StateDirError as error:
            _tell(self._events, self._clock, "card_not_signed", str(error))
        return credentials.card


def _make_inbound(
    config: Config,
    network: PeerNetwork,
    host: PluginHost,
    received: ReceivedIds,
    confirmations: Confirmations,
    confirmer: Confirmer,
    paths: Paths,
    events: Dispatcher,
    counters: Counters,
    clock: Clock,
) -> RelayedInbound:
    credentials = network.credentials

    def confirm(message: Message) -> None:
        if message.delivery is not None:
            confirmer.confirm(message.sender, message.delivery.message_id)

    def confirmed(message: Message) -> None:
        if isinstance(message.body, DeliveryAck):
            confirmations.arrived(message.sender, message.body)

    keys = NewKeys(clock, partial(_is_relay, config, network))
    inbound = RelayedInbound(
        credentials.node_id,
        Opener(
            credentials.node_id,
            credentials.realm,
            lambda: credentials.sealing_keys,
            lambda card, now_ms: open_card(card, now_ms=now_ms),
            allows=keys.allows,
        ),
        keys,
        Senders(
            network.admission,
            credentials.node_id,
            sealed_only=config.network.relay.seal == "required",
        ),
        received,
        BinaryCodec(config.limits),
        host,
        confirm=confirm,
        confirmed=confirmed,
        events=events,
        counters=counters,
        clock=clock,
        paths=paths,
    )
    network.trust.on_change(inbound.trust_changed)
    return inbound


def _is_relay(config: Config, network: PeerNetwork, peer: str) -> bool:
    """Whether the operator named a peer as a relay, or trusts its key."""
    session = network.peers.service_session(peer)
    if session is None:
        return False
    if session.is_configured or peer in config.network.relay.use:
        return True
    key = session.peer.fingerprint
    return key is not None and network.trust.is_trusted(key)


def _tell(events: Dispatcher, clock: Clock, action: str, detail: str) -> None:
    at = clock.time()
    events.emit(SystemEvent(action=action, detail=detail, level=Level.ERROR, at=at))
