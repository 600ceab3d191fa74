"""The command line has every command of a node, and says of it what the node says."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from thenodes_cli import asking
from thenodes_cli.app import app
from thenodes_cli.commands import one_shot
from thenodes_cli.commands.words import line_of, words_command
from thenodes_cli.output import emit, emit_next
from thenodes_core.control.catalogue import CATALOGUE, CommandText
from thenodes_core.control.commands import CommandTable, Reply
from thenodes_core.control.questions import CONTROL_SOCKET
from thenodes_core.control.socket import ControlSocket

SHOWN = {name: text for name, text in CATALOGUE.items() if not text.hidden}
# At the command line these are about files, where no node need run, and say so.
OF_FILES = {name for name in SHOWN if name.split()[0] in ("config", "doctor")}
ELSEWHERE = {"help", "version"} | OF_FILES


@pytest.mark.parametrize("name", sorted(SHOWN.keys() - ELSEWHERE))
def test_every_command_of_a_node_is_there_with_its_help_and_example(name: str) -> None:
    help_text = CliRunner().invoke(app, [*name.split(), "--help"]).output
    told = " ".join(help_text.split())

    assert SHOWN[name].help[1:] in told
    assert " ".join(SHOWN[name].usage.split()) in told
    assert f"thenodes {SHOWN[name].example or name.removesuffix(' list')}" in told


@pytest.mark.parametrize("name", sorted(OF_FILES))
def test_what_is_about_files_is_there_with_help_of_its_own(name: str) -> None:
    done = CliRunner().invoke(app, [*name.split(), "--help"])

    assert done.exit_code == 0
    assert "Example" in done.output


def test_help_is_a_word_too() -> None:
    run = CliRunner().invoke

    assert run(app, ["help"]).output == run(app, ["--help"]).output
    assert run(app, ["help", "peers"]).output == run(app, ["peers", "--help"]).output
    assert "did you mean peers?" in run(app, ["help", "peeers"]).output


def test_a_hidden_command_is_neither_listed_nor_there() -> None:
    overview = CliRunner().invoke(app, ["--help"]).output
    hidden = [name.partition(" ")[0] for name, text in CATALOGUE.items() if text.hidden]

    for first in set(hidden):
        assert CliRunner().invoke(app, [first]).exit_code == 2
        assert f"\n  {first} " not in overview


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "send"),
        (("kitchen", "two words"), "send kitchen 'two words'"),
        (("kitchen", "it's"), "send kitchen 'it'\"'\"'s'"),
        (("--follow", "a"), "send --follow a"),
        (("kitchen", "--json", "--help"), "send kitchen -- --json --help"),
        (("kitchen", "--", "x"), "send kitchen -- -- x"),
        (("kitchen", ""), "send kitchen ''"),
    ],
)
def test_words_reach_the_node_as_they_are(words: tuple[str, ...], line: str) -> None:
    assert line_of("send", words) == line


async def test_what_the_line_says_is_what_the_node_reads() -> None:
    hard = ["it's", 'say "hi"', "--json", "a\\b", "", "a  b", "-", "--", "\t", "é"]
    table = CommandTable()

    async def run(words: object) -> Reply:
        return Reply("", words)

    table.define("known", run)

    assert (await table.run(line_of("known", hard))).data == hard


def completed(*words: str) -> list[str]:
    """What a shell that completes offers for the last word."""
    *given, incomplete = words
    complete = ShellComplete(app, {}, "thenodes", "_THENODES_COMPLETE")
    return [str(item.value) for item in complete.get_completions(given, incomplete)]


def test_a_shell_completes_commands_and_options() -> None:
    assert completed("pee") == ["peers", "peer"]
    assert completed("peer", "i") == ["info"]
    assert completed("events", "--f") == ["--follow", "--filter"]


def test_a_shell_completes_the_words_of_a_running_node(tmp_path: Path) -> None:
    async def nothing(words: object) -> Reply:
        return Reply("")

    async def serve() -> list[str]:
        table = CommandTable()
        table.define("plugin info", nothing, complete=lambda: [("kvstore", "1.0"), ("relay", "")])
        async with ControlSocket(tmp_path / CONTROL_SOCKET, table):
            return await asyncio.to_thread(
                completed, "plugin", "info", "--state-dir", str(tmp_path), "k"
            )

    assert asyncio.run(serve()) == ["kvstore"]
    assert completed("plugin", "info", "--state-dir", str(tmp_path), "k") == []


def test_a_shell_waits_for_no_node_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_OFFER_SECONDS", 0.1)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / CONTROL_SOCKET))
        silent.listen()
        began = time.monotonic()

        assert completed("peer", "info", "--state-dir", str(tmp_path), "") == []

    assert time.monotonic() - began < 5


def test_a_shell_is_offered_no_word_that_it_would_run(tmp_path: Path) -> None:
    known = ["[::1]:5", "a:1", "$(reboot):1", "`reboot`:1", "a;reboot:1", "a&:1", "a|b:1", "~:1"]

    async def nothing(words: object) -> Reply:
        return Reply("")

    async def serve() -> list[str]:
        table = CommandTable()
        table.define("peer connect", nothing, complete=lambda: known)
        async with ControlSocket(tmp_path / CONTROL_SOCKET, table):
            return await asyncio.to_thread(
                completed, "peer", "connect", "--state-dir", str(tmp_path), ""
            )

    assert asyncio.run(serve()) == ["[::1]:5", "a:1"]


def test_commands_of_several_words_are_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "peer info": CommandText("tell of one", "<peer>", "peer info kitchen"),
        "peer trust show": CommandText("show its trust"),
        "peer trust drop": CommandText("drop it"),
    }
    monkeypatch.setattr(one_shot, "CATALOGUE", texts)

    group = one_shot.one_shot("peer")

    assert isinstance(group, click.Group)
    assert sorted(group.commands) == ["info", "trust"]
    assert sorted(group.commands["trust"].commands) == ["drop", "show"]  # type: ignore[attr-defined]
    assert group.help == "Ask a running node: info and trust."
    assert "thenodes peer info kitchen" in (group.epilog or "")


@pytest.mark.parametrize(
    ("usage", "words", "missing"),
    [
        ("<peer> <text>", ["kitchen"], "missing <text>"),
        ("<peer> [<text>]", [], "missing <peer>"),
        ("[--filter <text>]", [], None),
        ("", [], None),
    ],
)
def test_what_is_missing_is_told_before_a_node_is_asked(
    usage: str, words: list[str], missing: str | None
) -> None:
    asked: list[str] = []
    command = words_command(
        "say", CommandText("say it", usage), lambda config, state, line, json: asked.append(line)
    )

    done = CliRunner().invoke(command, words)

    assert (done.exit_code, bool(asked)) == ((0, True) if missing is None else (2, False))
    assert missing is None or missing in done.output


def test_many_answers_as_json_are_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2):
        emit_next("", {"a\u202e": [number]}, as_json=True, replaces=False)

    lines = capsys.readouterr().out.splitlines()

    assert [json.loads(line) for line in lines] == [{"a\u202e": [1]}, {"a\u202e": [2]}]
    assert "\u202e" not in "".join(lines)


def test_data_is_printed_with_what_a_terminal_would_obey_escaped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = "a\x1b[2J\u202eb\n"

    emit("", {"name": name}, as_json=True)

    shown = capsys.readouterr().out
    assert json.loads(shown) == {"name": name}
    assert all(line.isprintable() for line in shown.splitlines())


def test_what_replaces_follows_where_there_is_no_screen(capsys: pytest.CaptureFixture[str]) -> None:
    emit_next("one", None, as_json=False, replaces=True)

    assert capsys.readouterr().out == "one\n\n"
