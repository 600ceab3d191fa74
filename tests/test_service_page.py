"""The service of docs/plugins/service.md runs on a node, and another service gets its frames."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from thenodes_core import Config, ManualClock, MemoryNetwork, Node, NodeTable, PluginsTable
from thenodes_core.clock import settle
from thenodes_plugin_api import Payload, RelayForward

PAGE = Path(__file__).parent.parent / "docs" / "plugins" / "service.md"

MANIFEST = """
manifest = 1
[plugin]
id = "{name}"
version = "0.1.0"
entry = "thenodes_of_the_page_{name}:register_plugin"
abi = 1
"""

COLLECTOR = '''
from thenodes_plugin_api import Plugin, RelayNotify


class Passer(Plugin):
    """Keeps what a relay brings."""

    abi = 1

    def __init__(self):
        self.frames, self.notices = [], []

    async def on_start(self, ctx):
        ctx.service.take_frames(lambda session, frames: self.frames.extend(frames))
        ctx.service.take(RelayNotify, lambda session, message: self.notices.append(message.body))
'''

REGISTER = """

plugin = Passer()


def register_plugin(api):
    api.register_plugin(plugin)
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def write(folder: Path, name: str, manifest: str, code: str) -> str:
    package = folder / name / "src" / f"thenodes_of_the_page_{name}"
    package.mkdir(parents=True)
    (package / "thenodes-plugin.toml").write_text(MANIFEST.format(name=name) + manifest)
    (package / "__init__.py").write_text(code + REGISTER)
    return str(folder / name)


@pytest.fixture
def plugins(tmp_path: Path) -> Iterator[tuple[str, str]]:
    manifest, code = blocks("toml")[0], blocks("python")[0]
    kinds = '[service]\nkinds = ["RELAY_FWD", "RELAY_NOTIFY"]\n'
    yield write(tmp_path, "relay", manifest, code), write(tmp_path, "end", kinds, COLLECTOR)
    for name in ("relay", "end"):
        sys.modules.pop(f"thenodes_of_the_page_{name}", None)


async def test_the_relay_of_the_page_passes_frames_on_and_refuses_forged_ones(
    plugins: tuple[str, str],
) -> None:
    relay_plugin, end_plugin = plugins
    clock = ManualClock()
    network = MemoryNetwork(clock=clock)

    def make(name: str, plugin: str | None, *bootstrap: str) -> Node:
        config = Config(
            port=0,
            node=NodeTable(id=name),
            bootstrap_nodes=bootstrap,
            plugins=PluginsTable(paths=(plugin,) if plugin else ()),
        )
        return Node(config, transport=network, clock=clock)

    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(make("relay", relay_plugin))
        origin = await stack.enter_async_context(make("origin", None, relay.address))
        target = await stack.enter_async_context(make("target", end_plugin, relay.address))
        for node in (origin, target):
            await node.wait_for("relay")

        await origin.send("relay", RelayForward("target", "origin", 7), Payload.text("hi"))
        await origin.send("relay", RelayForward("target", "somebody", 8), Payload.text("lie"))
        await settle(300)

        (frame,) = sys.modules["thenodes_of_the_page_end"].plugin.frames
        assert (frame.header.to, frame.header.sender) == ("target", "origin")
        assert frame.header.sequence == 7
        assert frame.data.endswith(b"hi")
        assert relay.counters.get("relay_forwarded") == 1
        assert relay.counters.get("relay_dropped", reason="unauthenticated") == 1
