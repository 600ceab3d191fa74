"""Nodes in memory that run plugins, and are connected with each other."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from ..messages import Reason
from ..peers import Direction, PeerJoined, PeerLeft
from ..realm import Realm
from .clock import ManualClock, settle
from .loading import Registered, register
from .mesh_node import MeshNode
from .peer import make_peer
from .records import Fault

__all__ = ["Mesh"]

_ROUNDS = 100


class Mesh:
    """Nodes in one process, each with plugins, without sockets and without time of its own.

    ```python
    async with Mesh(__file__) as mesh:
        alice, bob = await mesh.grow(2)
        assert await alice.prompt("ping") == "1 peer answered"
    ```

    Routing, pairing of answers, size limits and containment are those of a node; one
    suite of behaviours holds both to that. What is not here: the outbound queue of a slow
    peer (see `NodeContext.fail`), loss, encryption, and the time that things take.

    Args:
        project: a file or folder of the project whose plugin nodes run by default.
        clock: time, for all nodes.
        realm: the realm of all nodes.
        directory: holds the plugins' data; a temporary one where there is none.

    Attributes:
        nodes: by id.
        clock: moves them all.
    """

    def __init__(
        self,
        project: Path | str | None = None,
        *,
        clock: ManualClock | None = None,
        realm: Realm | None = None,
        directory: Path | None = None,
    ) -> None:
        self.nodes: dict[str, MeshNode] = {}
        self.clock = clock or ManualClock()
        self.realm = realm or Realm()
        self._project = project
        self._directory = directory
        self._temporary: Path | None = None

    @property
    def faults(self) -> Sequence[Fault]:
        """What plugins raised, on all nodes."""
        return [fault for node in self.nodes.values() for fault in node.faults]

    async def add(
        self,
        node_id: str,
        *plugins: Registered,
        connect: bool = True,
        config: Mapping[str, Mapping[str, object]] | None = None,
    ) -> MeshNode:
        """Start a node.

        Returns once `on_start` of its plugins has returned, or waits for the clock.

        Args:
            node_id: its id.
            plugins: what it runs, from `register` or `embed`; the project's plugin where
                none is given.
            connect: connect it with every other node.
            config: the operator's `[plugin.<id>]` tables, by id.

        Raises:
            RegistrationError: a plugin cannot run here, or beside another.
            ValueError: the id is taken.
        """
        if node_id in self.nodes:
            raise ValueError(f"there is a node {node_id!r} already: choose another id")
        if not plugins and self._project is not None:
            plugins = (register(self._project),)
        node = MeshNode(node_id, self.realm, self.clock, self._folder / node_id)
        for plugin in sorted(plugins, key=lambda plugin: plugin.id):
            node.load(plugin, (config or {}).get(plugin.id, {}))
        self.nodes[node_id] = node
        await node.start()
        if connect:
            for other in list(self.nodes.values()):
                if other is not node:
                    self._link(node, other)
        await self.settle()
        return node

    async def grow(self, count: int, *, prefix: str = "node") -> list[MeshNode]:
        """Start `count` nodes with the project's plugin: `node1`, `node2`, …"""
        first = len(self.nodes) + 1
        return [await self.add(f"{prefix}{first + number}") for number in range(count)]

    async def connect(self, one: MeshNode, other: MeshNode) -> None:
        """Connect two nodes; `one` dials. Nothing happens where they are connected."""
        self._link(one, other)
        await self.settle()

    async def disconnect(
        self, one: MeshNode, other: MeshNode, *, reason: Reason = Reason.PEER_LEFT
    ) -> None:
        """Part two nodes."""
        self._part(one, other, reason)
        await self.settle()

    async def remove(self, node: MeshNode) -> None:
        """Stop a node: its plugins first, then its sessions."""
        await self._stop(node)
        await self.settle()

    async def settle(self) -> None:
        """Let everything happen that needs no time."""
        for _ in range(_ROUNDS):
            await settle()
            if all(plugin.is_idle for node in self.nodes.values() for plugin in node.running):
                return

    async def advance(self, seconds: float) -> None:
        """Move the clock, and let everything happen that is due."""
        await self.clock.advance(seconds)
        await self.settle()

    async def close(self) -> None:
        """Stop every node."""
        for node in list(self.nodes.values()):
            await self._stop(node)
        if self._temporary is not None:
            await asyncio.to_thread(shutil.rmtree, self._temporary, ignore_errors=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def _folder(self) -> Path:
        if self._directory is None:
            self._directory = self._temporary = Path(tempfile.mkdtemp(prefix="thenodes-mesh-"))
        return self._directory

    async def _stop(self, node: MeshNode) -> None:
        await node.stop()
        for other in list(node.links.values()):
            self._part(node, other, Reason.RESTARTING)
        self.nodes.pop(node.id, None)

    def _link(self, dialer: MeshNode, acceptor: MeshNode) -> None:
        if acceptor.id in dialer.links:
            return
        for here, there, direction in (
            (dialer, acceptor, Direction.OUTBOUND),
            (acceptor, dialer, Direction.INBOUND),
        ):
            here.join(
                there,
                PeerJoined(
                    make_peer(
                        there.id,
                        capabilities=there.capabilities,
                        direction=direction,
                        connected_at=self.clock.time(),
                    )
                ),
            )

    def _part(self, one: MeshNode, other: MeshNode, reason: Reason) -> None:
        for here, there in ((one, other), (other, one)):
            peer = here.get(there.id)
            if peer is not None:
                here.leave(PeerLeft(peer, reason))
