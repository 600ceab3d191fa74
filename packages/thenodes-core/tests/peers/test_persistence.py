"""Known addresses on disk: written where something changed."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from thenodes_core.clock import ManualClock
from thenodes_core.errors import StateDirError
from thenodes_core.events.counters import Counters
from thenodes_core.events.dispatcher import Dispatcher
from thenodes_core.peers.persistence import KnownPeersKeeper
from thenodes_core.peers.store import KnownPeers
from thenodes_core.store.peers_file import PeersFile
from thenodes_plugin_api import Event, PeerRecord, PeerSource, SystemEvent


class Keeping:
    """A keeper with its parts."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "peers.json"
        self.clock = ManualClock()
        self.known = KnownPeers(self.clock)
        self.dispatcher = Dispatcher(Counters())
        self.events: list[Event] = []
        file = PeersFile(self.path, ttl_seconds=1000, max_entries=10)
        self.keeper = KnownPeersKeeper(self.known, file, 60.0, self.dispatcher, self.clock)

    async def handle(self, event: Event) -> None:
        self.events.append(event)

    @property
    def actions(self) -> list[str]:
        return [event.action for event in self.events if isinstance(event, SystemEvent)]

    async def a_minute_later(self) -> None:
        await self.clock.advance(60.0)
        # The file is written in a thread.
        await asyncio.to_thread(lambda: None)
        await self.clock.advance(0.0)


@pytest.fixture
async def keeping(tmp_path: Path) -> AsyncIterator[Keeping]:
    keeping = Keeping(tmp_path)
    # One thread, so that what is run in it later comes after the writing.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(max_workers=1))
    async with keeping.dispatcher:
        keeping.dispatcher.add_sink(keeping)
        keeping.keeper.load()
        running = asyncio.ensure_future(keeping.keeper.run())
        yield keeping
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_changes_are_written_after_a_while(keeping: Keeping) -> None:
    keeping.known.add("a:1", PeerSource.MANUAL)

    await keeping.a_minute_later()

    assert '"a:1"' in keeping.path.read_text()


async def test_without_changes_nothing_is_written(keeping: Keeping) -> None:
    await keeping.a_minute_later()
    keeping.keeper.save()

    assert not keeping.path.exists()


async def test_what_changed_last_is_written_at_the_end(keeping: Keeping) -> None:
    keeping.known.add("a:1", PeerSource.MANUAL)

    keeping.keeper.save()

    assert '"a:1"' in keeping.path.read_text()


async def test_a_file_that_cannot_be_written_is_told_once(keeping: Keeping) -> None:
    keeping.path.mkdir()
    (keeping.path / "inside").write_text("")
    for number in range(1, 4):
        keeping.known.add(f"a:{number}", PeerSource.MANUAL)
        await keeping.a_minute_later()

    assert keeping.actions == ["peers_file_not_written"]


async def test_a_damaged_file_is_told_and_the_node_goes_on(tmp_path: Path) -> None:
    keeping = Keeping(tmp_path)
    keeping.path.write_text("{")
    async with keeping.dispatcher:
        keeping.dispatcher.add_sink(keeping)
        keeping.keeper.load()

    assert keeping.actions == ["peers_file_damaged"]
    assert keeping.known.records == []


def entry(addr: str) -> str:
    return f'{{"addr":"{addr}","source":"Manual","failures":0,"last_success_epoch":null}}'


async def test_what_the_file_holds_is_known_after_loading(tmp_path: Path) -> None:
    keeping = Keeping(tmp_path)
    keeping.path.write_text(f"[{entry('a:1')}]")

    keeping.keeper.load()

    assert [record.addr for record in keeping.known.records] == ["a:1"]


async def test_loading_alone_is_no_reason_to_write(tmp_path: Path) -> None:
    keeping = Keeping(tmp_path)
    content = f"[{entry('a:1')}]"
    keeping.path.write_text(content)
    keeping.keeper.load()

    keeping.keeper.save()

    assert keeping.path.read_text() == content


async def test_nothing_is_written_before_its_time(keeping: Keeping) -> None:
    keeping.known.add("a:1", PeerSource.MANUAL)

    await keeping.clock.advance(59.0)

    assert not keeping.path.exists()


async def test_what_was_written_is_not_written_again_at_the_end(keeping: Keeping) -> None:
    keeping.known.add("a:1", PeerSource.MANUAL)
    keeping.keeper.save()
    keeping.path.unlink()

    keeping.keeper.save()

    assert not keeping.path.exists()


async def test_what_could_not_be_written_is_tried_again(keeping: Keeping) -> None:
    keeping.path.mkdir()
    keeping.known.add("a:1", PeerSource.MANUAL)
    keeping.keeper.save()
    keeping.path.rmdir()

    keeping.keeper.save()

    assert '"a:1"' in keeping.path.read_text()


async def test_a_file_that_cannot_be_read_is_the_starts_error(tmp_path: Path) -> None:
    keeping = Keeping(tmp_path)
    keeping.path.mkdir()

    with pytest.raises(StateDirError, match="cannot be read: Is a directory"):
        keeping.keeper.load()


async def test_the_good_entries_of_a_damaged_file_are_there_at_the_next_start(
    tmp_path: Path,
) -> None:
    first = Keeping(tmp_path)
    first.path.write_text(f"[{entry('a:1')}, 5]")
    first.keeper.load()
    first.keeper.save()
    next_start = Keeping(tmp_path)

    next_start.keeper.load()

    assert [record.addr for record in next_start.known.records] == ["a:1"]


class SlowFile(PeersFile):
    """The first writing takes until it is released."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, ttl_seconds=1000, max_entries=10)
        self.begun, self.released, self.ended = (threading.Event() for _ in range(3))

    def save(self, records: Iterable[PeerRecord]) -> None:
        """Write, the first time slowly."""
        if self.begun.is_set():
            super().save(records)
            return
        self.begun.set()
        self.released.wait()
        super().save(records)
        self.ended.set()


async def test_a_slow_writing_does_not_undo_the_one_at_the_end(tmp_path: Path) -> None:
    keeping = Keeping(tmp_path)
    file = SlowFile(keeping.path)
    keeper = KnownPeersKeeper(keeping.known, file, 60.0, keeping.dispatcher, keeping.clock)
    running = asyncio.ensure_future(keeper.run())
    keeping.known.add("early:1", PeerSource.MANUAL)
    await keeping.clock.advance(60.0)
    await asyncio.to_thread(file.begun.wait)
    keeping.known.add("late:1", PeerSource.MANUAL)

    running.cancel()
    threading.Timer(0.01, file.released.set).start()
    keeper.save()
    await asyncio.to_thread(file.ended.wait)

    assert '"late:1"' in keeping.path.read_text()
