"""Known addresses on disk: written where something changed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from thenodes_core.clock import ManualClock
from thenodes_core.events.counters import Counters
from thenodes_core.events.dispatcher import Dispatcher
from thenodes_core.peers.persistence import KnownPeersKeeper
from thenodes_core.peers.store import KnownPeers
from thenodes_core.store.peers_file import PeersFile
from thenodes_plugin_api import Event, PeerSource, SystemEvent


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
