"""Nodes in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from thenodes_plugin_api import (
    ConfigDefaults,
    Extension,
    Message,
    OutboxFull,
    Payload,
    PeerJoined,
    PeerLeft,
    Plugin,
    PluginContext,
    Text,
)
from thenodes_plugin_api.testing import Mesh, PromptFailed, RegistrationError, embed


class Echo(Plugin):
    """Answers questions with what was asked, and asks at the prompt."""

    abi = 1
    prompt_prefix = "echo"

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.peers: list[str] = []

    def early_config_defaults(self) -> ConfigDefaults:
        return ConfigDefaults(capabilities=("echo/1",))

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        self.messages.append(message)
        match message.body:
            case Extension(kind="echo.ask"):
                await ctx.reply(message, message.payload)

    async def on_peer(self, event: PeerJoined | PeerLeft, ctx: PluginContext) -> None:
        sign = "+" if isinstance(event, PeerJoined) else "-"
        self.peers.append(sign + event.peer.node_id)

    async def on_prompt(self, line: str, ctx: PluginContext) -> str | None:
        if line == "raise":
            raise ValueError("as you wish")
        answer = await ctx.request(line, "echo.ask", Payload.text("there?"))
        return f"{answer.sender}: {answer.payload and answer.payload.as_text()}"


class Slow(Plugin):
    """Takes a minute to start."""

    abi = 1

    async def on_start(self, ctx: PluginContext) -> None:
        await ctx.clock.sleep(60.0)
        ctx.logger.info("up")


class SystemSlow(Plugin):
    """Takes its time to start, of the system's."""

    abi = 1

    async def on_start(self, ctx: PluginContext) -> None:
        await asyncio.to_thread(ctx.data_dir.joinpath("file").write_text, "x")
        ctx.logger.info("up")


@pytest.fixture
async def town() -> AsyncIterator[Mesh]:
    async with Mesh() as mesh:
        await mesh.add("alice", embed("echo", Echo()))
        await mesh.add("bob", embed("echo", Echo()))
        yield mesh


def echo(mesh: Mesh, node_id: str) -> Echo:
    plugin = mesh.nodes[node_id].plugin()
    assert isinstance(plugin, Echo)
    return plugin


async def test_nodes_are_connected_unless_told_otherwise(town: Mesh) -> None:
    carol = await town.add("carol", embed("echo", Echo()), connect=False)

    assert echo(town, "alice").peers == ["+bob"]
    assert carol.all() == []


async def test_a_line_typed_on_one_node_is_answered_by_another(town: Mesh) -> None:
    alice = town.nodes["alice"]

    assert await alice.prompt("bob") == "bob: there?"
    assert [asked.peer for asked in alice.context().requests] == ["bob"]
    assert len(town.nodes["bob"].context().replies) == 1


async def test_peers_show_what_they_advertise(town: Mesh) -> None:
    peer = town.nodes["alice"].get("bob")

    assert peer is not None
    assert peer.capabilities == ("echo/1",)


async def test_nodes_can_part_and_meet_again(town: Mesh) -> None:
    alice, bob = town.nodes["alice"], town.nodes["bob"]

    await town.disconnect(alice, bob)
    await town.connect(alice, bob)
    await town.connect(alice, bob)

    assert echo(town, "bob").peers == ["+alice", "-alice", "+alice"]


async def test_a_node_that_is_removed_is_gone_for_the_others(town: Mesh) -> None:
    await town.remove(town.nodes["bob"])

    assert echo(town, "alice").peers == ["+bob", "-bob"]
    assert list(town.nodes) == ["alice"]


async def test_a_line_that_makes_a_plugin_raise_fails_with_what_was_raised(town: Mesh) -> None:
    with pytest.raises(PromptFailed, match="ValueError: as you wish") as caught:
        await town.nodes["alice"].prompt("raise")

    assert isinstance(caught.value.__cause__, ValueError)
    assert [fault.where for fault in town.faults] == ["on_prompt"]


async def test_a_plugin_that_never_answers_leaves_the_question_to_the_clock(town: Mesh) -> None:
    class Mute(Plugin):
        abi = 1

    await town.add("mute", embed("echo", Mute()))

    asking = asyncio.ensure_future(town.nodes["alice"].prompt("mute"))
    await town.advance(10.0)

    with pytest.raises(PromptFailed, match=r"mute did not answer echo\.ask within 10 s"):
        await asking


async def test_a_way_to_a_peer_can_be_made_to_fail(town: Mesh) -> None:
    alice = town.nodes["alice"]
    alice.context().fail("bob", OutboxFull("bob reads nothing"))

    with pytest.raises(PromptFailed, match="bob reads nothing"):
        await alice.prompt("bob")
    assert await alice.context().broadcast(Text("hi")) == 0
    assert echo(town, "bob").messages == []


async def test_a_node_can_send_what_its_plugin_would_not(town: Mesh) -> None:
    await town.nodes["alice"].send("bob", Text("hi"))

    assert [message.body for message in echo(town, "bob").messages] == [Text("hi")]


async def test_a_plugin_that_waits_for_the_clock_does_not_hold_up_the_test() -> None:
    async with Mesh() as mesh:
        node = await mesh.add("slow", embed("slow", Slow()))
        assert node.context().log_lines == []

        await mesh.advance(60.0)

        assert [line.text for line in node.context().log_lines] == ["up"]
        assert [getattr(event, "action", "") for event in node.events] == ["slow_start"]


async def test_a_plugin_that_waits_for_the_system_is_waited_for() -> None:
    async with Mesh() as mesh:
        node = await mesh.add("slow", embed("slow", SystemSlow()))

        assert [line.text for line in node.context().log_lines] == ["up"]


async def test_an_id_is_taken_once(town: Mesh) -> None:
    with pytest.raises(ValueError, match="there is a node 'bob' already"):
        await town.add("bob", embed("echo", Echo()))


async def test_two_plugins_of_a_node_share_no_name() -> None:
    async with Mesh() as mesh:
        with pytest.raises(RegistrationError, match="prompt prefix 'echo' is taken by echo"):
            await mesh.add("alice", embed("echo", Echo()), embed("echo2", Echo()))


async def test_a_plugin_of_several_has_to_be_named() -> None:
    async with Mesh() as mesh:
        node = await mesh.add("alice", embed("echo", Echo()), embed("slow", SystemSlow()))

        assert node.context("echo").plugin_id == "echo"
        with pytest.raises(LookupError, match="alice runs echo, slow"):
            node.context()


async def test_the_data_of_plugins_is_gone_with_the_mesh() -> None:
    async with Mesh() as mesh:
        node = await mesh.add("alice", embed("slow", SystemSlow()))
        folder = node.context().data_dir
        assert folder.joinpath("file").read_text() == "x"

    assert not folder.exists()
