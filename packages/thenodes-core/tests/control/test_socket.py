"""The control socket: for its owner alone, and not to be broken by what is said."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest

from thenodes_core.control import socket as control_socket
from thenodes_core.control.client import ask
from thenodes_core.control.commands import Command, CommandTable, Reply
from thenodes_core.control.questions import CONTROL_SOCKET
from thenodes_core.control.socket import ControlSocket
from thenodes_core.errors import CommandError, CommandFailed, StateDirError

LINE_BYTES = 64 * 1024
CONNECTIONS = 32


async def echo(words: Sequence[str]) -> Reply:
    return Reply(" ".join(words), list(words))


@pytest.fixture
def table() -> CommandTable:
    table = CommandTable()
    table.add(Command("echo", "says what it got", echo))
    return table


@pytest.fixture
async def state_dir(tmp_path: Path, table: CommandTable) -> AsyncIterator[Path]:
    """A state directory with a control socket in it."""
    async with ControlSocket(tmp_path / CONTROL_SOCKET, table):
        yield tmp_path


class Client:
    """Says bytes to the socket and reads answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, data: bytes) -> dict[str, object]:
        self.writer.write(data)
        return await self.listen()

    async def listen(self) -> dict[str, object]:
        return msgspec.json.decode(await self.reader.readline(), type=dict[str, object])

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def connect(state_dir: Path) -> Client:
    path = str(state_dir / CONTROL_SOCKET)
    return Client(*await asyncio.open_unix_connection(path, limit=16 * LINE_BYTES))


async def test_a_command_is_answered_with_text_and_data(state_dir: Path) -> None:
    assert await ask(state_dir, "echo a b") == Reply("a b", ["a", "b"])


async def test_a_command_that_fails_is_an_error_for_who_asked(state_dir: Path) -> None:
    with pytest.raises(CommandError, match="unknown command 'dance'"):
        await ask(state_dir, "dance")


async def test_a_large_answer_arrives_whole(state_dir: Path, table: CommandTable) -> None:
    async def much(words: Sequence[str]) -> Reply:
        return Reply("x" * 1_000_000)

    table.add(Command("much", "", much))

    assert len((await ask(state_dir, "much")).text) == 1_000_000


async def test_only_the_owner_can_use_the_socket(tmp_path: Path, table: CommandTable) -> None:
    before = os.umask(0)
    try:
        async with ControlSocket(tmp_path / CONTROL_SOCKET, table):
            mode = (tmp_path / CONTROL_SOCKET).stat().st_mode
    finally:
        os.umask(before)

    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


async def test_the_socket_is_gone_afterwards(tmp_path: Path, table: CommandTable) -> None:
    async with ControlSocket(tmp_path / CONTROL_SOCKET, table):
        pass

    assert list(tmp_path.iterdir()) == []


async def test_a_stale_socket_is_replaced(tmp_path: Path, table: CommandTable) -> None:
    (tmp_path / CONTROL_SOCKET).write_text("stale")

    async with ControlSocket(tmp_path / CONTROL_SOCKET, table):
        assert (await ask(tmp_path, "echo a")).text == "a"


async def test_a_state_directory_too_long_for_a_socket_works_all_the_same(
    tmp_path: Path, table: CommandTable
) -> None:
    long = tmp_path / ("x" * 100) / ("y" * 100)
    long.mkdir(parents=True)

    async with ControlSocket(long / CONTROL_SOCKET, table):
        target = (long / CONTROL_SOCKET).readlink()
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (target, target.parent)]
        answer = await ask(long, "echo a")

    assert answer.text == "a"
    assert modes == [0o600, 0o700]
    assert not target.parent.exists()
    assert list(long.iterdir()) == []


@pytest.mark.parametrize(
    "garbage",
    [
        b"\n",
        b"peers\n",
        b"{}\n",
        b'{"line": 1}\n',
        b"\xff\n",
        b"[]\n",
        b"[" * 10_000 + b"\n",
        b'{"x": ' + b"[" * 50_000 + b"\n",
    ],
    ids=lambda garbage: repr(garbage[:12]),
)
async def test_a_garbage_line_is_answered_and_the_next_is_served(
    state_dir: Path, garbage: bytes
) -> None:
    client = await connect(state_dir)

    refused = await client.say(garbage)
    served = await client.say(b'{"line": "echo a"}\n')
    await client.close()

    assert refused["ok"] is False
    assert str(refused["text"]).startswith('expected {"line": "<command>"}')
    assert served == {"ok": True, "text": "a", "data": ["a"]}


async def test_a_line_as_long_as_allowed_is_served(state_dir: Path) -> None:
    start, end = b'{"line": "echo ', b'"}\n'
    client = await connect(state_dir)

    answer = await client.say(start + b"x" * (LINE_BYTES - len(start) - len(end)) + end)
    await client.close()

    assert answer["ok"] is True


async def test_a_line_that_is_too_long_is_refused_and_the_connection_closed(
    state_dir: Path,
) -> None:
    client = await connect(state_dir)

    answer = await client.say(b'{"line": "' + b"x" * LINE_BYTES + b'"}\n')
    rest = await client.reader.read()
    await client.close()

    assert (answer["ok"], answer["text"]) == (False, f"a line of more than {LINE_BYTES} bytes")
    assert rest == b""
    assert (await ask(state_dir, "echo a")).text == "a"


async def test_what_is_too_long_is_not_even_asked(state_dir: Path) -> None:
    room = LINE_BYTES - len(b'{"line":"echo "}\n')

    assert len((await ask(state_dir, f"echo {'x' * room}")).text) == room
    with pytest.raises(CommandError, match=f"a line of {LINE_BYTES + 1} bytes; a node takes"):
        await ask(state_dir, f"echo {'x' * (room + 1)}")


async def test_one_connection_too_many_is_refused_and_told(state_dir: Path) -> None:
    clients = [await connect(state_dir) for _ in range(CONNECTIONS)]
    for client in clients:
        assert (await client.say(b'{"line": "echo a"}\n'))["ok"] is True

    last = await connect(state_dir)
    answer = await last.listen()

    for client in (*clients, last):
        await client.close()
    assert answer["failed"] is True
    assert str(answer["text"]).startswith("32 control connections are open, and no more may be")


async def test_who_asks_while_there_is_no_room_is_told_so(state_dir: Path) -> None:
    clients = [await connect(state_dir) for _ in range(CONNECTIONS)]
    for client in clients:
        await client.say(b'{"line": "echo a"}\n')

    for _ in range(2 * CONNECTIONS):
        with pytest.raises(CommandFailed, match="end one, such as an attach"):
            await ask(state_dir, "echo a")

    for client in clients:
        await client.close()


async def test_of_those_that_are_refused_no_more_are_told_than_are_served(state_dir: Path) -> None:
    clients = [await connect(state_dir) for _ in range(2 * CONNECTIONS)]
    for client in clients[:CONNECTIONS]:
        await client.say(b'{"line": "echo a"}\n')
    for client in clients[CONNECTIONS:]:
        await client.listen()

    last = await connect(state_dir)
    told = await last.reader.read()

    for client in (*clients, last):
        await client.close()
    assert told == b""


async def test_a_connection_that_was_closed_makes_room(state_dir: Path) -> None:
    for _ in range(2 * CONNECTIONS):
        client = await connect(state_dir)
        assert (await client.say(b'{"line": "echo a"}\n'))["ok"] is True
        await client.close()


async def test_many_questions_at_once_leave_others_their_turn(
    state_dir: Path, table: CommandTable
) -> None:
    seen: list[int] = []
    turn = 0

    async def note(words: Sequence[str]) -> Reply:
        seen.append(turn)
        return Reply("")

    table.add(Command("note", "", note))
    client = await connect(state_dir)
    asking = asyncio.ensure_future(client.say(b'{"line": "note"}\n' * 500))
    while len(seen) < 500:
        turn += 1
        await asyncio.sleep(0)
    await asking
    await client.close()

    assert len(set(seen)) == 500


async def test_a_connection_that_says_nothing_for_long_is_closed(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_socket, "_IDLE_SECONDS", 0.1)
    client = await connect(state_dir)
    await client.say(b'{"line": "echo a"}\n')

    async with asyncio.timeout(5):
        assert await client.reader.read() == b""
    await client.close()


async def test_a_client_that_leaves_in_the_middle_of_a_line_harms_nobody(state_dir: Path) -> None:
    client = await connect(state_dir)
    client.writer.write(b'{"line": "ec')
    await client.close()

    assert (await ask(state_dir, "echo a")).text == "a"


async def test_an_open_connection_does_not_hold_up_the_end(
    tmp_path: Path, table: CommandTable
) -> None:
    async with asyncio.timeout(5):
        async with ControlSocket(tmp_path / CONTROL_SOCKET, table):
            client = await connect(tmp_path)
            await client.say(b'{"line": "echo a"}\n')

        assert await client.reader.read() == b""
    await client.close()


async def test_where_no_node_runs_the_way_out_is_told(tmp_path: Path) -> None:
    with pytest.raises(StateDirError, match=f"no node runs on {tmp_path}; start one with"):
        await ask(tmp_path, "peers")


async def test_a_socket_that_nobody_listens_on_is_no_node(tmp_path: Path) -> None:
    server = await asyncio.start_unix_server(lambda r, w: None, str(tmp_path / CONTROL_SOCKET))
    server.close()
    await server.wait_closed()

    with pytest.raises(StateDirError, match="no node runs on"):
        await ask(tmp_path, "peers")


async def test_a_path_that_no_socket_can_have_is_told_as_such(
    tmp_path: Path, table: CommandTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100) / ("y" * 100)
    long.mkdir(parents=True)
    (long / CONTROL_SOCKET).touch()
    monkeypatch.setattr("tempfile.tempdir", str(long))

    with pytest.raises(StateDirError, match="AF_UNIX path too long"):
        await ask(long, "echo a")
    with pytest.raises(StateDirError, match="no control socket: AF_UNIX path too long"):
        await ControlSocket(long / CONTROL_SOCKET, table).__aenter__()
    assert list(long.iterdir()) == []


async def test_a_command_that_takes_too_long_is_given_up(
    state_dir: Path, table: CommandTable
) -> None:
    async def wait(words: Sequence[str]) -> Reply:
        await asyncio.Event().wait()
        return Reply("")

    table.add(Command("wait", "", wait))

    with pytest.raises(StateDirError, match="no answer within"):
        await ask(state_dir, "wait", timeout_seconds=0.02)


async def test_a_socket_that_cannot_be_made_is_an_error_of_the_state_directory(
    tmp_path: Path, table: CommandTable
) -> None:
    with pytest.raises(StateDirError, match="no control socket"):
        await ControlSocket(tmp_path / "none" / CONTROL_SOCKET, table).__aenter__()


async def test_a_folder_in_the_sockets_place_is_an_error_of_the_state_directory(
    tmp_path: Path, table: CommandTable
) -> None:
    (tmp_path / CONTROL_SOCKET).mkdir()

    with pytest.raises(StateDirError, match=CONTROL_SOCKET):
        await ControlSocket(tmp_path / CONTROL_SOCKET, table).__aenter__()


async def test_the_short_folder_that_a_killed_node_left_is_removed_at_the_next_start(
    tmp_path: Path, table: CommandTable
) -> None:
    long = tmp_path / ("x" * 100) / ("y" * 100)
    long.mkdir(parents=True)
    left = tmp_path / "thenodes-socket-killed"
    left.mkdir()
    (left / CONTROL_SOCKET).write_text("")
    (long / CONTROL_SOCKET).symlink_to(left / CONTROL_SOCKET)

    async with ControlSocket(long / CONTROL_SOCKET, table):
        answer = await ask(long, "echo a")

    assert answer.text == "a"
    assert not left.exists()


async def test_a_folder_that_is_no_sockets_is_not_removed(
    tmp_path: Path, table: CommandTable
) -> None:
    state, precious = tmp_path / "state", tmp_path / "precious"
    state.mkdir()
    precious.mkdir()
    (precious / "file").write_text("")
    (state / CONTROL_SOCKET).symlink_to(precious / CONTROL_SOCKET)

    async with ControlSocket(state / CONTROL_SOCKET, table):
        pass

    assert (precious / "file").exists()
