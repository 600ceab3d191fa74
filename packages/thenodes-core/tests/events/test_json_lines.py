"""Events as JSON lines: nothing lost, nothing split, for the owner's eyes alone."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from pathlib import Path
from typing import Any

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
    path = tmp_path / "of" / "logs" / "events.jsonl"

    await JsonLinesSink(path, max_bytes=100).handle_batch([event(1), event(2)])

    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["events.jsonl", "events.jsonl.1"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.parent.parent.stat().st_mode & 0o777 == 0o700


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


async def test_what_was_kept_is_written_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "e"
    (tmp_path / "logs").write_text("not a directory")
    sink = JsonLinesSink(path)
    with pytest.raises(OSError, match="logs"):
        await sink.handle(event(1))
    (tmp_path / "logs").unlink()

    async with Dispatcher(Counters(), flush_seconds=20) as dispatcher:
        dispatcher.add_sink(sink)

    assert read(path) == [1]


async def test_without_an_event_there_is_no_file(tmp_path: Path) -> None:
    await JsonLinesSink(tmp_path / "e").handle_batch([])

    assert list(tmp_path.iterdir()) == []


class FullDisk:
    """Stands in for `os.write`, with room for so many bytes and no more."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._write = os.write

    def write(self, file: int, data: bytes) -> int:
        if not self._room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = self._write(file, data[: self._room])
        self._room -= count
        return count


# Within the second line, and just before its end.
@pytest.mark.parametrize("missing", [10, 1])
async def test_a_disk_that_is_full_within_a_line_neither_splits_nor_doubles_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    path = tmp_path / "e"
    await JsonLinesSink(path).handle(event(0))
    sink = JsonLinesSink(path)
    disk = FullDisk(2 * path.stat().st_size - missing)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", disk.write)
        with pytest.raises(OSError, match="No space"):
            await sink.handle_batch([event(1), event(2)])

    await sink.handle(event(3))

    assert read(path) == [0, 1, 2, 3]


async def test_a_rotation_that_fails_pushes_out_no_file_when_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "e"
    sink = JsonLinesSink(path, max_bytes=1, keep=3)
    await sink.handle_batch([event(n) for n in range(4)])
    path.with_name("e.1").unlink()  # as when the older ones were moved, and then it failed

    await sink.handle(event(4))

    assert read(path, keep=3) == [0, 1, 3, 4]


async def test_a_line_that_just_fits_does_not_rotate(tmp_path: Path) -> None:
    path = tmp_path / "e"
    await JsonLinesSink(path).handle(event(0))
    two_lines = 2 * path.stat().st_size

    await JsonLinesSink(path, max_bytes=two_lines).handle(event(1))
    assert read(path) == [0, 1]
    await JsonLinesSink(path, max_bytes=two_lines).handle(event(2))

    assert (read(path.with_name("e.1")), read(path)) == ([0, 1], [2])


async def test_an_event_longer_than_a_file_stands_alone(tmp_path: Path) -> None:
    path = tmp_path / "e"
    sink = JsonLinesSink(path, max_bytes=200)

    await sink.handle_batch([event(0), event(10**300), event(1)])

    assert [read(path.with_name(name)) for name in ("e.2", "e.1", "e")] == [[0], [10**300], [1]]


async def test_a_pipe_is_not_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "e")

    with pytest.raises(OSError, match="not a regular file"):
        await JsonLinesSink(tmp_path / "e").handle(event(1))


async def test_an_event_that_json_cannot_hold_takes_no_other_with_it(tmp_path: Path) -> None:
    path = tmp_path / "e"
    ring: list[object] = []
    ring.append(ring)
    wrong = [SystemEvent(action="a", detail=detail) for detail in (object(), ring)]  # type: ignore[arg-type]

    await JsonLinesSink(path).handle_batch([event(1), *wrong, event(2)])

    assert [json.loads(line)["action"] for line in lines_of(path)] == ["tick", "a", "a", "tick"]


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
    assert counters.get("event_sink_failures") == 2  # the events, and at the end once more


async def test_what_is_no_event_costs_no_other_its_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    wrong: list[Any] = ["\udcff", None, 3]

    await JsonLinesSink(path).handle_batch([event(1), *wrong, event(2)])

    actions = [json.loads(line)["action"] for line in path.read_text().splitlines()]
    assert actions == ["tick", *["not_an_event"] * 3, "tick"]
