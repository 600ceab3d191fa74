"""What `ping` and `top` look at in a running node."""

from __future__ import annotations

from collections.abc import Sequence

from ..clock import Clock
from ..control.sample import Inbox
from ..network import PeerNetwork
from ..peers.store import KnownPeers
from ..plugins.roster import Roster
from ..relayed.paths import Paths
from ..session.numbers import SessionNumbers
from ..session.tally import Traffic
from .lag import LoopLag

__all__ = ["Live"]


class Live:
    """The parts of a node that change from second to second.

    Args:
        network: its peers.
        plugins: those that were loaded.
        known: the addresses that it knows.
        paths: who was lately reached or heard through which relay.
        lag: of the event loop.
        clock: the node's.
    """

    def __init__(
        self,
        network: PeerNetwork,
        plugins: Roster,
        known: KnownPeers,
        paths: Paths,
        lag: LoopLag,
        clock: Clock,
    ) -> None:
        self._peers = network.peers
        self._plugins = plugins
        self._known = known
        self._paths = paths
        self._lag = lag
        self.clock = clock

    @property
    def node_id(self) -> str:
        """The node."""
        return self._peers.local.node_id

    @property
    def traffic(self) -> Traffic:
        """What all sessions ever carried."""
        return self._peers.traffic

    @property
    def lag_seconds(self) -> float:
        """The latest that the event loop was within the last seconds."""
        return self._lag.peak_seconds

    def numbers(self) -> Sequence[SessionNumbers]:
        """What every session carried."""
        return self._peers.numbers()

    def relays(self) -> frozenset[str]:
        """The relays through which nodes were lately reached or heard."""
        return frozenset(path.relay for path in self._paths.all())

    def inboxes(self) -> Sequence[Inbox]:
        """What waits for each plugin."""
        return [
            Inbox(slot.plugin_id, len(slot.inbox.items), slot.inbox.size_bytes)
            for slot in self._plugins
        ]

    def peer_ids(self) -> Sequence[str]:
        """Every peer that may be named: connected, behind a relay, or known."""
        ids = {peer.node_id for peer in self._peers.all()}
        ids.update(path.node_id for path in self._paths.all())
        ids.update(record.node_id for record in self._known.records if record.node_id)
        return sorted(ids)

    def is_connected(self, node_id: str) -> bool:
        """Whether there is a session with that peer."""
        return self._peers.get(node_id) is not None

    def relay_of(self, node_id: str) -> str | None:
        """The relay through which a node was lately reached or heard."""
        path = self._paths.get(node_id)
        return None if path is None else path.relay

    async def ping(self, node_id: str, *, timeout_seconds: float) -> float:
        """Measure a round trip; see `PeerManager.ping`."""
        return await self._peers.ping(node_id, timeout_seconds=timeout_seconds)
