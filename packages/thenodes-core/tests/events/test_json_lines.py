"""Events as JSON lines: nothing lost, nothing split, for the owner's eyes alone."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from thenodes_core.events.counters import Counters
from thenodes_core.events.dispatcher import Dispatcher
from thenodes_core.events.json_lines import JsonLinesSink
from thenodes_plugin_api import (
    Direction,
    Event,
    NetworkEvent,
    PluginEvent,
    PromotionEvent,
    SystemEvent,
    TrustDecisionEvent,
)


def event(number: int) -> Event:
    return SystemEvent(action="tick", detail=str(number), at=0.0)


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


def read(path: Path, keep: int = 0) -> list[int]:
    """The numbers in all files, the oldest first."""
    files = [path.with_name(f"{path.name}.{number}") for number in range(keep, 0, -1)]
    lines = [line for file in [*files, path] if file.exists() for line in lines_of(file)]
    return [int(json.loads(line)["detail"]) for line in lines]


async def test_every_type_of_event_is_a_line_that_says_its_type(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events: list[Event] = [
        SystemEvent(action="a"),
        NetworkEvent(action="a"),
        PluginEvent(plugin="p", action="a"),
        TrustDecisionEvent(role=Direction.INBOUND, decision="accept", reason="r", mode="open"),
        PromotionEvent(
            fingerprint="f", from_store="observed", to_store="trusted", operator="o", success=True
        ),
    ]

    await JsonLinesSink(path).handle_batch(events)

    types = [json.loads(line)["type"] for line in lines_of(path)]
    assert types == ["system", "network", "plugin", "trust_decision", "promotion"]


@pytest.mark.parametrize("at_once", [1, 100, 10_000])
async def test_ten_thousand_events_are_all_there_in_order(tmp_path: Path, at_once: int) -> None:
    counters = Counters()
    path = tmp_path / "events.jsonl"
    async with Dispatcher(counters, flush_seconds=20) as dispatcher:
        dispatcher.add_sink(JsonLinesSink(path, max_bytes=200_000, keep=9))
        for number in range(10_000):
            dispatcher.emit(event(number))
            if number % at_once == 0:
                await asyncio.sleep(0)

    assert read(path, keep=9) == list(range(10_000))
    assert path.with_name("events.jsonl.1").exists()
    assert counters.snapshot() == {}


async def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "events.jsonl"

    await JsonLinesSink(path, max_bytes=100).handle_batch([event(1), event(2)])

    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["events.jsonl", "events.jsonl.1"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_as_many_old_files_as_asked_for_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "e"

    await JsonLinesSink(path, max_bytes=1, keep=2).handle_batch([event(n) for n in range(5)])

    assert sorted(file.name for file in tmp_path.iterdir()) == ["e", "e.1", "e.2"]
    assert read(path, keep=2) == [2, 3, 4]


async def test_with_none_kept_the_file_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "e"

    await JsonLinesSink(path, max_bytes=1, keep=0).handle_batch([event(n) for n in range(3)])

    assert [file.name for file in tmp_path.iterdir()] == ["e"]
    assert read(path) == [2]


async def test_no_file_grows_beyond_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "e"

    await JsonLinesSink(path, max_bytes=1000, keep=50).handle_batch([event(n) for n in range(99)])

    assert max(file.stat().st_size for file in tmp_path.iterdir()) <= 1000
    assert read(path, keep=50) == list(range(99))


async def test_an_existing_file_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "e"
    await JsonLinesSink(path).handle(event(1))

    await JsonLinesSink(path).handle(event(2))

    assert read(path) == [1, 2]


async def test_half_a_line_of_a_killed_process_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "e"
    path.write_text('{"type":"sys')

    await JsonLinesSink(path).handle(event(1))

    first, second = path.read_text().splitlines()
    assert first == '{"type":"sys'
    assert json.loads(second)["detail"] == "1"


async def test_a_file_that_was_moved_away_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "e"
    sink = JsonLinesSink(path)
    await sink.handle(event(1))
    path.rename(tmp_path / "moved")

    await sink.handle(event(2))

    assert read(path) == [2]


async def test_what_cannot_be_written_is_written_later(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "e"
    (tmp_path / "logs").write_text("not a directory")
    sink = JsonLinesSink(path)
    with pytest.raises(OSError, match="logs"):
        await sink.handle(event(1))
    (tmp_path / "logs").unlink()

    await sink.handle(event(2))

    assert read(path) == [1, 2]


async def test_what_cannot_be_kept_any_more_is_told(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "e"
    (tmp_path / "logs").write_text("not a directory")
    sink = JsonLinesSink(path, max_bytes=10**8)
    with pytest.raises(OSError, match="logs"):
        await sink.handle_batch([event(n) for n in range(16_384 + 5)])
    (tmp_path / "logs").unlink()

    await sink.handle(event(99_999))

    lines = [json.loads(line) for line in lines_of(path)]
    assert lines[0]["detail"].startswith("6 events were dropped here")
    assert [line["detail"] for line in lines[1:]] == [*map(str, range(6, 16_389)), "99999"]


async def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "e").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="e"):
        await JsonLinesSink(tmp_path / "e").handle(event(1))

    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("text", ["\x1b[31m", "\u202e", "\x9b", "\ud800", "\U000e0001"])
async def test_what_a_terminal_might_obey_is_escaped(tmp_path: Path, text: str) -> None:
    path = tmp_path / "e"

    await JsonLinesSink(path).handle(SystemEvent(action="a", detail=text))

    (line,) = path.read_text().splitlines()
    assert line.isprintable()
    assert json.loads(line)["action"] == "a"


async def test_a_failing_sink_is_counted_and_does_not_disturb_another(tmp_path: Path) -> None:
    counters = Counters()
    (tmp_path / "logs").write_text("not a directory")
    async with Dispatcher(counters, flush_seconds=5) as dispatcher:
        dispatcher.add_sink(JsonLinesSink(tmp_path / "logs" / "e"))
        dispatcher.add_sink(JsonLinesSink(tmp_path / "good"))
        for number in range(10):
            dispatcher.emit(event(number))

    assert read(tmp_path / "good") == list(range(10))
    assert counters.get("event_sink_failures") == 1
