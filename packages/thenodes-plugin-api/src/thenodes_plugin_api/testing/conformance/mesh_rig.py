"""The conformance suite's rig of a `Mesh`."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from ...manifest import ConfigSection, NetworkSection, PromptSection
from ...messages import Body
from ...payload import Payload
from ..loading import Registered, embed
from ..mesh import Mesh
from ..mesh_node import MeshNode
from .rig import Probe, Spec

__all__ = ["MeshRig"]


class MeshRig:
    """Runs behaviours on a mesh.

    Args:
        mesh: an empty one.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._nodes: dict[str, MeshNode] = {}

    async def start(self, node_id: str, *specs: Spec) -> Sequence[Probe]:
        """Start a node that is connected with every other; returns its plugins."""
        plugins = [spec.kind() for spec in specs]
        self._nodes[node_id] = await self._mesh.add(
            node_id,
            *map(_registered, specs, plugins),
            config={spec.id: spec.table for spec in specs},
        )
        return plugins

    async def stop(self, node_id: str) -> None:
        """Stop a node."""
        await self._mesh.remove(self._nodes[node_id])

    async def cut(self) -> None:
        """End every connection."""
        for node in list(self._mesh.nodes.values()):
            for other in list(node.links.values()):
                await self._mesh.disconnect(node, other)

    async def send(self, node_id: str, to: str, body: Body, payload: Payload | None = None) -> None:
        """Send as a node."""
        await self._nodes[node_id].send(to, body, payload)

    async def prompt(self, node_id: str, line: str) -> str | None:
        """Type a line."""
        plugin_id, _, rest = line.partition(" ")
        return await self._nodes[node_id].prompt(rest, plugin_id=plugin_id)

    async def settle(self) -> None:
        """Let everything happen that needs no time."""
        await self._mesh.settle()

    async def advance(self, seconds: float) -> None:
        """Move the clock."""
        await self._mesh.advance(seconds)

    def told(self, node_id: str, action: str) -> Sequence[str]:
        """The ids of the plugins of which a node told this action, in order."""
        events = self._nodes[node_id].events
        return [
            getattr(event, "plugin", "")
            for event in events
            if getattr(event, "action", "") == action
        ]

    def dropped(self, node_id: str, reason: str) -> int:
        """How many messages a node has dropped for a reason."""
        return self._nodes[node_id].dropped[reason]


def _registered(spec: Spec, plugin: Probe) -> Registered:
    embedded = embed(spec.id, plugin, handles=spec.claims)
    manifest = structs.replace(
        embedded.manifest,
        prompt=PromptSection(prefix=spec.id),
        messages=structs.replace(embedded.manifest.messages, text=spec.text),
        network=NetworkSection(advertises=spec.advertises),
        config=ConfigSection(defaults=spec.defaults),
    )
    return Registered(manifest, plugin)
