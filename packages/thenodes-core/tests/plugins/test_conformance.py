"""The node does with plugins what the test kit's mesh does: both run the same suite."""

from __future__ import annotations

import itertools
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from thenodes_core import Config, ManualClock, MemoryNetwork, Node, NodeTable, PluginsTable
from thenodes_core.clock import settle
from thenodes_core.errors import CommandError
from thenodes_plugin_api import Body, Event, Payload, PluginEvent
from thenodes_plugin_api.testing import PromptFailed
from thenodes_plugin_api.testing.conformance import BEHAVIOURS, Behaviour, Probe, Spec

MANIFEST = """
manifest = 1
[plugin]
id = "{spec.id}"
version = "0.1.0"
entry = "{package}:register_plugin"
abi = 1
[prompt]
prefix = "{spec.id}"
[messages]
handles = {handles}
text = {text}
[network]
advertises = {advertises}
[config.defaults]
{defaults}
"""

CODE = """
from {spec.kind.__module__} import {spec.kind.__qualname__}

class Made({spec.kind.__qualname__}):
    prompt_prefix = {spec.id!r}

plugin = Made()

def register_plugin(api):
    api.register_plugin(plugin)
"""

_numbers = itertools.count()


class Sink:
    """Keeps what a node tells of its plugins."""

    def __init__(self) -> None:
        self.events: list[PluginEvent] = []

    async def handle(self, event: Event) -> None:
        if isinstance(event, PluginEvent):
            self.events.append(event)


class NodeRig:
    """Runs behaviours on real nodes, whose plugins are loaded from source trees."""

    def __init__(self, folder: Path) -> None:
        self.packages: list[str] = []
        self._folder = folder
        self._clock = ManualClock()
        self._network = MemoryNetwork(clock=self._clock)
        self._nodes: dict[str, Node] = {}
        self._stacks: dict[str, AsyncExitStack] = {}
        self._sinks: dict[str, Sink] = {}

    async def start(self, node_id: str, *specs: Spec) -> Sequence[Probe]:
        packages = [self._write(spec) for spec in specs]
        others = [self._nodes[other] for other in self._stacks]
        sink = self._sinks[node_id] = Sink()
        node = self._nodes[node_id] = Node(
            Config(
                port=0,
                node=NodeTable(id=node_id),
                bootstrap_nodes=tuple(other.address for other in others),
                plugins=PluginsTable(paths=tuple(str(self._folder / name) for name in packages)),
                plugin={spec.id: spec.table for spec in specs},
            ),
            sinks=(sink,),
            transport=self._network,
            clock=self._clock,
        )
        stack = self._stacks[node_id] = AsyncExitStack()
        await stack.enter_async_context(node)
        for other in others:
            await node.wait_for(other.id)
            await other.wait_for(node_id)
        await self.settle()
        return [sys.modules[package].plugin for package in packages]

    async def stop(self, node_id: str) -> None:
        await self._stacks.pop(node_id).aclose()
        await self.settle()

    async def cut(self) -> None:
        self._network.cut()
        await self.settle()

    async def send(self, node_id: str, to: str, body: Body, payload: Payload | None = None) -> None:
        await self._nodes[node_id].send(to, body, payload)
        await self.settle()

    async def prompt(self, node_id: str, line: str) -> str | None:
        try:
            reply = await self._nodes[node_id].commands.run(line)
        except CommandError as error:
            raise PromptFailed(str(error)) from error
        assert isinstance(reply.data, dict)
        answer = reply.data["answer"]
        assert isinstance(answer, str | None)
        return answer

    async def settle(self) -> None:
        await settle(300)

    async def advance(self, seconds: float) -> None:
        await self._clock.advance(seconds)
        await self.settle()

    def told(self, node_id: str, action: str) -> Sequence[str]:
        events = self._sinks[node_id].events
        return [event.plugin for event in events if event.action == action]

    def dropped(self, node_id: str, reason: str) -> int:
        return self._nodes[node_id].counters.get("messages_dropped", reason=reason)

    async def close(self) -> None:
        for stack in reversed(self._stacks.values()):
            await stack.aclose()

    def _write(self, spec: Spec) -> str:
        package = f"thenodes_conforming_{next(_numbers)}"
        self.packages.append(package)
        folder = self._folder / package / "src" / package
        folder.mkdir(parents=True)
        (folder / "thenodes-plugin.toml").write_text(
            MANIFEST.format(
                spec=spec,
                package=package,
                handles=list(spec.claims),
                text=str(spec.text).lower(),
                advertises=list(spec.advertises),
                defaults="\n".join(f"{key} = {value!r}" for key, value in spec.defaults.items()),
            )
        )
        (folder / "__init__.py").write_text(CODE.format(spec=spec))
        return package


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[NodeRig]:
    rig = NodeRig(tmp_path)
    yield rig
    await rig.close()
    for name in rig.packages:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.__name__)
async def test_a_node_behaves_as_the_mesh_does(behaviour: Behaviour, rig: NodeRig) -> None:
    await behaviour(rig)
