"""How many lines are shown, and what is said of the others."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator

import pytest

from thenodes_cli.console import Console
from thenodes_cli.log_levels import LogLevels
from thenodes_cli.log_lines import EventLines, LogFormat, LogRecords, left_out
from thenodes_core.control.commands import CommandTable
from thenodes_core.errors import CommandError
from thenodes_plugin_api import Level, SystemEvent


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def event(number: int, level: Level = Level.INFO) -> SystemEvent:
    return SystemEvent(action="flood", detail=f"event {number}", level=level, at=0.0)


def console(stream: io.StringIO, clock: Hand, *, more: str = "") -> Console:
    return Console(stream, per_second=10, more=more, monotonic=clock)


async def test_a_flood_is_cut_to_what_can_be_followed_and_the_rest_is_a_number() -> None:
    stream, clock = io.StringIO(), Hand()
    shown = console(stream, clock, more="; events.jsonl has every event")
    lines = EventLines(shown, LogFormat.TEXT, level=Level.INFO)

    for second in range(5):
        clock.now = float(second)
        await lines.handle_batch([event(number) for number in range(10_000)])
    shown.close()

    got = stream.getvalue().splitlines()
    assert len([line for line in got if "event " in line and "skipped" not in line]) == 60
    skipped = [line for line in got if "skipped" in line]
    assert skipped[0] == "9980 lines were skipped; events.jsonl has every event"
    assert sum(int(line.split()[0]) for line in skipped) == 50_000 - 60


async def test_warnings_are_shown_in_a_flood_of_lesser_events() -> None:
    stream, clock = io.StringIO(), Hand()
    shown = console(stream, clock)
    lines = EventLines(shown, LogFormat.TEXT, level=Level.INFO)

    await lines.handle_batch([event(number) for number in range(1000)])
    await lines.handle_batch([event(7777, Level.WARNING)])
    shown.close()

    assert "event 7777" in stream.getvalue()


async def test_what_was_skipped_is_told_also_where_nothing_follows() -> None:
    stream, clock = io.StringIO(), Hand()
    shown = console(stream, clock)

    await EventLines(shown, LogFormat.TEXT, level=Level.INFO).handle_batch(
        [event(number) for number in range(21)]
    )
    shown.close()

    assert stream.getvalue().splitlines()[-1] == "1 line was skipped"


async def test_where_programs_read_every_line_is_written() -> None:
    stream = io.StringIO()
    shown = Console(stream)

    await EventLines(shown, LogFormat.JSON, level=Level.INFO).handle_batch(
        [event(number) for number in range(3000)]
    )
    shown.close()

    rows = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [row["detail"] for row in rows] == [f"event {number}" for number in range(3000)]
    assert rows[0] == {
        "type": "system",
        "level": "info",
        "at": 0.0,
        "action": "flood",
        "detail": "event 0",
    }


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    one = logging.getLogger("thenodes.test_console")
    yield one
    one.handlers.clear()
    one.setLevel(logging.NOTSET)


def test_a_log_record_is_a_json_line_of_type_log_and_an_error_has_its_trace(
    logger: logging.Logger,
) -> None:
    stream = io.StringIO()
    shown = Console(stream)
    logger.addHandler(LogRecords(shown, LogFormat.JSON))

    logger.warning("careful\x1b[31m: %s", "x")
    try:
        raise ValueError("no")
    except ValueError:
        logger.exception("failed")
    shown.close()

    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert "\x1b" not in stream.getvalue()
    assert (first["type"], first["level"]) == ("log", "warning")
    assert (first["logger"], first["detail"]) == (logger.name, "careful\x1b[31m: x")
    assert "trace" not in first
    assert second["trace"][-1] == "ValueError: no"


def test_a_log_record_for_people_is_shown_escaped_and_so_is_its_trace(
    logger: logging.Logger,
) -> None:
    stream = io.StringIO()
    shown = Console(stream)
    logger.addHandler(LogRecords(shown, LogFormat.TEXT))

    try:
        raise ValueError("no\x1b[2J\u202e")
    except ValueError:
        logger.exception("failed\x1b[31m\nagain: %s", "\x07")
    shown.close()

    first, *trace = stream.getvalue().split("\n")[:-1]
    assert first.endswith("failed\\x1b[31m\\nagain: \\x07")
    assert trace[-1] == "    ValueError: no\\x1b[2J\\u202e"
    assert all(line.isprintable() for line in (first, *trace))


class Stuck(io.StringIO):
    """A stream that takes nothing until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.free = threading.Event(), threading.Event()

    def write(self, text: str) -> int:
        self.asked.set()
        self.free.wait(5)
        return super().write(text)


def test_what_nobody_reads_waits_up_to_a_bound_and_beyond_it_is_a_number() -> None:
    stream = Stuck()
    shown = Console(stream)
    shown.write("first", Level.INFO)
    assert stream.asked.wait(5)

    for number in range(4096 + 10):
        shown.write(f"line {number}", Level.INFO)
    stream.free.set()
    shown.close()

    lines = stream.getvalue().splitlines()
    assert lines[-2:] == ["line 4095", "10 lines were left out: nobody read them in time"]
    assert len(lines) == 1 + 4096 + 1


def test_what_was_left_out_is_told_in_json_where_the_lines_are_json() -> None:
    assert left_out("9 lines", LogFormat.TEXT) == "9 lines"
    told = json.loads(left_out("9 lines", LogFormat.JSON))
    assert (told["action"], told["detail"]) == ("lines_left_out", "9 lines")


@pytest.mark.parametrize(
    ("variable", "value", "colourful"),
    [("NO_COLOR", "1", False), ("TERM", "dumb", False), ("TERM", "xterm", True)],
)
def test_colours_are_for_terminals_that_have_them(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, colourful: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(variable, value)
    stream = Terminal()
    shown = Console(stream)

    shown.write("look", Level.WARNING)
    shown.close()

    assert ("\x1b[33m" in stream.getvalue()) is colourful


def test_nobody_reads_lines_for_people_but_at_a_terminal() -> None:
    assert LogFormat.AUTO.chosen(for_people=True) is LogFormat.TEXT
    assert LogFormat.AUTO.chosen(for_people=False) is LogFormat.JSON
    assert LogFormat.TEXT.chosen(for_people=False) is LogFormat.TEXT


class Levels:
    """The command, over a console in memory."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.console = Console(self.stream)
        self.lines = EventLines(self.console, LogFormat.TEXT, level=Level.INFO)
        self.table = CommandTable()
        LogLevels(self.lines, Level.INFO).add_command(self.table)

    async def run(self, line: str) -> str:
        return (await self.table.run(line)).text


@pytest.fixture
def levels() -> Iterator[Levels]:
    before = logging.getLogger().level
    logging.getLogger("thenodes.plugin.test_console")
    yield Levels()
    logging.getLogger().setLevel(before)
    logging.getLogger("thenodes.plugin.test_console").setLevel(logging.NOTSET)


async def test_a_level_is_shown_and_set(levels: Levels) -> None:
    assert await levels.run("log level") == "shown from info on"
    assert await levels.run("log level ERROR") == "shown from error on"

    await levels.lines.handle_batch([event(1, Level.WARNING), event(2, Level.ERROR)])
    levels.console.close()

    assert "event 1" not in levels.stream.getvalue()
    assert "event 2" in levels.stream.getvalue()
    assert logging.getLogger().level == logging.ERROR


@pytest.mark.parametrize(
    "word", ["thenodes.plugin.test_console", "thenodes.test_console", "test_console"]
)
async def test_one_logger_has_a_level_of_its_own_however_it_is_named(
    levels: Levels, word: str
) -> None:
    told = await levels.run(f"log level debug {word}")

    assert told.endswith("test_console from debug on")
    assert logging.getLogger().level != logging.DEBUG
    assert "from debug on" in await levels.run("log level")


@pytest.mark.parametrize("line", ["log level loud", "log level debug nobody", "log level a b c"])
async def test_what_is_no_level_and_no_logger_is_refused(levels: Levels, line: str) -> None:
    with pytest.raises(CommandError):
        await levels.run(line)
