"""The relay plugin in a node: found by its entry point, and announced."""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

import thenodes_relay
from thenodes_core import Config, MemoryNetwork, Node, PluginsTable
from thenodes_plugin_api import Event, PluginEvent

CONFIG = Config(port=0, plugins=PluginsTable(installed=("relay",)))


class Sink:
    """Keeps what the relay tells."""

    def __init__(self) -> None:
        self.events: list[PluginEvent] = []

    async def handle(self, event: Event) -> None:
        if isinstance(event, PluginEvent) and event.plugin == "relay":
            self.events.append(event)


async def test_the_relay_is_loaded_by_the_name_of_its_entry_point() -> None:
    async with Node(CONFIG, transport=MemoryNetwork()) as node:
        plugins = node.status().plugins

    assert [(p.id, p.state, p.version) for p in plugins] == [
        ("relay", "running", thenodes_relay.__version__)
    ]


async def test_the_relay_announces_itself_and_its_version() -> None:
    sink = Sink()

    async with Node(CONFIG, transport=MemoryNetwork(), sinks=(sink,)):
        pass

    assert [event.action for event in sink.events] == ["loaded", "announced"]
    assert f"thenodes-relay {thenodes_relay.__version__}" in sink.events[1].detail


async def test_a_node_that_does_not_name_the_relay_does_not_load_it() -> None:
    async with Node(Config(port=0), transport=MemoryNetwork()) as node:
        assert node.status().plugins == []


def test_the_manifest_agrees_with_the_distribution() -> None:
    assert thenodes_relay.__file__ is not None
    path = Path(thenodes_relay.__file__).parent / "thenodes-plugin.toml"
    plugin = tomllib.loads(path.read_text())["plugin"]
    (entry,) = importlib.metadata.entry_points(group="thenodes.plugins", name="relay")

    assert plugin["version"] == importlib.metadata.version("thenodes-relay")
    assert plugin["entry"] == entry.value
