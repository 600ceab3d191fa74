"""Commands that go on answering, over the control socket and in the process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from thenodes_core.control import socket as control_socket
from thenodes_core.control.access import Access, LocalAccess
from thenodes_core.control.client import RemoteAccess, answers, ask
from thenodes_core.control.commands import Command, CommandTable, Reply
from thenodes_core.control.questions import CONTROL_SOCKET
from thenodes_core.control.socket import ControlSocket
from thenodes_core.errors import CommandError, CommandFailed, NoNode, StateDirError
from thenodes_plugin_api import PromptCommand


class Counting:
    """A command that counts: to a number, or for ever, or until it fails."""

    def __init__(self) -> None:
        self.running = 0
        self.size = 1

    async def run(self, words: Sequence[str]) -> Reply:
        return Reply("once")

    def follow(self, words: Sequence[str]) -> AsyncGenerator[Reply, None] | None:
        return self._count(words) if words else None

    async def _count(self, words: Sequence[str]) -> AsyncGenerator[Reply, None]:
        self.running += 1
        try:
            number = 0
            while words[0] == "ever" or number < int(words[0]):
                number += 1
                yield Reply(str(number) * self.size, number)
                await asyncio.sleep(0)
            if words[-1] == "fail":
                raise CommandFailed("counted enough")
        finally:
            self.running -= 1


class Shell:
    """A plugin's shell."""

    prefix = "my"
    commands = (PromptCommand(name="status", help="how it is"),)

    async def run(self, line: str) -> str | None:
        return line


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
def table(counting: Counting) -> CommandTable:
    table = CommandTable()
    table.add(Command("count", "counts", counting.run, "[to]", follow=counting.follow))
    table.add_shell(Shell())
    return table


@pytest.fixture
async def state_dir(tmp_path: Path, table: CommandTable) -> AsyncIterator[Path]:
    async with ControlSocket(tmp_path / CONTROL_SOCKET, table):
        yield tmp_path


@pytest.fixture(params=["local", "remote"])
async def access(request: pytest.FixtureRequest, state_dir: Path, table: CommandTable) -> Access:
    return LocalAccess(table) if request.param == "local" else RemoteAccess(state_dir)


async def all_of(answers: AsyncGenerator[Reply, None]) -> list[object]:
    async with aclosing(answers):
        return [reply.data async for reply in answers]


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_command_that_follows_gives_every_answer(access: Access) -> None:
    assert await all_of(access.answers("count 3")) == [1, 2, 3]


async def test_a_command_that_could_follow_answers_once_where_nobody_asks(access: Access) -> None:
    assert [reply.text async for reply in access.answers("count")] == ["once"]


async def test_json_is_told_of_every_answer(access: Access) -> None:
    assert [r.as_json async for r in access.answers("count 2 --json")] == [True, True]
    assert [r.as_json async for r in access.answers("count 2")] == [False, False]


async def test_a_command_that_fails_amid_its_answers_gives_those_before(access: Access) -> None:
    given = access.answers("count 2 fail")

    assert [(await anext(given)).data, (await anext(given)).data] == [1, 2]
    with pytest.raises(CommandFailed, match="counted enough"):
        await anext(given)


async def test_who_stops_listening_ends_the_command(access: Access, counting: Counting) -> None:
    given = access.answers("count ever")
    await anext(given)
    assert counting.running == 1

    await given.aclose()

    await until(lambda: counting.running == 0)


@pytest.mark.parametrize("count", ["count 0", "count 3", "count ever"])
async def test_what_is_said_amid_answers_ends_them_and_the_connection(
    state_dir: Path, counting: Counting, count: str
) -> None:
    reader, writer = await asyncio.open_unix_connection(str(state_dir / CONTROL_SOCKET))
    writer.write(b'{"line": "%s"}\n{"line": "count"}\n' % count.encode())

    async with asyncio.timeout(5):
        said = await reader.read()
    writer.close()

    assert b'"ok":false' not in said
    assert b"once" not in said
    await until(lambda: counting.running == 0)


async def test_a_connection_serves_on_after_the_last_of_many_answers(state_dir: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(str(state_dir / CONTROL_SOCKET))
    writer.write(b'{"line": "count 1"}\n')
    answers = [await reader.readline() for _ in range(2)]

    writer.write(b'{"line": "count"}\n')

    assert b"once" in await reader.readline()
    assert [b'"more":true' in answer for answer in answers] == [True, False]
    writer.close()


async def test_a_prompt_is_told_of_shells_and_of_what_may_be_typed(access: Access) -> None:
    described = (await access.describe()).shell("my")

    assert described is not None
    assert described.commands == (("status", "how it is"),)
    assert [tuple(found) for found in await access.complete("co", None)] == [("count", "counts")]
    in_shell = await access.complete("st", "my")
    assert [tuple(found) for found in in_shell] == [("status", "how it is")]


async def test_one_answer_is_enough_for_who_asks_once(state_dir: Path, counting: Counting) -> None:
    assert (await ask(state_dir, "count ever")).data == 1

    await until(lambda: counting.running == 0)


async def test_a_client_that_takes_nothing_is_cut(
    state_dir: Path, counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_socket, "_TAKEN_SECONDS", 0.1)
    counting.size = 100_000
    reader, writer = await asyncio.open_unix_connection(str(state_dir / CONTROL_SOCKET), limit=1)
    writer.write(b'{"line": "count ever"}\n')

    await until(lambda: counting.running == 1)
    await until(lambda: counting.running == 0)

    writer.close()
    assert not reader.at_eof()


async def test_a_node_that_stops_ends_what_is_followed(
    tmp_path: Path, table: CommandTable, counting: Counting
) -> None:
    async with ControlSocket(tmp_path / CONTROL_SOCKET, table):
        given = answers(tmp_path, "count ever")
        await anext(given)

    with pytest.raises(NoNode, match="has stopped"):
        await all_of(given)
    assert counting.running == 0


async def test_an_answer_that_is_too_long_is_told_as_such(
    state_dir: Path, counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_socket, "ANSWER_BYTES", 1000)
    counting.size = 2000

    with pytest.raises(CommandFailed, match="too long"):
        await all_of(answers(state_dir, "count 1"))


async def test_nobody_there_is_told_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(NoNode, match="start one with: thenodes run --state-dir"):
        await all_of(answers(tmp_path, "count"))


async def test_a_socket_that_a_killed_node_left_counts_as_nobody(tmp_path: Path) -> None:
    async with ControlSocket(tmp_path / CONTROL_SOCKET, CommandTable()):
        (tmp_path / CONTROL_SOCKET).rename(tmp_path / "kept")
    (tmp_path / "kept").rename(tmp_path / CONTROL_SOCKET)

    with pytest.raises(NoNode, match="no node runs on"):
        await ask(tmp_path, "count")


async def test_a_node_that_does_not_answer_is_told_after_a_while(tmp_path: Path) -> None:
    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        gone.set()

    server = await asyncio.start_unix_server(silent, str(tmp_path / CONTROL_SOCKET))
    async with server:
        with pytest.raises(StateDirError, match=r"no answer within 0\.1 s"):
            await ask(tmp_path, "count", timeout_seconds=0.1)
        await gone.wait()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('say "two words" more', ["two words", "more"]),
        ("say it's fine", ["it's", "fine"]),
        ("say a\\b", ["a\\b"]),
        ("say # no comment", ["#", "no", "comment"]),
        ("say 'a''b'", ["ab"]),
    ],
)
async def test_words_are_split_as_people_mean_them(line: str, words: list[str]) -> None:
    async def say(given: Sequence[str]) -> Reply:
        return Reply("", list(given))

    table = CommandTable()
    table.add(Command("say", "says it", say))

    assert (await table.run(line)).data == words


async def test_help_of_a_command_says_usage_and_example(table: CommandTable) -> None:
    text = (await table.run("count --help")).text

    assert text.splitlines()[0] == "usage: count [to] [--json]"
    assert "example: count" in text


async def test_what_there_is_to_say_of_a_command_fits_a_terminal(table: CommandTable) -> None:
    more = f"{'one word and ' * 20}\n\nAnother\nparagraph."
    table.add(Command("much", "has much to say", Counting().run, more=more))

    lines = (await table.run("much --help")).text.splitlines()

    assert max(map(len, lines)) <= 80
    assert lines[-2:] == ["  Another paragraph.", "example: much"]


async def test_a_hidden_command_is_in_no_list(table: CommandTable, counting: Counting) -> None:
    table.add(Command("secret", "for programs", counting.run, hidden=True))

    assert (await table.run("secret")).text == "once"
    assert await LocalAccess(table).complete("sec", None) == []
    with pytest.raises(CommandError) as caught:
        await table.run("secre")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "words", "as_json"),
    [
        ("say a --json", ["a"], True),
        ("say --json a", ["a"], True),
        ("say -- --json --help", ["--json", "--help"], False),
        ("say --json -- a -- b", ["a", "--", "b"], True),
    ],
)
async def test_what_comes_after_two_dashes_is_a_word(
    line: str, words: list[str], as_json: bool
) -> None:
    async def say(given: Sequence[str]) -> Reply:
        return Reply("", list(given))

    table = CommandTable()
    table.add(Command("say", "says it", say))

    reply = await table.run(line)

    assert (reply.data, reply.as_json) == (words, as_json)


async def test_an_answer_that_says_nothing_is_an_answer(
    access: Access, table: CommandTable
) -> None:
    async def silent(words: Sequence[str]) -> Reply:
        return Reply("")

    table.add(Command("silent", "says nothing", silent))

    assert [reply async for reply in access.answers("silent")] == [Reply("")]


async def test_answers_that_go_on_are_marked_as_such(access: Access) -> None:
    assert [reply.more async for reply in access.answers("count 2")] == [True, True]
    assert [reply.more async for reply in access.answers("count")] == [False]


async def test_a_name_that_is_no_unicode_is_shown_as_well_as_can_be(
    state_dir: Path, table: CommandTable
) -> None:
    async def show(words: Sequence[str]) -> Reply:
        return Reply("caf\udce9", {"path": "caf\udce9"})

    table.add(Command("show", "shows a path", show))

    assert await ask(state_dir, "show") == Reply("caf?", {"path": "caf?"})


@asynccontextmanager
async def saying(tmp_path: Path, said: bytes) -> AsyncIterator[None]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(said)
        writer.close()

    async with await asyncio.start_unix_server(serve, str(tmp_path / CONTROL_SOCKET)):
        yield


async def answers_from(tmp_path: Path, said: bytes) -> list[object]:
    async with saying(tmp_path, said):
        return await all_of(answers(tmp_path, "count"))


async def test_what_a_node_of_another_version_says_to_a_prompt_is_told_as_such(
    tmp_path: Path,
) -> None:
    access = RemoteAccess(tmp_path)
    async with saying(tmp_path, b'{"ok": true, "text": "", "data": {"shells": 3}}\n'):
        for question in (access.describe(), access.complete("st", None)):
            with pytest.raises(StateDirError, match="what answers is no node of this version"):
                await question


async def test_an_answer_longer_than_a_client_takes_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(StateDirError, match="an answer of more than 16777216 bytes"):
        await answers_from(tmp_path, b"x" * (16 * 1024 * 1024 + 100_000))


async def test_what_is_no_answer_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(StateDirError, match="what answers is no node of this version"):
        await answers_from(tmp_path, b"HTTP/1.1 400 Bad Request\n")


async def test_a_node_that_ends_before_it_answers_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(NoNode, match="has stopped, or closed the connection"):
        await answers_from(tmp_path, b"")


async def test_the_socket_of_another_user_is_told_with_the_way_out(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*args: object, **more: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(asyncio, "open_unix_connection", refuse)

    with pytest.raises(StateDirError, match="another user; ask as the user who runs the node"):
        await ask(state_dir, "count")
