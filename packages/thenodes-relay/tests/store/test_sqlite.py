"""The SQLite store: its file, restarts, full disks and damage."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from thenodes_plugin_api import QoS
from thenodes_relay.store.base import Append, FlowCount, Gone, StoreProblem
from thenodes_relay.store.errors import StoreError, StoreInUse, StoreTooNew
from thenodes_relay.store.sqlite import DURABILITY, SqliteStore

from .records import NOW, append, frame, mailbox, message_id, payloads, statuses

Open = Callable[..., contextlib.AbstractAsyncContextManager[SqliteStore]]

_SECONDS = 1_800_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relay" / "frames.sqlite3"


@pytest.fixture
def problems() -> list[StoreProblem]:
    return []


@pytest.fixture
def open_store(path: Path, problems: list[StoreProblem]) -> Open:
    @asynccontextmanager
    async def opened(
        *, synchronous: str = "full", max_bytes: int | None = None
    ) -> AsyncIterator[SqliteStore]:
        store = await SqliteStore.open(
            path,
            on_problem=problems.append,
            synchronous=synchronous,
            clock=lambda: float(_SECONDS),
            max_bytes=max_bytes,
        )
        async with store:
            yield store

    return opened


async def test_what_is_removed_as_its_expiry_is_answered_is_not_told_as_expired(
    open_store: Open,
) -> None:
    async with open_store() as store:
        (appended,) = await append(store, [frame(1, expires_at=NOW)])
        settle = store._settle

        def remove_then(
            future: asyncio.Future[Sequence[Gone]], outcome: Sequence[Gone] | StoreError
        ) -> None:
            settle(future, outcome)
            store.remove([appended.frame.row])

        store._settle = remove_then  # type: ignore[method-assign]

        assert await store.expire(NOW) == []


async def test_what_was_stored_is_there_after_a_restart(open_store: Open) -> None:
    async with open_store() as store:
        store.put_mailbox(mailbox())
        store.add_notice("bob", b"notice")
        appended = await append(store, [frame(number, sequence=number) for number in range(4)])
        store.remove([appended[1].frame.row])
        store.mark_sent([appended[2].frame.row])

    async with open_store() as store:
        taken = await store.take("bob", 0, 10)
        again = await append(store, [frame(3), frame(4)])
        later = await store.take("bob", taken[-1].row, 10)

        assert payloads(taken) == [b"frame 0", b"frame 2", b"frame 3"]
        assert [one.is_sent for one in taken] == [False, True, False]
        assert [one.sequence for one in taken] == [0, 2, 3]
        assert statuses(again) == [Append.DUPLICATE, Append.STORED]
        assert payloads(later) == [b"frame 4"]
        assert list(await store.mailboxes()) == [mailbox()]
        assert [notice.data for notice in await store.notices("bob")] == [b"notice"]


async def test_counts_at_start_are_by_target_sender_qos_and_stranger(open_store: Open) -> None:
    async with open_store() as store:
        await append(store, [frame(number) for number in range(3)])
        await append(store, [frame(9, qos=QoS.BULK, stranger=True, data=b"12345")])
        await append(store, [frame(10, to="eve", sender="carol", data=b"")])
        gone = await append(store, [frame(11, to="gone")])
        store.remove([gone[0].frame.row])

    async with open_store() as store:
        counts = await store.counts()

    assert {(one.to, one.sender, one.qos, one.stranger): one for one in counts} == {
        (one.to, one.sender, one.qos, one.stranger): one
        for one in (
            FlowCount("bob", "alice", QoS.RELIABLE, False, 3, 3 * len(b"frame 0")),
            FlowCount("bob", "alice", QoS.BULK, True, 1, 5),
            FlowCount("eve", "carol", QoS.RELIABLE, False, 1, 0),
        )
    }


async def test_nodes_without_frames_are_forgotten_at_the_next_start(
    open_store: Open, path: Path
) -> None:
    async with open_store() as store:
        appended = await append(store, [frame(1, to="gone"), frame(2)])
        store.remove([appended[0].frame.row])
    async with open_store():
        pass

    with contextlib.closing(sqlite3.connect(path)) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM nodes")}
    assert names == {"alice", "bob"}


async def test_the_file_and_its_log_are_for_the_owner_alone(open_store: Open, path: Path) -> None:
    async with open_store() as store:
        await append(store, [frame(1)])
        files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert set(files) >= {path.name, f"{path.name}-wal"}
        assert set(files.values()) == {0o600}
        assert store.size_bytes == sum(
            path.with_name(name).stat().st_size for name in (path.name, f"{path.name}-wal")
        )


async def test_a_file_that_others_may_read_is_closed_to_them(open_store: Open, path: Path) -> None:
    path.parent.mkdir()
    path.touch(0o644)
    path.chmod(0o644)

    async with open_store():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_no_thread_outlives_the_store(open_store: Open) -> None:
    before = set(threading.enumerate())

    async with open_store() as store:
        await append(store, [frame(1)])
        await store.take("bob", 0, 1)
        during = set(threading.enumerate()) - before

    assert len(during) == 2
    assert not any(thread.daemon for thread in during)
    assert set(threading.enumerate()) - before == set()


async def test_a_closed_store_refuses_and_finds_nothing(open_store: Open) -> None:
    async with open_store() as store:
        await append(store, [frame(1)])

    (appended,) = await append(store, [frame(2)])

    assert (appended.status, appended.detail) == (Append.FULL, "the store is closed")
    assert list(await store.take("bob", 0, 1)) == []
    assert list(await store.expire(NOW * 2)) == []


async def test_what_waits_to_be_written_is_bounded(open_store: Open) -> None:
    big = b"x" * (1 << 20)
    async with open_store() as store:
        appended = await append(store, [frame(number, data=big) for number in range(70)])

    assert statuses(appended) == [Append.STORED] * 64 + [Append.FULL] * 6
    assert appended[-1].detail == "the disk is too slow"


@pytest.mark.parametrize("synchronous", ["full", "normal", "off"])
async def test_each_way_to_write_says_what_it_can_lose(open_store: Open, synchronous: str) -> None:
    async with open_store(synchronous=synchronous) as store:
        appended = await append(store, [frame(1)])

        assert statuses(appended) == [Append.STORED]
        assert store.durability == DURABILITY[synchronous]
        assert store.durability.startswith(f"{synchronous}: ")


async def test_another_way_to_write_is_refused(open_store: Open, path: Path) -> None:
    with pytest.raises(ValueError, match="synchronous 'extra': expected full, normal, off"):
        async with open_store(synchronous="extra"):
            pass

    assert not path.exists()


async def test_two_relays_cannot_have_one_store(open_store: Open, path: Path) -> None:
    async with open_store():
        with pytest.raises(StoreInUse, match=r"frames\.sqlite3 is in use by another relay"):
            async with open_store():
                pass

    async with open_store() as store:
        assert statuses(await append(store, [frame(1)])) == [Append.STORED]


async def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreError, match=r"set network\.relay\.store_path"):
        await SqliteStore.open(tmp_path / "file" / "frames.sqlite3", on_problem=print)


async def test_a_store_of_a_newer_version_is_refused_and_not_touched(
    open_store: Open, path: Path
) -> None:
    async with open_store() as store:
        await append(store, [frame(1)])
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    before = path.read_bytes()

    with pytest.raises(StoreTooNew, match=r"tables of version 2, and this .* knows version 1"):
        async with open_store():
            pass

    assert path.read_bytes() == before
    assert {file.name for file in path.parent.iterdir()} == {path.name, f"{path.name}.lock"}


async def test_a_newer_version_is_seen_in_the_log_too(open_store: Open, path: Path) -> None:
    async with open_store():
        pass
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA user_version = 2")
    saved = {name: path.with_name(name).read_bytes() for name in (path.name, f"{path.name}-wal")}
    connection.close()
    for name, content in saved.items():
        path.with_name(name).write_bytes(content)

    with pytest.raises(StoreTooNew):
        async with open_store():
            pass


async def test_a_database_of_another_program_is_refused_and_not_touched(
    open_store: Open, path: Path
) -> None:
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE accounts (id)")
    before = path.read_bytes()

    with pytest.raises(StoreError, match="a database of another program"):
        async with open_store():
            pass

    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"\x00" * 100_000, b"SQLite format 3\x00" + b"\x07" * 9000])
async def test_a_damaged_file_is_set_aside_and_told(
    open_store: Open, path: Path, problems: list[StoreProblem], content: bytes
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)

    async with open_store() as store:
        appended = await append(store, [frame(1)])
        taken = await store.take("bob", 0, 10)

    aside = path.with_name(f"{path.name}.damaged-{_SECONDS}")
    assert statuses(appended) == [Append.STORED]
    assert payloads(taken) == [b"frame 1"]
    assert aside.read_bytes() == content
    assert [(problem.is_lost, aside.name in problem.text) for problem in problems] == [(True, True)]


async def test_a_second_damaged_file_does_not_overwrite_the_first(
    open_store: Open, path: Path
) -> None:
    path.parent.mkdir()
    for number in range(2):
        path.write_bytes(bytes([number]) * 9000)
        async with open_store():
            pass
        path.unlink()

    asides = sorted(path.parent.glob("*.damaged-*"))
    assert [aside.read_bytes()[0] for aside in asides] == [0, 1]


async def test_damage_that_is_found_while_it_runs_is_set_aside_and_told(
    open_store: Open, path: Path, problems: list[StoreProblem]
) -> None:
    async with open_store() as store:
        await append(store, [frame(number, data=b"x" * 3000) for number in range(2000)])
    _ruin(path)

    async with open_store() as store:
        (first,) = await store.take("bob", 0, 1)
        store.remove(range(1, 2001))
        appended = await append(store, [frame(number) for number in range(3000, 3100)])
        taken = await store.take("bob", 0, 1000)

        assert first.row == 1
        assert statuses(appended) == [Append.STORED] * 100
        assert len(taken) == 100
        assert min(one.row for one in taken) > 2000

    assert [problem.is_lost for problem in problems] == [True]
    assert path.with_name(f"{path.name}.damaged-{_SECONDS}").exists()


async def test_damage_that_a_read_finds_is_set_aside_and_told_once(
    open_store: Open, path: Path, problems: list[StoreProblem]
) -> None:
    async with open_store() as store:
        await append(store, [frame(number, data=b"x" * 3000) for number in range(2000)])
    _ruin(path)

    async with open_store() as store:
        found: list[bytes] = []
        while taken := await store.take("bob", len(found), 200):
            found += payloads(taken)
        appended = await append(store, [frame(9000)])

        assert statuses(appended) == [Append.STORED]
        assert payloads(await store.take("bob", 0, 10)) == [b"frame 9000"]

    assert len(found) < 2000
    assert [problem.is_lost for problem in problems] == [True]


async def test_damage_that_is_found_while_it_closes_is_told_and_so_is_what_was_appended(
    open_store: Open, path: Path, problems: list[StoreProblem]
) -> None:
    async with open_store() as store:
        await append(store, [frame(number, data=b"x" * 3000) for number in range(2000)])
    _ruin(path)
    told: list[Append] = []

    async with open_store() as store:
        store.remove(range(1, 2001))
        store.append(frame(9000), lambda appended: told.append(appended.status))

    assert told == [Append.STORED]
    assert [problem.is_lost for problem in problems] == [True]


async def test_a_full_disk_refuses_new_frames_and_goes_on(
    open_store: Open, problems: list[StoreProblem]
) -> None:
    big = b"x" * 4000
    async with open_store(max_bytes=1 << 20) as store:
        appended = await append(store, [frame(number, data=big) for number in range(400)])
        stored = [one.frame for one in appended if one.status is Append.STORED]
        refused = [one for one in appended if one.status is Append.FULL]
        taken = await store.take("bob", 0, 1000)

        assert len(stored) + len(refused) == 400
        assert min(len(stored), len(refused)) > 50
        assert [one.frame for one in appended[: len(stored)]] == stored
        assert {one.detail for one in refused} == {"database or disk is full"}
        assert taken == stored

        store.remove([one.row for one in stored[:150]])
        again = [await append(store, [one.frame]) for one in refused[:3]]

        assert [statuses(one) for one in again] == [[Append.STORED]] * 3
        assert len(await store.take("bob", 0, 1000)) == len(stored) - 150 + 3

    assert [(problem.is_lost, problem.is_over) for problem in problems] == [
        (False, False),
        (False, True),
    ]
    assert "disk is full" in problems[0].text
    assert "stored again" in problems[1].text


async def test_mailboxes_that_a_full_disk_does_not_take_are_put_later(open_store: Open) -> None:
    big = b"x" * 4000
    async with open_store(max_bytes=1 << 20) as store:
        appended = await append(store, [frame(number, data=big) for number in range(400)])
        for number in range(2000):
            store.put_mailbox(mailbox(f"node{number}"))
        refused = await append(store, [frame(1000)])
        store.remove([one.frame.row for one in appended if one.status is Append.STORED])
        stored = await append(store, [frame(1001)])

        assert statuses([*refused, *stored]) == [Append.FULL, Append.STORED]
        assert len(await store.mailboxes()) == 2000


async def test_a_frame_that_no_database_takes_harms_those_before_it_not(
    open_store: Open, problems: list[StoreProblem]
) -> None:
    async with open_store() as store:
        frames = [frame(number) for number in range(64)]
        appended = await append(store, [*frames, frame(99, sequence=1 << 70)])

    assert statuses(appended) == [Append.STORED] * 64 + [Append.FULL]
    assert problems == []


async def test_a_writer_that_ends_by_itself_is_told_and_nothing_waits_for_ever(
    open_store: Open, problems: list[StoreProblem], caplog: pytest.LogCaptureFixture
) -> None:
    async with open_store() as store:
        nonsense = frame(1)
        nonsense.data = None  # type: ignore[assignment]
        store._work.frames.append((nonsense, problems.append))  # type: ignore[arg-type]
        (appended,) = await append(store, [frame(2)])

        assert appended.status is Append.FULL
        assert list(await store.take("bob", 0, 10)) == []

    assert "the thread that writes ended" in caplog.text
    assert "nothing is stored until the relay restarts" in problems[0].text


async def test_names_of_nodes_are_let_go_when_there_are_many(open_store: Open, path: Path) -> None:
    async with open_store() as store:
        frames = [frame(number, sender=f"s{number}") for number in range(70_000)]
        for start in range(0, len(frames), 10_000):
            await append(store, frames[start : start + 10_000])
        while await store.expire(NOW * 2, limit=10_000):
            pass
        appended = await append(store, [frame(1), frame(70_001, sender="s2")])

        assert statuses(appended) == [Append.STORED] * 2
        assert [one.sender for one in await store.take("bob", 0, 10)] == ["alice", "s2"]

    with contextlib.closing(sqlite3.connect(path)) as connection:
        ((names,),) = connection.execute("SELECT count(*) FROM nodes")
    assert names < 70_000


async def test_a_take_while_frames_are_removed_gives_none_of_those(open_store: Open) -> None:
    async with open_store() as store:
        appended = await append(store, [frame(number) for number in range(1000)])
        rows = [one.frame.row for one in appended]

        taking = store.take("bob", 0, 1000)
        store.remove(rows[:500])
        taken = await taking

    assert [one.row for one in taken] == rows[500:]


async def test_ids_are_the_ones_that_were_given(open_store: Open) -> None:
    ids = [message_id(1), b"\x00" * 16, b"\xff" * 32, b"x"]
    frames = [frame(number) for number in range(4)]
    for one, wanted in zip(frames, ids, strict=True):
        one.message_id = wanted

    async with open_store() as store:
        await append(store, frames)
        taken = await store.take("bob", 0, 10)

    assert [one.message_id for one in taken] == ids


def _ruin(path: Path) -> None:
    """Spoil the pages of frames, which are full of `x`, in the third quarter of a database."""
    content = bytearray(path.read_bytes())
    pages = len(content) // 4096
    for start in range(pages // 2 * 4096, pages * 3 // 4 * 4096, 4096):
        if content[start + 2000 : start + 2100] == b"x" * 100:
            content[start : start + 4096] = b"\xa5" * 4096
    path.write_bytes(content)
