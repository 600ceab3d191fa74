"""A node: builds the parts, wires them, and owns their tasks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec import structs

from thenodes_plugin_api import (
    Body,
    DeliveryOptions,
    DeliveryOutcome,
    DeliveryStatus,
    EventSink,
    Level,
    NotConnected,
    Payload,
    PeerInfo,
    PeerRecord,
    Plugin,
    Realm,
    SystemEvent,
)

from .clock import Clock, SystemClock
from .config import (
    Config,
    DiscoveryTable,
    Settings,
    TrustPolicyTable,
    expand,
    given_keys,
    validate,
)
from .control.builtin import BUILTIN_COMMANDS
from .control.commands import CommandTable
from .control.questions import CONTROL_SOCKET
from .control.socket import ControlSocket
from .control.status import NodeStatus, PluginLine
from .control.stopping import add_shutdown_command
from .descriptors import descriptor_limit
from .draining import Draining
from .errors import StartError
from .events.counters import Counters
from .events.dispatcher import Dispatcher
from .events.json_lines import EVENTS_FILE, JsonLinesSink
from .events.recent import RecentEvents
from .health.readiness import Phase, Readiness
from .loading import load_plugins
from .network import PeerNetwork
from .operating import Operation, plugin_lines
from .peers.manager import PeerManager
from .peers.persistence import KnownPeersKeeper
from .peers.store import KnownPeers
from .peers.trust_keeper import TrustKeeper
from .plugins.context import Services
from .plugins.host import PluginHost
from .plugins.questions import Questions
from .plugins.watchdog import Stall
from .relayed.outbound import Outbound
from .relayed.relaying import Relaying, make_relaying
from .security.certificates import pem
from .store.peers_file import PEERS_FILE, PeersFile
from .store.state_dir import StateDir
from .supervisor import Supervisor
from .transport.base import Transport

__all__ = ["Node"]

_PLUGIN_STOP_SECONDS = 0.6
_PLUGIN_CANCEL_SECONDS = 0.1
_OTHER_DESCRIPTORS = 100
_SENT = DeliveryOutcome(DeliveryStatus.SENT)

# The first words of the node's own commands and of the prompt's.
_RESERVED = BUILTIN_COMMANDS | {"exit", "quit"}


class Node:
    """A peer-to-peer node.

    ```python
    async with Node(Config(port=0), plugins={"hello": Hello()}) as node:
        print(node.id, node.address)
    ```

    Inside the context it listens, keeps its bootstrap addresses connected and
    runs its plugins; on leaving it stops in order. Many can live in one process.

    Args:
        config: what to do. With `Settings`, no plugin's preset wins over what
            they say was set; with a plain `Config`, over what differs from the
            library's defaults.
        plugins: plugins of the embedding program, by id; each gets EXTENSION
            kinds that begin with `<id>.`.
        sinks: told of events from the very first on.
        transport: makes connections; WebSocket by default.
        clock: times everything; the system's by default.
        on_stall: told, in a thread, that the event loop is held and by which plugin;
            nothing else of the node runs then.
    """

    def __init__(
        self,
        config: Config | Settings | None = None,
        *,
        plugins: Mapping[str, Plugin] | None = None,
        sinks: tuple[EventSink, ...] = (),
        transport: Transport | None = None,
        clock: Clock | None = None,
        on_stall: Callable[[Stall], None] | None = None,
    ) -> None:
        settings = config if isinstance(config, Settings) else _settings(config or Config())
        self.config = settings.config
        self.clock: Clock = clock or SystemClock()
        self.counters = Counters()
        self.events = Dispatcher(self.counters)
        self._supervisor = Supervisor(self.events, self.counters, self.clock)
        self.commands = CommandTable(self._supervisor.supervise)
        self.limits = self.config.limits
        self.known = KnownPeers(self.clock)
        self._settings = settings
        self._embedded = dict(plugins or {})
        self._sinks = sinks
        self._transport = transport
        self._on_stall = on_stall
        self._host = PluginHost(self.events, self.counters, reserved=_RESERVED)
        self._stack = AsyncExitStack()
        self._readiness = Readiness()
        self._recent = RecentEvents()
        self._stop_requested = asyncio.Event()
        self._capabilities: tuple[str, ...] = ()
        self._started_at = 0.0
        self._network: PeerNetwork | None = None
        self._state: StateDir
        self._outbound: Outbound
        self._operation: Operation

    @property
    def id(self) -> str:
        """This node's id, once started."""
        return self.peers.local.node_id

    @property
    def state_dir(self) -> Path | None:
        """Its state directory, once started; None where it is temporary."""
        return None if self._state.is_temporary else self._state.path

    @property
    def realm(self) -> Realm:
        """This node's realm, once started."""
        return self.peers.local.realm

    @property
    def address(self) -> str:
        """Where it listens, `host:port`, once started."""
        return self._started.address

    @property
    def trust(self) -> TrustKeeper:
        """Whose keys are trusted, once started."""
        return self._started.trust

    @property
    def certificate(self) -> bytes:
        """This node's certificate, PEM, once started."""
        return pem(self._started.credentials.certificate.der)

    @property
    def stop_requested(self) -> bool:
        """True once `stop` was called."""
        return self._stop_requested.is_set()

    @property
    def is_running(self) -> bool:
        """True from the end of the start until the stop begins."""
        return self._readiness.is_running

    @property
    def is_draining(self) -> bool:
        """True while it takes nothing new and is about to stop."""
        return self._readiness.phase is Phase.DRAINING

    @property
    def peers(self) -> PeerManager:
        """The connected peers, once started."""
        return self._started.peers

    @property
    def _started(self) -> PeerNetwork:
        if self._network is None:
            raise StartError("the node is not started: use it inside `async with`")
        return self._network

    async def send(
        self,
        to: str,
        body: Body,
        payload: Payload | None = None,
        *,
        timeout_seconds: float = 5.0,
        options: DeliveryOptions | None = None,
    ) -> DeliveryOutcome:
        """Send a message over the session with a node, else through a relay.

        See `PluginContext.send`; but any kind may be sent over a session.
        """
        try:
            if options is not None and options.confirm:
                return await self._outbound.send_confirmed(
                    to, body, payload, options=options, timeout_seconds=timeout_seconds
                )
            await self.peers.send(to, body, payload, timeout_seconds=timeout_seconds)
            return _SENT
        except NotConnected:
            # What is said of the way through relays is not to read as a failure of this one.
            pass
        return await self._outbound.send(
            to, body, payload, options=options, timeout_seconds=timeout_seconds
        )

    def broadcast(self, body: Body, payload: Payload | None = None) -> int:
        """Queue a message for every connected peer; see `PeerManager.broadcast`."""
        return self.peers.broadcast(body, payload)

    async def wait_for(self, node_id: str) -> PeerInfo:
        """Wait until that peer is connected."""
        return await self.peers.wait_for(node_id)

    def reload_trust(self, table: TrustPolicyTable) -> None:
        """Take other settings of `[encryption.trust_policy]` while the node runs.

        The keys on disk are read again, too. Peers that are connected are judged again.

        Raises:
            ConfigError: they cannot work; then nothing changes.
        """
        encryption = structs.replace(self.config.encryption, trust_policy=table)
        self._started.use(encryption)
        self.config = structs.replace(self.config, encryption=encryption)

    def plugins(self) -> Sequence[PluginLine]:
        """How every plugin stands, the rejected ones last."""
        return plugin_lines(self._host)

    def reload_network(self, bootstrap_nodes: Sequence[str], table: DiscoveryTable) -> None:
        """Take other addresses to dial, and other numbers for discovery, while the node runs.

        Sessions go on. Whether there is discovery at all stays as it is.

        Raises:
            ValueError: one is no address; then nothing changes.
        """
        nodes = tuple(bootstrap_nodes)
        self._started.use_addresses(nodes, table)
        table = structs.replace(table, enabled=self.config.discovery.enabled)
        self.config = structs.replace(self.config, bootstrap_nodes=nodes, discovery=table)

    async def reload_plugin(self, plugin_id: str) -> str:
        """Load a plugin anew; see `PluginChanges.reload`."""
        return await self._host.changes.reload(plugin_id)

    async def enable_plugin(self, plugin_id: str) -> str:
        """Start a plugin that does not run; see `PluginChanges.enable`."""
        return await self._host.changes.enable(plugin_id)

    async def disable_plugin(self, plugin_id: str) -> str:
        """Stop a plugin; see `PluginChanges.disable`."""
        return await self._host.changes.disable(plugin_id)

    async def drain(self, *, seconds: float = 5.0) -> bool:
        """Finish what has begun, and take nothing new; to be followed by `stop`.

        No session is accepted any more, and a relay tells its users to take another. Those
        that there are go on: plugins get what is in their inboxes, peers what is queued.

        Args:
            seconds: how long at most.

        Returns:
            Whether all was done in that time.

        Raises:
            StartError: the node does not run.
        """
        draining = Draining(self.peers, self._host.roster, self.events, self.clock)
        self._readiness.phase = Phase.DRAINING
        return await draining.run(seconds)

    def stop(self) -> None:
        """Ask whoever runs the node to leave its context; see `wait_stopped`."""
        self._stop_requested.set()

    async def wait_stopped(self) -> None:
        """Wait until `stop` was called."""
        await self._stop_requested.wait()

    def known_peers(self) -> Sequence[PeerRecord]:
        """The addresses that it knows, newest success first."""
        return self.known.records

    def status(self) -> NodeStatus:
        """What operators see of it, now."""
        return self._operation.status()

    async def __aenter__(self) -> Self:
        """Start.

        Raises:
            ConfigError: a value cannot be used.
            StartError: state directory or port cannot be used.
            PluginLoadError: an embedded plugin's id is not valid or taken.
        """
        if self._network is not None:
            raise StartError("a node runs once: make another one")
        stack = AsyncExitStack()
        try:
            await stack.enter_async_context(self.events)
            for sink in self._sinks:
                self.events.add_sink(sink)
            await self._start(stack)
        except BaseException:
            # Closed without the error, which the TaskGroup would wrap in a group.
            await stack.aclose()
            raise
        self._stack = stack
        self._readiness.phase = Phase.RUNNING
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._readiness.phase = Phase.STOPPING
        await self._stack.aclose()

    async def _start(self, stack: AsyncExitStack) -> None:
        for text in self._settings.warnings:
            self._emit("setting_overridden", text, level=Level.WARNING)
        self._load_plugins()
        config = self.config
        validate(config, self._settings.origins)
        self._state = stack.enter_context(StateDir(_path(config.node.state_dir)))
        self._keep_log()
        self.events.add_sink(self._recent, from_the_first=True)
        self.events.forget_first()
        keeper = self._restore_known(stack)
        self._started_at = self.clock.time()
        network = self._network = self._make_network()
        stack.callback(network.trust.save)
        relaying = self._make_relaying()
        stack.enter_context(relaying.received)
        self._outbound = relaying.outbound
        self._host.prepare(self._make_services(relaying), config.plugin, self._plugin_dir)
        self._operation = self._make_operation(relaying)
        self._operation.add_commands(self.commands)
        add_shutdown_command(self.commands, self.stop)
        self._host.roster.on_change(self._plugins_changed)
        stack.enter_context(self._host.roster.watch(self._on_stall))
        await stack.enter_async_context(self._operation)
        # Pushed one by one: each part is ended even where the end of another fails.
        await stack.enter_async_context(self._supervisor)
        stack.push_async_callback(self.peers.close)
        stack.push_async_callback(self._stop_plugins)
        self._host.run(self._supervisor.supervise)
        await self._host.wait_started()
        listener = await network.listen()
        stack.push_async_callback(listener.close)
        self._warn_of_descriptors()
        if not self._state.is_temporary:
            control = ControlSocket(self._state.path / CONTROL_SOCKET, self.commands)
            await stack.enter_async_context(control)
        network.run()
        if keeper is not None:
            self._supervisor.spawn_for_ever(keeper.run, PEERS_FILE)
        self._emit("started", f"node {self.id} listens on {self.address}, realm {self.realm}")
        stack.callback(self._emit, "stopping", "the node is stopping")

    def _warn_of_descriptors(self) -> None:
        peers, files = self.limits.max_sessions, descriptor_limit()
        if peers + _OTHER_DESCRIPTORS > files:
            self._emit(
                "few_descriptors",
                f"limits.max_sessions is {peers}, but this process may open only {files} files; "
                "raise that (ulimit -n), or lower limits.max_sessions",
                level=Level.WARNING,
            )

    async def _stop_plugins(self) -> None:
        self._host.stop()
        late = {slot.task for slot in self._host.roster if slot.task is not None}
        if late:
            _, late = await asyncio.wait(late, timeout=_PLUGIN_STOP_SECONDS)
        for task in late:
            self._emit("plugin_cancelled", f"plugin {task.get_name()} is cut off: it does not stop")
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=_PLUGIN_CANCEL_SECONDS)

    def _load_plugins(self) -> None:
        prepared = load_plugins(self._settings, self._embedded, self._host)
        self.config, self._capabilities = prepared.config, prepared.capabilities
        for plugin_id in prepared.unused:
            self._emit(
                "unused_table",
                f"[plugin.{plugin_id}] is set, but no such plugin is loaded",
                level=Level.WARNING,
            )

    def _keep_log(self) -> None:
        table = self.config.logging
        if table.json_path is None and not self._state.is_temporary:
            path = self._state.subdirectory(EVENTS_FILE.parent.name) / EVENTS_FILE.name
        elif table.json_path:
            path = expand(table.json_path)
        else:
            return
        log = JsonLinesSink(path, max_bytes=table.json_max_bytes, keep=table.json_rotate)
        self.events.add_sink(log, from_the_first=True)

    def _restore_known(self, stack: AsyncExitStack) -> KnownPeersKeeper | None:
        table = self.config.network.persistence
        self.known = KnownPeers(self.clock, max_entries=table.max_entries)
        if not table.enabled:
            return None
        path = _path(table.path) or self._state.path / PEERS_FILE
        file = PeersFile(path, ttl_seconds=table.ttl_secs, max_entries=table.max_entries)
        keeper = KnownPeersKeeper(
            self.known, file, table.save_interval_secs, self.events, self.clock
        )
        keeper.load()
        stack.callback(keeper.save)
        return keeper

    def _make_network(self) -> PeerNetwork:
        config, state = self.config, self._state
        return PeerNetwork(
            config,
            state.path,
            config.node.id or state.read_node_id(config.node.id_file),
            self._capabilities,
            self._host,
            self.known,
            self._transport,
            self._supervisor,
            self.events,
            self.counters,
            self.clock,
        )

    def _make_services(self, relaying: Relaying) -> Services:
        return Services(
            node_id=self.id,
            realm=self.realm,
            clock=self.clock,
            network=self.peers,
            peer_store=self.known,
            events=self.events,
            questions=Questions(os.urandom),
            delivery=relaying.outbound,
            ground=relaying.ground,
        )

    def _make_operation(self, relaying: Relaying) -> Operation:
        return Operation(
            self.config,
            self.state_dir,
            self._started,
            self._host,
            self.known,
            relaying,
            self._readiness,
            self._recent,
            self._supervisor,
            self.events,
            self.counters,
            self.clock,
            self._started_at,
        )

    def _make_relaying(self) -> Relaying:
        return make_relaying(
            self.config,
            self._state.path,
            self._started,
            self._host,
            self.commands,
            self._supervisor,
            self.events,
            self.counters,
            self.clock,
        )

    def _plugin_dir(self, plugin_id: str) -> Path:
        return self._state.subdirectory("plugins", plugin_id)

    def _plugins_changed(self) -> None:
        self.commands.replace_shells(self._host.shells())
        self._started.advertise(self._host.roster.capabilities())

    def _emit(self, action: str, detail: str, *, level: Level = Level.INFO) -> None:
        self.events.emit(
            SystemEvent(action=action, detail=detail, level=level, at=self.clock.time())
        )


def _settings(config: Config) -> Settings:
    return Settings(config, dict.fromkeys(given_keys(config), "configuration"))


def _path(text: str | None) -> Path | None:
    return None if text is None else expand(text)
