"""A node's side of the network: who it is, whom it admits, where it listens and dials."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from msgspec import structs

from thenodes_plugin_api import Level, NetworkEvent, PeerSource, SystemEvent

from .address import Address, host_port, parse_address
from .clock import Clock
from .config import Config, DiscoveryTable, EncryptionTable, relay_addresses, uses_tls
from .control.status import DialStatus
from .credentials import Credentials
from .errors import DialError, StartError, StateDirError
from .events.counters import Counters
from .events.dispatcher import Dispatcher
from .peers.admission import Admission
from .peers.backoff import Backoff
from .peers.dialer import Dialer
from .peers.dialling import Dialling
from .peers.discovery import Discovery
from .peers.manager import Inbound, PeerManager
from .peers.store import KnownPeers
from .peers.trust_keeper import TrustKeeper
from .protocol.codec import Codec
from .protocol.codec_bin import BinaryCodec
from .protocol.codec_json import JsonCodec
from .protocol.handshake import LocalNode, Role
from .protocol.realm import make_realm
from .rate import STRANGERS_AT_ONCE, STRANGERS_PER_SECOND, Damper
from .supervisor import Supervisor
from .transport.base import HUNG_UP, Link, Listener, Transport
from .transport.websocket import WebSocketTransport

__all__ = ["PeerNetwork"]

_RENEWAL_SECONDS = 3600.0


class PeerNetwork:
    """Everything between a node and its peers.

    Args:
        config: the node's.
        state_dir: where keys and trust are kept.
        node_id: the id that the operator chose; derived from the key where None.
        capabilities: what the node advertises.
        inbound: takes what peers send.
        known: addresses.
        transport: makes connections; WebSocket where None.
        supervisor: runs the background work.
        events: told of what happens.
        counters: counts it.
        clock: times it.

    Raises:
        StateDirError: key, certificate or card cannot be read or made.
        ConfigError: the trust policy asks for what is not there.
    """

    def __init__(
        self,
        config: Config,
        state_dir: Path,
        node_id: str | None,
        capabilities: tuple[str, ...],
        inbound: Inbound,
        known: KnownPeers,
        transport: Transport | None,
        supervisor: Supervisor,
        events: Dispatcher,
        counters: Counters,
        clock: Clock,
    ) -> None:
        realm = make_realm(config.realm.name, config.realm.version, config.realm.code)
        self.trust = TrustKeeper(state_dir, config.encryption, realm, events.emit, clock)
        self.trust.load()
        self.credentials = Credentials.load(
            state_dir, config.encryption, node_id, realm, self.trust.authorities, clock
        )
        self._show_own()
        self._config = config
        self._known = known
        self._supervisor = supervisor
        self._events = events
        self._counters = counters
        self._clock = clock
        self._scheme = "wss" if uses_tls(config) else "ws"
        self._admission = Admission(
            self.credentials,
            self.trust.policy,
            self.trust.store,
            self.trust.known,
            realm,
            config.transport.public_hosts,
            events,
            counters,
            clock=clock,
        )
        self.peers = self._make_peers(capabilities, inbound)
        self._transport = transport or self._make_transport()
        self.dials = Dialling(
            partial(parse_address, scheme=self._scheme),
            self._make_dialer,
            supervisor.spawn_for_ever,
            clock,
        )
        self._strays = Damper(STRANGERS_PER_SECOND, STRANGERS_AT_ONCE, clock.monotonic())
        self._listener: Listener | None = None
        self._discovery: Discovery | None = None
        self.trust.on_change(self._trust_changed)
        if problem := self.credentials.problem:
            self._tell("credentials_damaged", problem, Level.WARNING)

    @property
    def address(self) -> str:
        """Where it listens, `host:port`, once it does."""
        if self._listener is None:
            raise StartError("the node does not listen: it is not started")
        return host_port(self._listener.host, self._listener.port)

    @property
    def transport(self) -> Transport:
        """What it listens and dials with."""
        return self._transport

    @property
    def admission(self) -> Admission:
        """Who is admitted, and what is known of ids, keys and cards."""
        return self._admission

    @property
    def dialling(self) -> Sequence[DialStatus]:
        """The addresses that it stays connected with."""
        return [DialStatus(*structs.astuple(dialer.attempt)) for dialer in self.dials]

    async def listen(self) -> Listener:
        """Accept connections, and say in every HELLO where.

        Raises:
            ListenError: the address cannot be used.
        """
        config = self._config
        self._listener = await self._transport.listen(
            config.host, config.port, self._accept, self._report_stray
        )
        self.peers.announce(self.address)
        return self._listener

    def run(self) -> None:
        """Begin to dial, to look after sessions, and to renew what is due."""
        for text in self._addresses():
            self.dials.keep(text)
        self._supervisor.spawn_for_ever(self.peers.watch, "watch")
        self._supervisor.spawn_for_ever(self.trust.watch, "trust")
        self._supervisor.spawn_for_ever(self._renew, "credentials")
        if self._config.discovery.enabled:
            self._discovery = self._make_discovery()
            self._supervisor.spawn_for_ever(self._discovery.run, "discovery")

    def _addresses(self) -> Sequence[str]:
        """Where to stay connected: each address once, of peers and of relays."""
        config = self._config
        return list(
            dict.fromkeys([*config.bootstrap_nodes, *relay_addresses(config.network.relay)])
        )

    def advertise(self, capabilities: tuple[str, ...]) -> None:
        """Advertise these in every HELLO from now on."""
        self.peers.local = structs.replace(self.peers.local, capabilities=capabilities)

    def use(self, table: EncryptionTable) -> None:
        """Take another trust policy while the node runs, and read the keys on disk again.

        Raises:
            ConfigError: it cannot work; then nothing changes.
        """
        self.trust.use(table)

    def use_addresses(self, bootstrap_nodes: tuple[str, ...], table: DiscoveryTable) -> None:
        """Take other addresses to stay connected with, and other numbers for discovery.

        Whether there is discovery at all stays as it is.

        Raises:
            ValueError: one is no address; then nothing changes.
        """
        before, self._config = (
            self._config,
            structs.replace(self._config, bootstrap_nodes=bootstrap_nodes),
        )
        try:
            self.dials.configure(self._addresses())
        except ValueError:
            self._config = before
            raise
        if self._discovery is not None:
            self._discovery.use(table, self._fixed())

    def _fixed(self) -> Sequence[str]:
        """The addresses that discovery need not dial."""
        return [parse_address(text).bare for text in self._addresses()]

    def _trust_changed(self) -> None:
        """Judge again who is connected, and dial who may have been refused."""
        self._admission.use(self.trust.policy)
        self.peers.judge_again()
        for dialer in self.dials:
            dialer.wake()
        for address in self._admission.now_trusted():
            self._supervisor.spawn(partial(self._call_back, address), f"call back {address}")

    async def _call_back(self, address: str) -> None:
        """Dial a peer that was refused before its key was trusted: it would wait for longer."""
        with contextlib.suppress(DialError):
            link = await self._transport.dial(parse_address(address, scheme=self._scheme).url)
            await self.peers.serve(link, Role.DIALER)

    async def _renew(self) -> None:
        told = ""
        while True:
            await self._clock.sleep(_RENEWAL_SECONDS)
            try:
                if self.credentials.renew():
                    self._show_own()
                    self.peers.show(self.credentials.certificate.der, self.credentials.card)
                told = ""
            except StateDirError as error:
                if str(error) != told:
                    told = str(error)
                    self._tell("credentials_not_renewed", told, Level.ERROR)

    def _show_own(self) -> None:
        self.trust.own = self.credentials.certificate, self.credentials.certificate_path

    def _make_peers(self, capabilities: tuple[str, ...], inbound: Inbound) -> PeerManager:
        config, credentials = self._config, self.credentials
        allowed = config.realm_access.allowed_node_types
        local = LocalNode(
            node_id=credentials.node_id,
            realm=credentials.realm,
            instance=os.urandom(16),
            public_key=credentials.identity.public_key,
            sign=credentials.identity.sign,
            certificate=credentials.certificate.der,
            card=credentials.card,
            node_type=config.node.node_type,
            capabilities=capabilities,
            allowed_node_types=None if allowed is None else frozenset(allowed),
            require_identity=config.encryption.trust_policy.require_identity,
        )
        codecs: list[Codec] = [BinaryCodec(config.limits), JsonCodec(config.limits)]
        return PeerManager(
            local,
            {codec.subprotocol: codec for codec in codecs},
            inbound,
            self._events,
            self._counters,
            limits=config.limits,
            clock=self._clock,
            random_bytes=os.urandom,
            gate=self._admission,
        )

    def _make_transport(self) -> WebSocketTransport:
        tls = self.credentials.tls
        return WebSocketTransport(
            self._config.limits,
            origins=self._config.transport.origins,
            server_tls=tls.server if uses_tls(self._config) else None,
            client_tls=tls,
        )

    def _make_dialer(self, address: Address, source: PeerSource) -> Dialer:
        return Dialer(
            address,
            self._transport,
            self.peers.serve,
            self.peers.wait_gone,
            self._known,
            self._events,
            self._counters,
            clock=self._clock,
            backoff=Backoff(random.random),
            source=source,
        )

    def _make_discovery(self) -> Discovery:
        return Discovery(
            self._config.discovery,
            self.peers,
            self._known,
            self._transport,
            self._fixed(),
            self._supervisor.spawn,
            self._counters,
            clock=self._clock,
            rng=random.Random(),
            scheme=self._scheme,
            is_held_off=self.dials.is_held_off,
        )

    async def _accept(self, link: Link) -> None:
        await self._supervisor.supervise(self.peers.serve(link, Role.ACCEPTOR))

    def _report_stray(self, remote: str, problem: str) -> None:
        self._counters.add("connections_refused")
        kept_back = self._strays.let_through(self._clock.monotonic())
        if kept_back is None:
            return
        more = f" ({kept_back} more were not reported)" if kept_back else ""
        self._events.emit(
            NetworkEvent(
                action="connection_refused",
                detail=f"refused a connection from {remote}: {problem}{more}",
                addr=remote,
                level=Level.DEBUG if problem == HUNG_UP else Level.WARNING,
                at=self._clock.time(),
            )
        )

    def _tell(self, action: str, detail: str, level: Level) -> None:
        at = self._clock.time()
        self._events.emit(SystemEvent(action=action, detail=detail, level=level, at=at))
