"""The command table, and the node's own commands."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from thenodes_core.control.builtin import add_builtin_commands
from thenodes_core.control.commands import Command, CommandTable, Reply
from thenodes_core.control.status import Glance, NodeStatus
from thenodes_core.errors import CommandError
from thenodes_plugin_api import Direction, PeerInfo, PeerRecord, PeerSource, PromptCommand

PEER = PeerInfo(node_id="b", address="b:1", direction=Direction.INBOUND, connected_at=0.0)


class Shell:
    """A plugin's shell that answers what it was asked."""

    commands = (PromptCommand(name="put", help="store a value"), PromptCommand(name="list"))

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    async def run(self, line: str) -> str | None:
        return None if line == "nothing" else f"[{line}]"


class View:
    """A node that stands still."""

    read = False

    def status(self) -> NodeStatus:
        return NodeStatus(
            version="0.1",
            node_id="here",
            fingerprint="f",
            realm="default/1.0",
            app_name=None,
            node_type="daemon",
            listening="127.0.0.1:1",
            state_dir=None,
            pid=1,
            started_at=0.0,
            uptime_seconds=1.0,
            peers=[PEER],
            dialling=[],
            plugins=[],
            counters={},
        )

    def glance(self) -> Glance:
        return Glance("here", "default/1.0", 1, None, 0 if self.read else 3)

    def mark_read(self) -> None:
        self.read = True

    def known_peers(self) -> Sequence[PeerRecord]:
        return [PeerRecord("a:1", PeerSource.GOSSIP)]


def echo(name: str, *aliases: str) -> Command:
    async def run(words: Sequence[str]) -> Reply:
        return Reply(f"{name}: {' '.join(words)}")

    return Command(name, "says what it got", run, aliases=aliases)


@pytest.fixture
def table() -> CommandTable:
    table = CommandTable()
    add_builtin_commands(table, View())
    table.define("peers", echo("peers").run)
    table.add_shell(Shell("kv"))
    return table


@pytest.mark.parametrize("line", ["echo a b", "/echo a b", "  echo   a  b  ", " /echo a b"])
async def test_a_command_gets_the_words_after_its_name(table: CommandTable, line: str) -> None:
    table.add(echo("echo"))

    assert (await table.run(line)).text == "echo: a b"


async def test_the_longest_name_is_the_one_that_is_meant(table: CommandTable) -> None:
    table.add(echo("trust"))
    table.add(echo("trust promote"))

    assert (await table.run("trust promote x")).text == "trust promote: x"
    assert (await table.run("trust list")).text == "trust: list"


async def test_a_command_answers_to_its_aliases(table: CommandTable) -> None:
    assert (await table.run("about")).text == (await table.run("version")).text


@pytest.mark.parametrize("line", ["", "   ", "/"])
async def test_an_empty_line_answers_nothing(table: CommandTable, line: str) -> None:
    assert await table.run(line) == Reply("")


async def test_an_unknown_command_is_an_error_that_names_it(table: CommandTable) -> None:
    with pytest.raises(CommandError, match="unknown command 'dance'"):
        await table.run("dance now")


async def test_the_first_word_of_a_command_of_several_is_answered_with_those_there_are() -> None:
    table = CommandTable()
    for name in ("trust promote", "trust own list"):
        table.add(echo(name))

    with pytest.raises(CommandError) as caught:
        await table.run("trust own")

    assert str(caught.value) == "unknown command 'trust own'; try: trust own list, trust promote"


async def test_a_line_with_a_prefix_is_the_plugins(table: CommandTable) -> None:
    reply = await table.run("/kv put  key  a value ")

    assert reply == Reply("[put  key  a value]", {"answer": "[put  key  a value]"})


async def test_a_plugin_that_answers_nothing_prints_nothing(table: CommandTable) -> None:
    assert await table.run("kv nothing") == Reply("", {"answer": None})


async def test_a_prefix_alone_is_an_error_that_offers_the_plugins_commands(
    table: CommandTable,
) -> None:
    with pytest.raises(CommandError, match="Try: kv put, kv list"):
        await table.run("kv")


@pytest.mark.parametrize("name", ["peers", "about", "kv"])
def test_a_name_that_is_taken_is_refused(table: CommandTable, name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' is taken"):
        table.add(echo(name))


async def test_a_command_that_was_removed_is_gone_under_all_its_names(
    table: CommandTable,
) -> None:
    table.add(echo("new", "other"))
    before = list(table.commands)

    table.remove("new")

    assert [c.name for c in before if c not in table.commands] == ["new"]
    for name in ("new", "other"):
        with pytest.raises(CommandError, match="unknown command"):
            await table.run(name)
    table.add(echo("other"))


def test_an_alias_that_is_taken_is_refused_and_nothing_is_added(table: CommandTable) -> None:
    with pytest.raises(ValueError, match="'peers' is taken"):
        table.add(echo("new", "peers"))

    assert "new" not in [command.name for command in table.commands]


@pytest.mark.parametrize("prefix", ["peers", "about", "kv", "trust"])
def test_a_prefix_that_is_taken_is_refused(table: CommandTable, prefix: str) -> None:
    table.add(echo("trust promote"))

    with pytest.raises(ValueError, match=f"'{prefix}' is taken"):
        table.add_shell(Shell(prefix))


async def test_help_lists_every_command_and_shell(table: CommandTable) -> None:
    reply = await table.run("help")

    for name in ("help [word]", "version | about", "peers", "status", "kv"):
        assert name in reply.text


async def test_help_fits_a_terminal_and_names_no_list_twice(table: CommandTable) -> None:
    for name, usage in (("trust ids list", ""), ("look", "[COUNT] [--follow] [--level LEVEL]")):
        aliases = (name.removesuffix(" list"),) if name.endswith(" list") else ()
        help_text = "tell what there is, and what it means, " * 3
        table.add(Command(name, help_text, echo(name).run, usage=usage, aliases=aliases))

    text = (await table.run("help")).text

    assert max(map(len, text.splitlines())) <= 80
    assert "\ntrust ids  " in text
    assert "trust ids list" not in text


async def test_help_of_a_plugin_lists_its_commands(table: CommandTable) -> None:
    reply = await table.run("help kv")

    assert reply.data == {"kv put": "store a value", "kv list": ""}


async def test_help_of_a_word_lists_the_commands_that_begin_with_it(table: CommandTable) -> None:
    for name in ("trust promote", "trust ids list", "trust ids forget"):
        table.add(echo(name))

    async def listed(line: str) -> list[str]:
        data = (await table.run(line)).data
        assert isinstance(data, dict)
        return list(data)

    assert await listed("help trust") == ["trust ids forget", "trust ids list", "trust promote"]
    assert await listed("help trust ids") == ["trust ids forget", "trust ids list"]


async def test_help_of_a_command_is_its_own_with_those_beside_it(table: CommandTable) -> None:
    alone = (await table.run("help status")).text
    beside = (await table.run("help peers")).text

    assert alone == (await table.run("status --help")).text
    assert beside.startswith((await table.run("peers --help")).text)
    assert "known | peers known" in beside


async def test_help_of_no_plugin_is_an_error(table: CommandTable) -> None:
    with pytest.raises(CommandError, match="no command begins with 'dance'"):
        await table.run("help dance")


@pytest.mark.parametrize("name", ["version", "known", "status", "glance"])
async def test_words_that_a_command_does_not_take_are_an_error(
    table: CommandTable, name: str
) -> None:
    with pytest.raises(CommandError, match=f"{name} takes no arguments"):
        await table.run(f"{name} extra")


async def test_version_tells_version_node_and_realm(table: CommandTable) -> None:
    reply = await table.run("version")

    assert reply.text == "TheNodes 0.1, node here, realm default/1.0"
    assert reply.data == {"version": "0.1", "node_id": "here", "realm": "default/1.0"}


async def test_status_tells_all_of_the_node(table: CommandTable) -> None:
    reply = await table.run("status")

    assert isinstance(reply.data, NodeStatus)
    assert "listening  127.0.0.1:1" in reply.text
