"""What is offered while a line is typed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from thenodes_cli.prompt.completer import PromptCompleter
from thenodes_cli.prompt.shell import PromptShell
from thenodes_core.control.access import LocalAccess
from thenodes_core.control.commands import Command, CommandTable, Reply
from thenodes_core.control.completion import Candidate
from thenodes_core.errors import NoNode
from thenodes_plugin_api import PromptCommand


class Mine:
    """A plugin's shell."""

    prefix = "my"
    commands = (PromptCommand(name="status", help="how it is"),)

    async def run(self, line: str) -> str | None:
        return line


async def nothing(words: Sequence[str]) -> Reply:
    return Reply("")


@pytest.fixture
def table() -> CommandTable:
    table = CommandTable()
    table.add(Command("peers", "who is there", nothing))
    keys = ["abcd", "abef"]
    table.add(Command("trust promote", "trust a key", nothing, complete=lambda: keys))
    table.add_shell(Mine())
    return table


@pytest.fixture
def shell(table: CommandTable) -> PromptShell:
    return PromptShell(LocalAccess(table))


async def offered(
    access: LocalAccess, shell: PromptShell, typed: str
) -> list[tuple[str, int, str, str]]:
    """Text, where it begins, what is shown and what is said of it."""
    completer = PromptCompleter(access, shell)
    found = completer.get_completions_async(Document(typed), CompleteEvent())
    return [(c.text, c.start_position, c.display_text, c.display_meta_text) async for c in found]


async def test_commands_plugins_and_the_prompts_own_words_are_offered_with_their_help(
    table: CommandTable, shell: PromptShell
) -> None:
    found = await offered(LocalAccess(table), shell, "")

    assert [(text, told) for text, _, _, told in found] == [
        ("exit", "stop the node; asks first"),
        ("my", "enter its shell"),
        ("peers", "who is there"),
        ("quit", "stop the node; asks first"),
        ("trust", "promote"),
    ]


async def test_only_the_word_that_is_typed_is_replaced(
    table: CommandTable, shell: PromptShell
) -> None:
    found = await offered(LocalAccess(table), shell, "  trust promote ab")

    assert found[0][:3] == ("abcd", -2, "abcd")


async def test_what_is_offered_is_shown_without_control_characters(table: CommandTable) -> None:
    class Odd(LocalAccess):
        async def complete(self, typed: str, prefix: str | None) -> Sequence[Candidate]:
            return [("odd\x1b[31m", "said\x07 so")]

    access = Odd(table)
    found = await offered(access, PromptShell(access), "o")

    assert found == [("odd\x1b[31m", -1, "odd\\x1b[31m", "said\\x07 so")]


async def test_a_leading_slash_stays(table: CommandTable, shell: PromptShell) -> None:
    assert [text for text, *_ in await offered(LocalAccess(table), shell, "/p")] == ["/peers"]


async def test_in_a_shell_its_own_commands_are_offered(
    table: CommandTable, shell: PromptShell
) -> None:
    async for _ in shell.feed("my"):
        pass

    found = await offered(LocalAccess(table), shell, "")

    assert [text for text, *_ in found] == ["exit", "help", "quit", "status"]


async def test_nothing_is_offered_for_a_question(table: CommandTable, shell: PromptShell) -> None:
    async for _ in shell.feed("quit"):
        pass

    assert await offered(LocalAccess(table), shell, "") == []


async def test_what_is_typed_whole_is_not_offered(table: CommandTable, shell: PromptShell) -> None:
    assert await offered(LocalAccess(table), shell, "peers") == []


async def test_a_node_that_is_gone_has_nothing_to_offer_but_the_way_out(
    table: CommandTable,
) -> None:
    class Gone(LocalAccess):
        async def complete(self, typed: str, prefix: str | None) -> Sequence[Candidate]:
            raise NoNode("gone")

    access = Gone(table)
    found = await offered(access, PromptShell(access, attached=True), "q")

    assert found == [("quit", -1, "quit", "leave; the node goes on")]


class Profuse(LocalAccess):
    """Has a thousand words to offer."""

    async def complete(self, typed: str, prefix: str | None) -> Sequence[Candidate]:
        return [(f"word{number:04d}", "") for number in range(1000)]


async def test_no_more_is_offered_than_somebody_can_look_through(
    table: CommandTable, shell: PromptShell
) -> None:
    found = await offered(Profuse(table), shell, "wor")

    assert len(found) == 300
    assert found[0][0] == "word0000"
