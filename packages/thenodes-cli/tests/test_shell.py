"""What typed lines mean, without a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from thenodes_cli.prompt.completer import candidates
from thenodes_cli.prompt.shell import Mode, PromptShell
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
    return PromptShell(table)


async def feed(shell: PromptShell, *lines: str) -> list[str]:
    return [await shell.feed(line) for line in lines]


async def test_a_leading_slash_is_accepted(shell: PromptShell) -> None:
    assert await feed(shell, "/peers", "peers", " / peers ") == ["peers[]"] * 3


async def test_an_empty_line_answers_nothing(shell: PromptShell) -> None:
    assert await feed(shell, "", "   ", "/") == ["", "", ""]


async def test_a_prefix_alone_enters_the_shell_and_exit_leaves_it(shell: PromptShell) -> None:
    await feed(shell, "my")
    inside = shell.label, await shell.feed("status now")
    await feed(shell, "exit")

    assert inside == ("thenodes/my> ", "<status now>")
    assert (shell.mode, shell.label) == (Mode.ROOT, "thenodes> ")


async def test_a_prefix_with_words_is_one_command_and_stays_at_the_root(shell: PromptShell) -> None:
    assert await feed(shell, "my status  two  spaces") == ["<status  two  spaces>"]
    assert shell.mode is Mode.ROOT


async def test_a_slash_inside_a_shell_reaches_the_root_commands(shell: PromptShell) -> None:
    answers = await feed(shell, "my", "/peers", "peers")

    assert answers[1:] == ["peers[]", "<peers>"]
    assert shell.prefix == "my"


async def test_quit_asks_and_y_ends(shell: PromptShell) -> None:
    await feed(shell, "quit")
    asked = shell.label
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


def names(table: CommandTable, shell: PromptShell, before: str) -> list[str]:
    return [name for name, _ in candidates(table, shell, before)]


async def test_completion_at_the_root_offers_commands_and_prefixes(
    table: CommandTable, shell: PromptShell
) -> None:
    assert names(table, shell, "") == ["exit", "my", "peers", "quit", "who"]
    assert names(table, shell, "/p") == ["/peers"]


async def test_completion_of_further_words_comes_once_the_first_is_typed(
    table: CommandTable, shell: PromptShell
) -> None:
    assert names(table, shell, "my ") == ["my status", "my stop"]
    assert names(table, shell, "trust observed ") == ["trust observed list"]


async def test_completion_in_a_shell_offers_its_own_commands(
    table: CommandTable, shell: PromptShell
) -> None:
    await feed(shell, "my")

    assert names(table, shell, "st") == ["status", "stop"]
    assert names(table, shell, "/pe") == ["/peers"]


async def test_nothing_is_completed_in_a_confirmation(
    table: CommandTable, shell: PromptShell
) -> None:
    await feed(shell, "quit")

    assert names(table, shell, "") == []


async def test_help_says_how_to_leave() -> None:
    async def show_help(words: Sequence[str]) -> Reply:
        return Reply("peers  who is there")

    table = CommandTable()
    table.add(Command("help", "list the commands", show_help))
    table.add_shell(EchoShell())
    shell = PromptShell(table)

    root, _, inside = await feed(shell, "help", "my", "help")

    assert root.startswith("peers  who is there\n\n")
    assert "quit or exit stops this node" in root
    assert inside.splitlines()[:2] == ["status  how it is", "stop"]
    assert "exit leaves this shell" in inside


async def test_what_may_follow_a_command_is_offered_once_its_name_is_typed(
    table: CommandTable, shell: PromptShell
) -> None:
    async def promote(words: Sequence[str]) -> Reply:
        return Reply("")

    keys = ["abcd", "abef", "ffff"]
    table.add(
        Command("trust promote", "trust a key", promote, "<fingerprint>", complete=lambda: keys)
    )

    assert names(table, shell, "trust promote ab") == ["trust promote abcd", "trust promote abef"]
    assert names(table, shell, "/trust promote f") == ["/trust promote ffff"]
    assert len(names(table, shell, "trust promote ")) == 3
    assert names(table, shell, "trust promote x") == []
    assert names(table, shell, "trust p") == ["trust promote"]


async def test_keys_are_not_looked_up_before_the_commands_name_is_typed(
    table: CommandTable, shell: PromptShell
) -> None:
    def look_up() -> Sequence[str]:
        raise AssertionError

    async def promote(words: Sequence[str]) -> Reply:
        return Reply("")

    table.add(Command("trust promote", "trust a key", promote, complete=look_up))

    assert names(table, shell, "trust promote") == ["trust promote"]
