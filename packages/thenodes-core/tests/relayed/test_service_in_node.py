"""A service in a whole node: its table, its door, and what follows its life."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from thenodes_core import Config, ManualClock, MemoryNetwork, Node, StartError
from thenodes_core.clock import settle
from thenodes_core.config import make_config
from thenodes_core.errors import CommandError

WritePlugin = Callable[..., Path]

SERVICE = """
[network]
advertises = ["relay"]
[service]
kinds = ["RELAY_NOTIFY", "RELAY_FWD"]
table = "network.relay"
commands = ["relay"]
"""

# Answers with what it was given, and keeps what it is told.
BODY = """
abi = 1
async def on_start(self, ctx):
    self.told = []
    door = self.door = ctx.service
    door.advertise(["relay"])
    door.take(RelayNotify, lambda session, message: self.told.append(message.body))
    door.on_session(
        lambda session: self.told.append(("joined", session.peer.node_id)),
        lambda session, reason: self.told.append(("left", session.peer.node_id)),
    )
    async def show(words):
        return CommandReply(f"relay {door.table['queue_max_global']}", dict(door.table))
    door.add_command(ServiceCommand("relay", "show it", show))
"""


class Town:
    """A network with a clock, in which nodes are made; all are stopped at the end."""

    def __init__(self, stack: AsyncExitStack, write_plugin: WritePlugin) -> None:
        self.stack = stack
        self.clock = ManualClock()
        self.network = MemoryNetwork(clock=self.clock)
        self.tree = write_plugin("relay", extra=SERVICE, body=BODY)

    def make(self, *bootstrap: str, paths: tuple[Path, ...] = (), **relay: Any) -> Node:
        return Node(
            config(*bootstrap, paths=paths, **relay), transport=self.network, clock=self.clock
        )

    async def start(self, *bootstrap: str, **relay: Any) -> Node:
        """A node with the service."""
        node = self.make(*bootstrap, paths=(self.tree,), **relay)
        return await self.stack.enter_async_context(node)


def config(*bootstrap: str, paths: tuple[Path, ...] = (), **relay: Any) -> Config:
    return make_config(
        {
            "port": 0,
            "bootstrap_nodes": bootstrap,
            "network": {"relay": relay},
            "plugins": {"paths": [str(path) for path in paths]},
        }
    ).config


def service(node: Node) -> Any:
    """The service's object."""
    (slot,) = node._host.roster
    return slot.loaded.plugin


@pytest.fixture
async def town(write_plugin: WritePlugin) -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        yield Town(stack, write_plugin)


async def test_a_service_is_given_its_table_as_the_operator_set_it(town: Town) -> None:
    node = await town.start(enabled=True, allow=["a"])

    table = service(node).door.table

    assert (table["enabled"], table["allow"], table["deny"]) == (True, ("a",), ())
    assert (table["store_path"], table["ttl_secs"]) == (None, 604_800)


async def test_a_command_of_a_service_is_the_nodes_while_it_runs(town: Town) -> None:
    node = await town.start(enabled=True)

    assert (await node.commands.run("relay")).text == "relay 8192"

    await node.disable_plugin("relay")
    with pytest.raises(CommandError, match="unknown command 'relay'"):
        await node.commands.run("relay")
    await node.enable_plugin("relay")
    assert (await node.commands.run("relay")).text == "relay 8192"


async def test_what_a_service_advertises_is_in_hello_while_it_runs(town: Town) -> None:
    node = await town.start(enabled=True)
    other = await town.stack.enter_async_context(town.make(node.address))

    assert (await other.wait_for(node.id)).capabilities == ("relay",)

    seen = [node.peers.local.capabilities]
    await node.reload_plugin("relay")
    seen.append(node.peers.local.capabilities)
    await node.disable_plugin("relay")
    assert [*seen, node.peers.local.capabilities] == [("relay",), ("relay",), ()]


async def test_a_service_hears_of_the_sessions_that_there_are_when_it_is_loaded_anew(
    town: Town,
) -> None:
    node = await town.start(enabled=True)
    other = await town.stack.enter_async_context(town.make(node.address))
    await node.wait_for(other.id)
    first = service(node)

    await node.reload_plugin("relay")

    assert service(node) is not first
    assert service(node).told == [("joined", other.id)]
    assert service(node).door.session(other.id).peer.node_id == other.id
    other.stop()


async def test_a_service_that_is_stopped_hears_nothing_more(town: Town) -> None:
    node = await town.start(enabled=True)
    await node.disable_plugin("relay")

    other = await town.stack.enter_async_context(town.make(node.address))
    await node.wait_for(other.id)
    await settle()

    assert service(node).told == []


async def test_relays_are_dialled_at_their_addresses_and_not_by_their_ids(town: Town) -> None:
    relay = await town.start(enabled=True)

    node = await town.start(use=[relay.address, "somebody"])
    await node.wait_for(relay.id)

    assert [status.address for status in node.status().dialling] == [relay.address]
    session = service(node).door.session(relay.id)
    assert session.is_configured


async def test_an_address_that_is_named_twice_is_dialled_once(town: Town) -> None:
    relay = await town.start(enabled=True)

    node = await town.start(relay.address, use=[relay.address])
    await node.wait_for(relay.id)

    assert [status.address for status in node.status().dialling] == [relay.address]


async def test_a_node_whose_relay_table_is_off_loads_no_relay(town: Town) -> None:
    async with town.make() as node:
        assert node.status().plugins == []


async def test_the_installed_relay_is_loaded_where_its_table_asks_for_it(town: Town) -> None:
    async with town.make(enabled=True) as node:
        assert [(line.id, line.source) for line in node.status().plugins] == [("relay", "relay")]


async def test_a_relay_of_the_operators_choice_is_loaded_instead(town: Town) -> None:
    node = await town.start(enabled=True)

    assert [(line.id, line.source) for line in node.status().plugins] == [("relay", str(town.tree))]


async def test_a_node_without_the_package_says_what_to_install(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: _Nothing())

    with pytest.raises(StartError, match="relay, and it is not installed") as raised:
        await town.make(selection="rendezvous").__aenter__()
    assert "(pip install thenodes-relay)" in str(raised.value)


async def test_a_plugin_of_that_id_that_is_no_relay_does_not_count(
    town: Town, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    other = write_plugin("relay", under=tmp_path / "other")

    with pytest.raises(StartError, match="its manifest does not name that table"):
        await town.make(paths=(other,), enabled=True).__aenter__()


class _Nothing:
    names = frozenset[str]()
