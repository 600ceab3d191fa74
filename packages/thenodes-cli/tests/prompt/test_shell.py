"""What typed lines mean, without a terminal."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import pytest

from thenodes_cli.prompt.shell import Mode, PromptShell
from thenodes_core.control.access import LocalAccess
from thenodes_core.control.commands import Command, CommandTable, Reply
from thenodes_core.errors import CommandError
from thenodes_plugin_api import PromptCommand


class EchoShell:
    """A plugin's shell that answers with the line it got."""

    prefix = "my"
    commands = (PromptCommand(name="status", help="how it is"), PromptCommand(name="stop"))

    async def run(self, line: str) -> str | None:
        if line == "fail":
            raise CommandError("plugin my failed")
        return f"<{line}>"


@pytest.fixture
def table() -> CommandTable:
    async def peers(words: Sequence[str]) -> Reply:
        return Reply(f"peers{words}")

    table = CommandTable()
    table.add(Command("peers", "who is there", peers, aliases=("who",)))
    table.add(Command("trust observed list", "what was seen", peers))
    table.add_shell(EchoShell())
    return table


@pytest.fixture
def shell(table: CommandTable) -> PromptShell:
    return PromptShell(LocalAccess(table))


async def feed(shell: PromptShell, *lines: str) -> list[str]:
    """The answer to each line; of one that has several, joined."""
    return ["\n".join([reply.text async for reply in shell.feed(line)]) for line in lines]


async def test_a_leading_slash_is_accepted(shell: PromptShell) -> None:
    assert await feed(shell, "/peers", "peers", " / peers ") == ["peers[]"] * 3


async def test_an_empty_line_answers_nothing(shell: PromptShell) -> None:
    assert await feed(shell, "", "   ", "/") == ["", "", ""]


async def test_a_prefix_alone_enters_the_shell_and_exit_leaves_it(shell: PromptShell) -> None:
    await feed(shell, "my")
    inside = shell.label(), (await feed(shell, "status now"))[0]
    await feed(shell, "exit")

    assert inside == ("thenodes/my> ", "<status now>")
    assert (shell.mode, shell.label()) == (Mode.ROOT, "thenodes> ")


async def test_a_prefix_with_words_is_one_command_and_stays_at_the_root(shell: PromptShell) -> None:
    assert await feed(shell, "my status  two  spaces") == ["<status  two  spaces>"]
    assert shell.mode is Mode.ROOT


async def test_a_slash_inside_a_shell_reaches_the_root_commands(shell: PromptShell) -> None:
    answers = await feed(shell, "my", "/peers", "peers")

    assert answers[1:] == ["peers[]", "<peers>"]
    assert shell.prefix == "my"


async def test_quit_asks_and_y_ends(shell: PromptShell) -> None:
    await feed(shell, "quit")
    asked = shell.label()
    await feed(shell, "y")

    assert asked == "Stop this node? [y/N] "
    assert shell.mode is Mode.DONE


@pytest.mark.parametrize("answer", ["", "n", "no", "peers"])
async def test_anything_but_yes_goes_on_where_it_was(shell: PromptShell, answer: str) -> None:
    await feed(shell, "my", "quit", answer)

    assert (shell.mode, shell.prefix) == (Mode.PLUGIN, "my")


async def test_an_unknown_command_is_an_error_in_one_line(shell: PromptShell) -> None:
    (answer,) = await feed(shell, "peeers")

    assert answer == (
        "error: unknown command 'peeers'; did you mean peers? help lists what there is"
    )


async def test_a_plugin_that_fails_leaves_the_prompt_where_it_was(shell: PromptShell) -> None:
    answers = await feed(shell, "my", "fail", "status")

    assert answers[1:] == ["error: plugin my failed", "<status>"]


async def test_help_says_how_to_leave() -> None:
    async def show_help(words: Sequence[str]) -> Reply:
        return Reply("peers  who is there")

    table = CommandTable()
    table.add(Command("help", "list the commands", show_help))
    table.add_shell(EchoShell())
    shell = PromptShell(LocalAccess(table))

    root, _, inside = await feed(shell, "help", "my", "help")

    assert root.startswith("peers  who is there\n\n")
    assert "quit or exit stops this node" in root
    assert inside.splitlines()[:2] == ["status  how it is", "stop"]
    assert "exit leaves this shell" in inside


@pytest.fixture
def attached(table: CommandTable) -> PromptShell:
    async def shutdown(words: Sequence[str]) -> Reply:
        return Reply("the node stops")

    table.add(Command("shutdown", "stop the node", shutdown))
    return PromptShell(LocalAccess(table), attached=True)


@pytest.mark.parametrize("word", ["quit", "exit", "/quit"])
async def test_leaving_an_attached_node_asks_nothing_and_says_that_it_goes_on(
    attached: PromptShell, word: str
) -> None:
    assert await feed(attached, word) == ["left; the node goes on"]
    assert (attached.mode, attached.is_stopping) == (Mode.DONE, False)


async def test_the_end_of_input_leaves_an_attached_node_alone(attached: PromptShell) -> None:
    assert attached.end_of_input() == "left; the node goes on"
    assert attached.mode is Mode.DONE


async def test_the_end_of_input_asks_once_whether_to_stop_ones_own_node(shell: PromptShell) -> None:
    shell.end_of_input()
    asked = shell.mode
    shell.end_of_input()

    assert (asked, shell.mode) == (Mode.CONFIRM, Mode.DONE)


async def test_an_attached_node_is_stopped_by_shutdown_once_that_is_confirmed(
    attached: PromptShell,
) -> None:
    assert await feed(attached, "shutdown", "n", "shutdown") == ["", "the node goes on", ""]
    assert attached.mode is Mode.CONFIRM

    assert await feed(attached, "y") == ["the node stops"]
    assert (attached.mode, attached.is_stopping) == (Mode.DONE, True)


async def test_an_attached_node_that_cannot_be_stopped_stays_attached(table: CommandTable) -> None:
    shell = PromptShell(LocalAccess(table), attached=True)

    *_, answer = await feed(shell, "shutdown", "y")

    assert answer.startswith("error: unknown command 'shutdown'")
    assert (shell.mode, shell.is_stopping) == (Mode.ROOT, False)


async def test_shutdown_is_the_plugins_word_in_its_shell(attached: PromptShell) -> None:
    assert (await feed(attached, "my", "shutdown"))[1] == "<shutdown>"
    assert attached.mode is Mode.PLUGIN


async def test_a_command_that_goes_on_gives_every_answer(
    table: CommandTable, shell: PromptShell
) -> None:
    async def count() -> AsyncGenerator[Reply, None]:
        for number in range(3):
            yield Reply(str(number))

    async def once(words: Sequence[str]) -> Reply:
        raise AssertionError

    table.add(Command("count", "count", once, follow=lambda words: count()))

    replies = [(reply.text, reply.more) async for reply in shell.feed("count")]

    assert replies == [("0", True), ("1", True), ("2", True)]


async def test_json_is_asked_for_by_a_word(shell: PromptShell) -> None:
    (reply,) = [reply async for reply in shell.feed("peers --json")]

    assert reply.as_json


def test_the_label_leaves_half_of_a_narrow_terminal_to_the_line(shell: PromptShell) -> None:
    assert [shell.label(columns) for columns in (80, 20, 12)] == ["thenodes> ", "thenodes> ", "> "]


async def test_the_label_of_a_shell_and_of_a_question_are_short_on_a_narrow_terminal(
    shell: PromptShell,
) -> None:
    await feed(shell, "my")
    inside = shell.label(20)
    await feed(shell, "quit")

    assert (inside, shell.label(20)) == ("my> ", "Stop? [y/N] ")
