"""What is offered while a line is typed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from thenodes_core.control.client import RemoteAccess
from thenodes_core.control.commands import Command, CommandTable, Reply
from thenodes_core.control.completion import candidates
from thenodes_core.control.questions import CONTROL_SOCKET
from thenodes_core.control.socket import ControlSocket
from thenodes_plugin_api import PromptCommand


async def nothing(words: Sequence[str]) -> Reply:
    return Reply("")


class Shell:
    """A plugin's shell."""

    prefix = "my"
    commands = (PromptCommand(name="status", help="how it is"),)

    async def run(self, line: str) -> str | None:
        return line


@pytest.fixture
def table() -> CommandTable:
    table = CommandTable()
    table.add(Command("peers", "who is there", nothing, aliases=("who",)))
    table.add(
        Command(
            "peer info",
            "tell of one",
            nothing,
            "<peer>",
            complete=lambda: [("kitchen", "10.0.0.2"), ("garden", "10.0.0.3")],
        )
    )
    table.add(Command("peer forget", "forget one", nothing, "<peer>", complete=lambda: ["kitchen"]))
    table.add(Command("events", "what happened", nothing, "[--follow] [--filter TEXT]"))
    table.add(Command("glance", "for programs", nothing, hidden=True))
    table.add_shell(Shell())
    return table


def lines(table: CommandTable, typed: str, prefix: str | None = None) -> list[str]:
    return [line for line, _ in candidates(table, typed, prefix)]


def test_first_words_come_first_and_say_what_follows(table: CommandTable) -> None:
    assert candidates(table, "pee") == [("peer", "forget, info"), ("peers", "who is there")]


def test_every_first_word_but_a_hidden_one_is_offered_to_an_empty_line(table: CommandTable) -> None:
    assert lines(table, "") == ["events", "my", "peer", "peers", "who"]


def test_second_words_come_once_the_first_is_typed(table: CommandTable) -> None:
    assert lines(table, "peer ") == ["peer forget", "peer info"]


def test_words_of_a_command_are_completed_as_they_are_typed(table: CommandTable) -> None:
    assert candidates(table, "peer info k") == [("peer info kitchen", "10.0.0.2")]
    assert lines(table, "peer info ") == ["peer info garden", "peer info kitchen"]
    assert lines(table, "peer info kitchen ") == []


def test_what_a_peer_says_of_itself_is_escaped_and_cut(table: CommandTable) -> None:
    words = [("attic", "A\nplain\nb\x1b[2J\u202e"), ("loft", "x" * 1000)]
    table.add(Command("pick", "pick one", nothing, "<word>", complete=lambda: words))

    attic, loft = candidates(table, "pick ")

    assert attic == ("pick attic", "A\\nplain\\nb\\x1b[2J\\u202e")
    assert (loft[0], len(loft[1])) == ("pick loft", 201)


def test_a_dash_brings_the_options_that_are_not_given(table: CommandTable) -> None:
    assert lines(table, "events --f") == ["events --filter", "events --follow"]
    assert lines(table, "events --follow --") == [
        "events --follow --filter",
        "events --follow --help",
        "events --follow --json",
    ]
    assert lines(table, "peers --j") == ["peers --json"]


async def test_over_the_socket_no_more_than_a_thousand_are_offered(
    table: CommandTable, tmp_path: Path
) -> None:
    many = [f"word{number}" for number in range(1500)]
    table.add(Command("pick", "pick one", nothing, "<word>", complete=lambda: many))

    async with ControlSocket(tmp_path / CONTROL_SOCKET, table):
        found = await RemoteAccess(tmp_path).complete("pick ", None)

    assert (len(lines(table, "pick ")), len(found)) == (1500, 1000)


def test_a_slash_stays_where_it_was(table: CommandTable) -> None:
    assert lines(table, "/pee") == ["/peer", "/peers"]


def test_in_a_shell_its_own_are_offered_and_behind_a_slash_all(table: CommandTable) -> None:
    assert lines(table, "", "my") == ["help", "status"]
    assert lines(table, "/wh", "my") == ["/who"]


def test_in_a_shell_that_is_gone_nothing_but_help_is_offered(table: CommandTable) -> None:
    assert lines(table, "", "gone") == ["help"]
