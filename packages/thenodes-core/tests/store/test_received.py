"""The ids of reliable messages that plugins had: kept for the next process."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from thenodes_core.clock import ManualClock
from thenodes_core.errors import StateDirError
from thenodes_core.store.received import RECEIVED_FILE, Claim, ReceivedIds

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
ONE, TWO, THREE = (bytes((number,)) * 16 for number in (1, 2, 3))

Open = Callable[..., ReceivedIds]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_800_000_000.0)


@pytest.fixture
def problems() -> list[str]:
    return []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / RECEIVED_FILE


@pytest.fixture
def expires_at(clock: ManualClock) -> int:
    return now_ms(clock) + DAY_MS


@pytest.fixture
def received(path: Path, clock: ManualClock, problems: list[str]) -> Open:
    def make(most_ids: int = 1_000_000) -> ReceivedIds:
        return ReceivedIds(path, lambda: now_ms(clock), problems.append, most_ids=most_ids)

    return make


def now_ms(clock: ManualClock) -> int:
    return int(clock.time() * 1000)


class Kept:
    """Keeps ids, and waits until it is told what became of them."""

    def __init__(self, ids: ReceivedIds) -> None:
        self.ids = ids
        self.told: list[bool] = []

    async def keep(self, *names: tuple[str, bytes], expires_at: int) -> list[bool]:
        ended = asyncio.get_running_loop().create_future()
        count = len(self.told) + len(names)

        def done(is_on_disk: bool) -> None:
            self.told.append(is_on_disk)
            if len(self.told) == count:
                ended.set_result(None)

        for sender, name in names:
            self.ids.keep(sender, name, expires_at, done)
        await ended
        return self.told[-len(names) :]


def test_an_id_is_new_once(received: Open, expires_at: int) -> None:
    with received() as ids:
        assert ids.claim("alice", ONE, expires_at) is Claim.NEW
        assert ids.claim("alice", ONE, expires_at) is Claim.KNOWN
        assert ids.claim("alice", TWO, expires_at) is Claim.NEW
        assert ids.claim("bob", ONE, expires_at) is Claim.NEW


def test_a_released_id_is_new_again(received: Open, expires_at: int) -> None:
    with received() as ids:
        ids.claim("alice", ONE, expires_at)

        ids.release("alice", ONE, expires_at)
        ids.release("alice", ONE, expires_at)

        assert (len(ids), ids.claim("alice", ONE, expires_at)) == (0, Claim.NEW)


def test_nothing_of_a_released_id_is_left(received: Open, expires_at: int) -> None:
    with received() as ids:
        # Warm, so that only what is left behind is measured.
        ids.claim("warm", ONE, expires_at)
        ids.release("warm", ONE, expires_at)
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for number in range(2000):
            ids.claim(f"stranger-{number}", ONE, expires_at + number * HOUR_MS)
            ids.release(f"stranger-{number}", ONE, expires_at + number * HOUR_MS)
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert after - before < 20_000


async def test_a_kept_id_is_known_to_the_next_process(received: Open, expires_at: int) -> None:
    with received() as ids:
        for name in (ONE, TWO, THREE):
            ids.claim("alice", name, expires_at)
        assert await Kept(ids).keep(("alice", ONE), ("alice", TWO), expires_at=expires_at) == [
            True,
            True,
        ]

    with received() as ids:
        assert ids.claim("alice", ONE, expires_at) is Claim.KNOWN
        assert ids.claim("alice", TWO, expires_at) is Claim.KNOWN
        # It was only claimed: its message was not acknowledged, and comes again.
        assert ids.claim("alice", THREE, expires_at) is Claim.NEW


async def test_whoever_is_told_that_an_id_is_on_disk_may_be_killed(
    received: Open, path: Path, expires_at: int
) -> None:
    ids = received()
    ids.__enter__()
    ids.claim("alice", ONE, expires_at)
    await Kept(ids).keep(("alice", ONE), expires_at=expires_at)

    # Not closed, as after kill -9: another process reads what is on disk.
    with received() as others:
        assert others.claim("alice", ONE, expires_at) is Claim.KNOWN
    ids.__exit__(None, None, None)


async def test_what_waits_when_it_is_closed_is_written(received: Open, expires_at: int) -> None:
    with received() as ids:
        ids.claim("alice", ONE, expires_at)
        ids.keep("alice", ONE, expires_at, lambda done: None)

    with received() as ids:
        assert ids.claim("alice", ONE, expires_at) is Claim.KNOWN


async def test_many_ids_are_kept_in_order_however_many_wait(
    received: Open, expires_at: int
) -> None:
    names = [("alice", number.to_bytes(16, "big")) for number in range(2000)]
    with received() as ids:
        for sender, name in names:
            ids.claim(sender, name, expires_at)
        assert all(await Kept(ids).keep(*names, expires_at=expires_at))

    with received() as ids:
        assert len(ids) == 2000


def test_no_more_than_a_quarter_are_of_one_sender(received: Open, expires_at: int) -> None:
    with received(most_ids=8) as ids:
        claims = [ids.claim("alice", bytes((n,)) * 16, expires_at) for n in range(3)]

        assert claims == [Claim.NEW, Claim.NEW, Claim.FULL]
        assert ids.claim("bob", ONE, expires_at) is Claim.NEW


def test_no_more_are_remembered_than_that(received: Open, expires_at: int) -> None:
    with received(most_ids=8) as ids:
        for sender in "abcd":
            for name in (ONE, TWO):
                assert ids.claim(sender, name, expires_at) is Claim.NEW

        assert ids.claim("e", ONE, expires_at) is Claim.FULL
        assert ids.claim("a", ONE, expires_at) is Claim.KNOWN
        ids.release("a", ONE, expires_at)
        assert ids.claim("e", ONE, expires_at) is Claim.NEW


async def test_ids_are_forgotten_an_hour_after_their_messages_expired(
    received: Open, clock: ManualClock
) -> None:
    expires_at = now_ms(clock)
    with received(most_ids=4) as ids:
        ids.claim("alice", ONE, expires_at)
        await clock.advance(3600)
        assert ids.claim("alice", TWO, expires_at) is Claim.FULL
        await clock.advance(600)

        assert ids.claim("alice", TWO, now_ms(clock)) is Claim.NEW
        assert len(ids) == 1


async def test_an_id_is_known_after_the_clock_was_set_back_an_hour(
    received: Open, clock: ManualClock
) -> None:
    expires_at = now_ms(clock)
    with received() as ids:
        ids.claim("alice", ONE, expires_at)
        await clock.advance(3599)
        ids.claim("alice", TWO, now_ms(clock))

        assert ids.claim("alice", ONE, expires_at) is Claim.KNOWN


async def test_expired_ids_are_taken_off_the_disk(
    received: Open, clock: ManualClock, path: Path
) -> None:
    with received() as ids:
        ids.claim("alice", ONE, now_ms(clock))
        await Kept(ids).keep(("alice", ONE), expires_at=now_ms(clock))
        await clock.advance(7200)
        ids.claim("alice", TWO, now_ms(clock))
        await Kept(ids).keep(("alice", TWO), expires_at=now_ms(clock))

    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT id FROM received").fetchall()
    database.close()
    assert rows == [(TWO,)]


def test_nothing_is_written_where_nothing_is_kept(
    received: Open, path: Path, expires_at: int
) -> None:
    with received() as ids:
        ids.claim("alice", ONE, expires_at)

    assert not path.exists()


async def test_only_its_owner_may_read_the_file(
    received: Open, path: Path, expires_at: int
) -> None:
    with received() as ids:
        ids.claim("alice", ONE, expires_at)
        await Kept(ids).keep(("alice", ONE), expires_at=expires_at)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_damaged_file_is_set_aside_and_told(
    received: Open, path: Path, problems: list[str], expires_at: int
) -> None:
    path.write_bytes(b"not a database" * 500)

    with received() as ids:
        assert ids.claim("alice", ONE, expires_at) is Claim.NEW

    (problem,) = problems
    assert "damaged" in problem
    assert f"{path}.damaged-1" in problem
    assert Path(f"{path}.damaged-1").read_bytes().startswith(b"not a database")


async def test_after_a_damaged_file_ids_are_kept_in_a_new_one(
    received: Open, path: Path, expires_at: int
) -> None:
    path.write_bytes(b"not a database" * 500)
    with received() as ids:
        ids.claim("alice", ONE, expires_at)
        assert await Kept(ids).keep(("alice", ONE), expires_at=expires_at) == [True]

    with received() as ids:
        assert ids.claim("alice", ONE, expires_at) is Claim.KNOWN


async def test_a_failure_to_write_is_told_once_and_nobody_is_told_that_it_is_on_disk(
    received: Open, path: Path, problems: list[str], expires_at: int
) -> None:
    path.mkdir()
    ids = received()
    kept = Kept(ids)
    for name in (ONE, TWO):
        ids.claim("alice", name, expires_at)
        assert await kept.keep(("alice", name), expires_at=expires_at) == [False]
    (problem,) = problems
    assert "cannot be written" in problem

    path.rmdir()
    assert await kept.keep(("alice", ONE), expires_at=expires_at) == [True]
    ids.__exit__(None, None, None)
    with received() as again:
        assert again.claim("alice", ONE, expires_at) is Claim.KNOWN
        assert again.claim("alice", TWO, expires_at) is Claim.NEW


async def test_a_full_disk_keeps_what_was_written(
    received: Open, path: Path, problems: list[str], expires_at: int
) -> None:
    names = [("alice", number.to_bytes(16, "big")) for number in range(2000)]
    with received() as ids:
        kept = Kept(ids)
        for sender, name in names:
            ids.claim(sender, name, expires_at)
        assert await kept.keep(names[0], expires_at=expires_at) == [True]
        assert ids._database is not None
        ids._database.execute("PRAGMA max_page_count = 3")
        assert not all(await kept.keep(*names[1:], expires_at=expires_at))
        assert "full" in problems[0]

    with received() as ids:
        assert ids.claim(*names[0], expires_at) is Claim.KNOWN


def test_a_place_where_nothing_can_be_read_is_an_error_of_the_state_directory(
    received: Open, path: Path
) -> None:
    path.mkdir()

    with pytest.raises(StateDirError, match=r"cannot be read.*move it away"), received():
        pass
