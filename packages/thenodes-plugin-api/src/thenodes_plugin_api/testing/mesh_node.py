"""One node of a mesh."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from ..config import ConfigDefaults
from ..delivery import DeliveryOutcome, DeliveryStatus
from ..errors import NoRoute
from ..events import Event
from ..messages import Body, Extension, Message, Reason, Verified
from ..payload import Payload
from ..peers import PeerInfo, PeerJoined, PeerLeft
from ..plugin import Plugin
from ..realm import Realm
from .addresses import KnownAddresses
from .clock import ManualClock, settle
from .errors import PromptFailed, RegistrationError
from .event_log import EventLog
from .loading import Registered, make_config
from .node_context import NodeContext
from .records import Fault
from .routing import Questions, overlap, route
from .running import RunningPlugin
from .sendable import check_size
from .wall import CONTAINED, describe

__all__ = ["MeshNode"]

_SENT = DeliveryOutcome(DeliveryStatus.SENT)


class MeshNode:
    """A node of a `Mesh`; made by `Mesh.add`.

    Attributes:
        id: its id.
        capabilities: what its plugins advertise.
        running: its plugins, in the order of their ids.
        links: the connected nodes, by id.
        dropped: how many messages nobody got, by reason, as a node counts them.
        peer_store: the addresses that it knows.
    """

    def __init__(self, node_id: str, realm: Realm, clock: ManualClock, directory: Path) -> None:
        self.id = node_id
        self.capabilities: tuple[str, ...] = ()
        self.running: list[RunningPlugin] = []
        self.links: dict[str, MeshNode] = {}
        self.dropped: Counter[str] = Counter()
        self.peer_store = KnownAddresses()
        self._realm = realm
        self._clock = clock
        self._directory = directory
        self._log = EventLog()
        self._peers: dict[str, PeerInfo] = {}
        self._questions = Questions(clock)

    @property
    def events(self) -> Sequence[Event]:
        """Every event of this node, oldest first."""
        return self._log.events

    @property
    def faults(self) -> Sequence[Fault]:
        """What its plugins raised."""
        return [fault for plugin in self.running for fault in plugin.context.faults]

    def context(self, plugin_id: str | None = None) -> NodeContext:
        """The context of a plugin, with everything that it did; of the only one by default."""
        return self._find(plugin_id).context

    def plugin(self, plugin_id: str | None = None) -> Plugin:
        """A plugin's object; the only one's by default."""
        return self._find(plugin_id).registered.plugin

    async def prompt(self, line: str, *, plugin_id: str | None = None) -> str | None:
        """Type a line in a plugin's shell, and let everything happen that it causes.

        Args:
            line: as `on_prompt` gets it, without the prefix.
            plugin_id: whose shell; of the only plugin by default.

        Raises:
            PromptFailed: the plugin has no shell, is not running, or raised.
        """
        found = self._find(plugin_id)
        if found.registered.manifest.prompt.prefix is None:
            raise PromptFailed(f"plugin {found.registered.id} has no prompt prefix")
        answer = await found.prompt(line)
        await settle()
        return answer

    async def send(self, to: str, body: Body, payload: Payload | None = None) -> None:
        """Send any message as this node, whatever its plugins would do.

        Raises:
            NoRoute: `to` is not connected.
            PayloadTooLarge: over the frame limit.
        """
        self._deliver(to, body, payload)
        await settle()

    def load(self, registered: Registered, given: Mapping[str, object]) -> None:
        """Take a plugin before the node starts."""
        self._check_free(registered)
        context = NodeContext(
            registered.id,
            _NodeWire(self),
            node_id=self.id,
            realm=self._realm,
            config=make_config(registered, given),
            data_dir=self._directory / registered.id,
            clock=self._clock,
            peer_store=self.peer_store,
            log=self._log,
        )
        self.running.append(RunningPlugin(registered, context, self.dropped))
        advertised = _capabilities_of(registered)
        self.capabilities = tuple(dict.fromkeys((*self.capabilities, *advertised)))

    async def start(self) -> None:
        """Start the plugins."""
        for plugin in self.running:
            await plugin.start()

    async def stop(self) -> None:
        """Stop the plugins."""
        for plugin in self.running:
            await plugin.stop()

    def all(self) -> Sequence[PeerInfo]:
        """Every connected peer, ordered by id."""
        return [peer for _, peer in sorted(self._peers.items())]

    def get(self, node_id: str) -> PeerInfo | None:
        """The peer with that id, if connected."""
        return self._peers.get(node_id)

    def join(self, other: MeshNode, event: PeerJoined) -> None:
        """Be connected with another node."""
        self.links[other.id] = other
        self._peers[other.id] = event.peer
        self._tell(event)

    def leave(self, event: PeerLeft) -> None:
        """Be no longer connected."""
        node_id = event.peer.node_id
        del self.links[node_id], self._peers[node_id]
        self._questions.peer_gone(node_id)
        self._tell(event)

    def receive(self, message: Message, had: Callable[[], object] | None = None) -> None:
        """Take a message of a peer; `had` is called once its plugins had it."""
        route(message, self.running, self._questions, self.dropped, had)

    def reaches(self, node_id: str) -> bool:
        """Whether something can be sent there."""
        return node_id in self.links

    def _tell(self, event: PeerJoined | PeerLeft) -> None:
        for plugin in self.running:
            plugin.offer(event)

    def _deliver(
        self,
        to: str,
        body: Body,
        payload: Payload | None,
        had: Callable[[], object] | None = None,
    ) -> DeliveryOutcome:
        if to not in self.links:
            raise NoRoute(
                Reason.CAPABILITY_MISSING, f"no session with {to}, and a mesh has no relays"
            )
        check_size(body, payload)
        message = Message(body, payload, sender=self.id, verified=Verified.SESSION)
        self.links[to].receive(message, had)
        return _SENT

    def _broadcast(
        self, body: Body, payload: Payload | None, passed_over: Collection[str] = ()
    ) -> int:
        reached = [to for to in self.links if to not in passed_over]
        for to in reached:
            self._deliver(to, body, payload)
        return len(reached)

    async def _ask(
        self, plugin_id: str, peer: str, kind: str, payload: Payload | None, seconds: float
    ) -> Message:
        request_id, _ = self._questions.ask(plugin_id, peer)
        try:
            self._deliver(peer, Extension(kind, request_id), payload)
        except BaseException:
            self._questions.drop(plugin_id, request_id)
            raise
        return await self._questions.wait(plugin_id, request_id, kind, seconds)

    def _find(self, plugin_id: str | None) -> RunningPlugin:
        found = [p for p in self.running if plugin_id in (None, p.registered.id)]
        if len(found) != 1:
            ids = ", ".join(plugin.registered.id for plugin in self.running) or "none"
            raise LookupError(f"{self.id} runs {ids}: expected one, got {plugin_id!r}")
        return found[0]

    def _check_free(self, registered: Registered) -> None:
        new = registered.manifest
        for other in self.running:
            old = other.registered.manifest
            taken = [
                what
                for what, clash in (
                    (f"id {registered.id!r}", old.plugin.id == new.plugin.id),
                    (
                        f"prompt prefix {new.prompt.prefix!r}",
                        new.prompt.prefix is not None and old.prompt.prefix == new.prompt.prefix,
                    ),
                    *(
                        (f"message claim {claim!r}", overlap(claim, held))
                        for claim in new.messages.handles
                        for held in old.messages.handles
                    ),
                )
                if clash
            ]
            if taken:
                raise RegistrationError(f"the {taken[0]} is taken by {old.plugin.id} (TN-P030)")


class _NodeWire:
    """A node's peers, as the contexts of its plugins see them."""

    def __init__(self, node: MeshNode) -> None:
        self.all = node.all
        self.get = node.get
        self.reaches = node.reaches
        self.send = node._deliver
        self.broadcast = node._broadcast
        self.ask = node._ask


def _capabilities_of(registered: Registered) -> tuple[str, ...]:
    try:
        defaults = registered.plugin.early_config_defaults()
    except CONTAINED as error:
        raise RegistrationError(f"early_config_defaults raised {describe(error)}") from error
    if defaults is None:
        return ()
    if not isinstance(defaults, ConfigDefaults):
        raise RegistrationError(
            f"early_config_defaults: expected ConfigDefaults, got {type(defaults).__name__}"
        )
    declared = registered.manifest.network.advertises
    extra = [name for name in defaults.capabilities if name not in declared]
    if extra and registered.manifest.plugin.entry != "embedded:plugin":
        raise RegistrationError(
            f"capabilities {extra} are not in the manifest's [network] advertises"
        )
    return defaults.capabilities
