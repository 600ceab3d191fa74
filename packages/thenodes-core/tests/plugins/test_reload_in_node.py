"""Plugins of a whole node, changed by its commands while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from thenodes_core import Config, ManualClock, MemoryNetwork, Node, PluginsTable
from thenodes_core.clock import settle
from thenodes_core.control.status import PluginLine
from thenodes_core.errors import CommandError

WritePlugin = Callable[..., Path]

BODY = """abi = 1
prompt_prefix = "old"
def early_config_defaults(self):
    return ConfigDefaults(capabilities=("my/1",))
async def on_prompt(self, line, ctx):
    return f"{line}!"
"""
EXTRA = '[prompt]\nprefix = "old"\n[network]\nadvertises = ["my/1"]\n'


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def tree(write_plugin: WritePlugin) -> Path:
    """A plugin `my` with the prefix `old` and the capability `my/1`."""
    return write_plugin("my", body=BODY, extra=EXTRA)


@pytest.fixture
def network() -> MemoryNetwork:
    return MemoryNetwork(clock=ManualClock())


async def start(stack: AsyncExitStack, network: MemoryNetwork, *trees: Path, to: str = "") -> Node:
    config = Config(
        port=0,
        bootstrap_nodes=(to,) if to else (),
        plugins=PluginsTable(paths=tuple(str(tree) for tree in trees)),
    )
    return await stack.enter_async_context(Node(config, transport=network, clock=ManualClock()))


async def capabilities(stack: AsyncExitStack, network: MemoryNetwork, node: Node) -> list[str]:
    """What the node tells a peer that connects now."""
    peer = await start(stack, network, to=node.address)
    return list((await peer.wait_for(node.id)).capabilities)


async def test_prefix_and_capabilities_follow_a_reload(
    stack: AsyncExitStack, network: MemoryNetwork, tree: Path
) -> None:
    node = await start(stack, network, tree)
    before = await capabilities(stack, network, node)
    for file in tree.glob("src/*/*.*"):
        text = file.read_text().replace('"my/1"', '"my/2"').replace('"old"', '"newer"')
        file.write_text(text)

    reply = await node.commands.run("plugin reload my")

    assert reply.text == "plugin my 0.1.0 runs anew"
    assert (before, await capabilities(stack, network, node)) == (["my/1"], ["my/2"])
    assert (await node.commands.run("newer hello")).text == "hello!"
    with pytest.raises(CommandError, match="unknown command 'old'"):
        await node.commands.run("old hello")


async def test_a_disabled_plugin_answers_with_its_state_and_advertises_nothing(
    stack: AsyncExitStack, network: MemoryNetwork, tree: Path
) -> None:
    node = await start(stack, network, tree)

    reply = await node.commands.run("plugin disable my")

    assert isinstance(reply.data, PluginLine)
    assert reply.data.state == "disabled"
    assert await capabilities(stack, network, node) == []
    with pytest.raises(CommandError, match="plugin my is disabled"):
        await node.commands.run("old hello")


async def test_a_node_that_stops_during_a_reload_stops(
    stack: AsyncExitStack, network: MemoryNetwork, tree: Path
) -> None:
    node = await start(stack, network, tree)
    reload = asyncio.ensure_future(node.reload_plugin("my"))
    await settle()

    await stack.aclose()

    await asyncio.wait({reload}, timeout=5)
    assert reload.done()
    assert node.plugins()[0].state in ("reloading", "stopped")


async def test_a_plugin_that_two_nodes_of_a_process_run_is_not_reloaded(
    stack: AsyncExitStack, network: MemoryNetwork, tree: Path
) -> None:
    node, _ = await start(stack, network, tree), await start(stack, network, tree)

    with pytest.raises(CommandError, match="another node uses its package"):
        await node.reload_plugin("my")
