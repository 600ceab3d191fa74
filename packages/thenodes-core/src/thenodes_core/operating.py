"""What operators get of a running node: its commands, and what they answer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec import structs

from thenodes_plugin_api import PeerRecord

from ._version import __version__
from .clock import Clock
from .config import Config, RelayTable, relay_addresses, uses_tls
from .control.builtin import add_builtin_commands
from .control.commands import CommandTable
from .control.events import add_events_command
from .control.peers import add_peer_commands
from .control.ping import add_ping_command
from .control.plugins import add_plugin_commands
from .control.status import Glance, NodeStatus, PluginLine, RelayLine
from .control.texts import add_send_command
from .control.top import add_top_command
from .control.trust import add_trust_commands
from .doctor import Patient, Prober
from .doctor.command import add_doctor_command
from .events.counters import Counters
from .events.dispatcher import Dispatcher
from .events.recent import RecentEvents
from .health.lag import LoopLag
from .health.listener import HealthListener
from .health.live import Live
from .health.readiness import Readiness
from .health.readings import Parts
from .neighbours import Neighbours
from .network import PeerNetwork
from .peers.store import KnownPeers
from .plugins.host import PluginHost
from .plugins.unread import UnreadTexts
from .relayed.relaying import Relaying
from .supervisor import Supervisor

__all__ = ["Operation", "plugin_lines"]

_RELAY = "relay"


class Operation:
    """A node as its operators see it. Its context measures it, and tells what is measured.

    Args:
        config: the node's.
        state_dir: None where it is temporary.
        network: its peers.
        host: its plugins.
        known: the addresses that it knows.
        relaying: its part in relaying.
        readiness: whether it is ready.
        recent: what happened lately.
        supervisor: told of defects.
        events: told what operators are to know.
        counters: what was counted.
        clock: times it.
        started_at: when it was started, Unix seconds.
    """

    def __init__(
        self,
        config: Config,
        state_dir: Path | None,
        network: PeerNetwork,
        host: PluginHost,
        known: KnownPeers,
        relaying: Relaying,
        readiness: Readiness,
        recent: RecentEvents,
        supervisor: Supervisor,
        events: Dispatcher,
        counters: Counters,
        clock: Clock,
        started_at: float,
    ) -> None:
        self._config = config
        self._state_dir = state_dir
        self._network = network
        self._host = host
        self._known = known
        self._recent = recent
        self._counters = counters
        self._clock = clock
        self._started_at = started_at
        self._paths = relaying.paths
        self._neighbours = Neighbours(network, known, relaying.outbound, relaying.paths, clock)
        host.roster.take_texts(UnreadTexts(events, counters, clock))
        self._stack = AsyncExitStack()
        self.lag = LoopLag()
        parts = Parts(
            config,
            network,
            host.roster,
            known,
            relaying.received,
            counters,
            readiness,
            self.lag,
            started_at,
        )
        self._live = Live(network, host.roster, known, relaying.paths, self.lag, clock)
        self._health = HealthListener(config.health, parts, supervisor, events, clock)

    async def __aenter__(self) -> Self:
        """Begin to measure how late the event loop is, and to listen for who asks.

        Raises:
            ListenError: the address of the health listener cannot be used.
        """
        async with AsyncExitStack() as stack:
            stack.enter_context(self.lag)
            await stack.enter_async_context(self._health)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def add_commands(self, table: CommandTable) -> None:
        """Add all commands of the node's own, and the shells of its plugins."""
        add_builtin_commands(table, self)
        add_peer_commands(table, self._neighbours)
        add_send_command(table, self._neighbours)
        add_trust_commands(table, self._network.trust)
        add_plugin_commands(table, self)
        add_events_command(table, self._recent)
        add_ping_command(table, self._live)
        add_top_command(table, self._live)
        add_doctor_command(table, self.patient)
        table.replace_shells(self._host.shells())

    def status(self) -> NodeStatus:
        """The node, now."""
        config, network = self._config, self._network
        return NodeStatus(
            version=__version__,
            node_id=network.peers.local.node_id,
            fingerprint=network.credentials.identity.fingerprint,
            tls=uses_tls(config),
            realm=str(network.peers.local.realm),
            app_name=config.app_name,
            node_type=config.node.node_type,
            listening=network.address,
            health=self._health.url,
            state_dir=None if self._state_dir is None else str(self._state_dir),
            pid=os.getpid(),
            started_at=self._started_at,
            uptime_seconds=self._clock.time() - self._started_at,
            peers=network.peers.all(),
            dialling=network.dialling,
            plugins=self.plugins(),
            counters=self._counters.snapshot(),
            advertised=self._advertised(),
            relayed=self._relayed(),
            relays=self._relays(),
            is_relay=config.network.relay.enabled,
            problems=self._recent.problems,
            unread=self._recent.unread,
            at=self._clock.time(),
        )

    def glance(self) -> Glance:
        """What a toolbar shows of it."""
        local = self._network.peers.local
        relays = self._relays()
        connected = sum(relay.is_connected for relay in relays)
        parts = ["is a relay"] if self._config.network.relay.enabled else []
        if self._config.network.relay.is_user:
            parts.append(f"{connected} of {len(relays)} relays")
        return Glance(
            node_id=local.node_id,
            realm=str(local.realm),
            peers=len(self._network.peers.all()),
            relay=", ".join(parts) or None,
            errors=self._recent.unread,
        )

    def mark_read(self) -> None:
        """Somebody has looked at the warnings and errors."""
        self._recent.mark_read()

    def _advertised(self) -> Sequence[str]:
        listen_addr = self._network.peers.local.listen_addr
        own = [] if listen_addr is None else [listen_addr]
        return [*own, *self._config.transport.public_hosts]

    def _relayed(self) -> int:
        peers = self._network.peers
        return sum(peers.get(path.node_id) is None for path in self._paths.all())

    def _relays(self) -> Sequence[RelayLine]:
        return _relay_lines(self._config.network.relay, self._network)

    def patient(self) -> Patient:
        """The node, for who looks what is wrong with it."""
        network, relays = self._network, relay_addresses(self._config.network.relay)
        # What it stays connected with may have changed since the start.
        dialled = [dial.address for dial in network.dialling if dial.address not in relays]
        config = structs.replace(self._config, bootstrap_nodes=tuple(dialled))
        peers, plugins = network.peers, self.plugins()
        return Patient(
            config=config,
            state_dir=self._state_dir,
            node_id=peers.local.node_id,
            prober=Prober(
                peers.local,
                network.transport,
                config.limits,
                self._clock,
                network.trust.policy,
                scheme="wss" if uses_tls(config) else "ws",
                connected=lambda node_id: peers.get(node_id) is not None,
            ),
            clock=self._clock,
            plugins=lambda: plugins,
            holder=f"held by this node, process {os.getpid()}",
            listening=network.address,
            dialling=network.dialling,
            connected=frozenset(peer.node_id for peer in peers.all()),
            tls=network.credentials.tls,
        )

    def known_peers(self) -> Sequence[PeerRecord]:
        """The addresses that it knows, newest success first."""
        return self._known.records

    def plugins(self) -> Sequence[PluginLine]:
        """How every plugin stands, the rejected ones last."""
        return plugin_lines(self._host)

    async def reload_plugin(self, plugin_id: str) -> str:
        """Load a plugin anew; see `PluginChanges.reload`."""
        return await self._host.changes.reload(plugin_id)

    async def enable_plugin(self, plugin_id: str) -> str:
        """Start a plugin that does not run; see `PluginChanges.enable`."""
        return await self._host.changes.enable(plugin_id)

    async def disable_plugin(self, plugin_id: str) -> str:
        """Stop a plugin; see `PluginChanges.disable`."""
        return await self._host.changes.disable(plugin_id)


def _relay_lines(table: RelayTable, network: PeerNetwork) -> Sequence[RelayLine]:
    """The relays that a node uses, as far as its configuration or a session tells."""
    dials = {dial.address: dial for dial in network.dialling}
    lines = []
    for name in table.use:
        dial = dials.get(name)
        node_id = name if dial is None else dial.node_id
        is_connected = network.peers.get(node_id or "") is not None
        state = "not connected" if dial is None else " ".join((dial.state, dial.error)).strip()
        lines.append(RelayLine(name, node_id, is_connected, "connected" if is_connected else state))
    if table.selection == "rendezvous":
        named = {line.node_id for line in lines}
        found = [peer for peer in network.peers.all() if _RELAY in peer.capabilities]
        lines += [
            RelayLine(peer.node_id, peer.node_id, is_connected=True, detail="connected")
            for peer in found
            if peer.node_id not in named
        ]
    return lines


def plugin_lines(host: PluginHost) -> Sequence[PluginLine]:
    """How every plugin stands, the rejected ones last."""
    return [
        PluginLine(
            id=p.id,
            version=p.version,
            state=p.state,
            source=p.source,
            detail=p.detail,
            abi=p.abi,
            abi_revision=p.abi_revision,
            codes=p.codes,
            faults=p.faults,
            prefix=p.prefix,
        )
        for p in host.status()
    ]
