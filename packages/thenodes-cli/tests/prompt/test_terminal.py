"""The prompt on a terminal, of which keys and screen are a test's."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from thenodes_cli.console import Console
from thenodes_cli.prompt.conversation import Conversation
from thenodes_cli.prompt.shell import PromptShell
from thenodes_cli.prompt.terminal import Terminal
from thenodes_cli.prompt.toolbar import Glance
from thenodes_core.control.access import LocalAccess
from thenodes_core.control.commands import Command, CommandTable, Reply
from thenodes_core.control.completion import Candidate
from thenodes_plugin_api import Level


class Screen(DummyOutput):
    """Keeps what is written to it; its size can change."""

    def __init__(self) -> None:
        self.columns, self.rows = 80, 24
        self.written: list[str] = []

    def write(self, data: str) -> None:
        self.written.append(data)

    def get_size(self) -> Size:
        return Size(rows=self.rows, columns=self.columns)

    @property
    def text(self) -> str:
        """All that was ever written."""
        return "".join(self.written)


class Desk:
    """A prompt, its keyboard and its screen."""

    def __init__(self, keys: PipeInput, access: LocalAccess, history: Path | None) -> None:
        self.keys = keys
        self.screen = Screen()
        self.shown: list[str] = []
        self.console = Console(io.StringIO())
        self.shell = PromptShell(access)
        self.talk = Conversation(self.shell, self._show)
        self.terminal = Terminal(
            access,
            self.shell,
            self.talk,
            self.console,
            history,
            source=keys,
            output=self.screen,
        )

    async def _show(self, reply: Reply) -> None:
        self.shown.append(reply.text)

    @property
    def line(self) -> str:
        """What stands in the input line."""
        return self.terminal.session.default_buffer.text

    async def type(self, text: str, then: Callable[[], object]) -> None:
        """Type, and wait until it has come about."""
        self.keys.send_text(text)
        await until(then)


async def until(condition: Callable[[], object]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it does not come about")


@asynccontextmanager
async def at_desk(
    table: CommandTable, *, history: Path | None = None, access: LocalAccess | None = None
) -> AsyncIterator[Desk]:
    with create_pipe_input() as keys:
        desk = Desk(keys, access or LocalAccess(table), history)
        running = asyncio.ensure_future(desk.terminal.run())
        await until(lambda: desk.terminal.session.app.is_running)
        try:
            yield desk
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
def table() -> CommandTable:
    async def peers(words: Sequence[str]) -> Reply:
        return Reply(f"peers{list(words)}")

    async def glance(words: Sequence[str]) -> Reply:
        return Reply("", Glance("kitchen", "home/1.0", 3, None, 2))

    table = CommandTable()
    table.add(Command("peers", "who is there", peers))
    table.add(Command("ping", "ask a peer for a sign of life", peers))
    table.add(Command("glance", "", glance, hidden=True))
    return table


async def test_a_line_is_answered_and_the_next_one_is_asked_for(table: CommandTable) -> None:
    async with at_desk(table) as desk:
        await desk.type("peers\r", lambda: desk.shown)
        await desk.type("ping a\r", lambda: len(desk.shown) == 2)

        assert desk.shown == ["peers[]", "peers['a']"]


async def test_what_may_be_typed_is_offered_while_one_types(table: CommandTable) -> None:
    async with at_desk(table) as desk:
        await desk.type("pi", lambda: "ask a peer for a sign of life" in desk.screen.text)
        assert desk.line == "pi"

        await desk.type("\t", lambda: desk.line == "ping")


async def test_a_node_that_takes_its_time_to_complete_does_not_hold_up_who_types(
    table: CommandTable,
) -> None:
    class Slow(LocalAccess):
        async def complete(self, typed: str, prefix: str | None) -> Sequence[Candidate]:
            await asyncio.Event().wait()
            return ()

    async with at_desk(table, access=Slow(table)) as desk:
        await desk.type("peers", lambda: desk.line == "peers")
        await desk.type("\r", lambda: desk.shown)


async def test_ctrl_c_gives_up_the_line_and_without_one_the_prompt(table: CommandTable) -> None:
    with create_pipe_input() as keys:
        desk = Desk(keys, LocalAccess(table), None)
        running = asyncio.ensure_future(desk.terminal.run())
        await until(lambda: desk.terminal.session.app.is_running)
        await desk.type("shut", lambda: desk.line == "shut")
        await desk.type("\x03", lambda: desk.line == "")
        assert not running.done()

        await desk.type("\x03", running.done)

        assert desk.shown == []
        running.result()


async def test_ctrl_d_asks_and_y_ends(table: CommandTable) -> None:
    with create_pipe_input() as keys:
        desk = Desk(keys, LocalAccess(table), None)
        running = asyncio.ensure_future(desk.terminal.run())
        await until(lambda: desk.terminal.session.app.is_running)
        await desk.type("\x04", lambda: "Stop this node? [y/N]" in desk.screen.text)

        await desk.type("y\r", running.done)


async def test_the_up_arrow_brings_lines_from_before_that_begin_so(
    table: CommandTable, tmp_path: Path
) -> None:
    async with at_desk(table, history=tmp_path / "history") as desk:
        await desk.type("ping one\r", lambda: len(desk.shown) == 1)
        await desk.type("peers\r", lambda: len(desk.shown) == 2)

        await desk.type("pi", lambda: desk.line == "pi")
        # Whether the menu is there yet or not.
        await desk.type("\x1b[A", lambda: desk.line == "ping one")


async def test_ctrl_r_searches_what_was_typed(table: CommandTable, tmp_path: Path) -> None:
    async with at_desk(table, history=tmp_path / "history") as desk:
        await desk.type("ping one\r", lambda: len(desk.shown) == 1)
        await desk.type("peers\r", lambda: len(desk.shown) == 2)

        desk.keys.send_text("\x12one")
        await until(lambda: "reverse-i-search" in desk.screen.text)
        await desk.type("\r", lambda: desk.line == "ping one")
        await desk.type("\r", lambda: len(desk.shown) == 3)

        assert desk.shown[2] == "peers['one']"


async def test_the_toolbar_shows_the_node_at_a_glance(table: CommandTable) -> None:
    async with at_desk(table) as desk:
        await until(lambda: "2 unread errors" in desk.screen.text)

        assert "kitchen" in desk.screen.text
        assert "3 peers" in desk.screen.text


async def test_a_node_that_tells_nothing_of_itself_has_a_prompt_without_a_toolbar() -> None:
    async with at_desk(CommandTable()) as desk:
        await desk.type("nothing\r", lambda: desk.shown)

        assert desk.terminal.session.bottom_toolbar is None


async def test_a_terminal_of_few_rows_keeps_them_for_the_line(table: CommandTable) -> None:
    async with at_desk(table) as desk:
        await until(lambda: desk.terminal.session.bottom_toolbar)
        desk.screen.rows, desk.screen.columns = 3, 20

        await desk.type("p", lambda: desk.terminal.session.bottom_toolbar is None)

        assert desk.terminal.session.reserve_space_for_menu == 0
        await desk.type("eers\r", lambda: desk.shown)


async def test_events_go_above_the_line_that_is_typed(
    table: CommandTable, capsys: pytest.CaptureFixture[str]
) -> None:
    async with at_desk(table) as desk:
        await desk.type("pee", lambda: desk.line == "pee")
        desk.console.write("kitchen joined", Level.INFO)
        told: list[str] = []

        def is_told() -> bool:
            told.append(capsys.readouterr().out)
            return "kitchen joined\n" in "".join(told)

        await until(is_told)
        assert desk.line == "pee"


async def test_no_more_is_typed_than_can_be_drawn(table: CommandTable) -> None:
    async with at_desk(table) as desk:
        pasted = f"\x1b[200~{'x' * 40_000}\x1b[201~"

        await desk.type(pasted, lambda: len(desk.line) == 16 * 1024)
