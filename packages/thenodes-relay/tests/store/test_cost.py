"""What a commit costs: the pages that it writes, however much is stored.

Pages and not times, since those depend on the machine and on what else it does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from thenodes_relay.store.base import Stored
from thenodes_relay.store.database import BATCH_FRAMES, Batch, Database
from thenodes_relay.store.reader import Reader

from .records import frame

_LOG_PAGE = 4096 + 24
_SENDERS, _TARGETS = 64, 1000


def _frames(first: int, count: int) -> Sequence[Stored]:
    return [
        frame(
            number,
            to=f"target{number * 7919 % _TARGETS}",
            sender=f"sender{number % _SENDERS}",
            data=b"x" * 400,
        )
        for number in range(first, first + count)
    ]


def _fill(database: Database, upto: int) -> None:
    while (row := database.next_row) <= upto:
        database.write(Batch(frames=_frames(row, min(BATCH_FRAMES, upto - row + 1))))


@contextmanager
def _opened(path: Path, stored: int) -> Iterator[tuple[Database, Callable[[Batch], int]]]:
    """A database with so many frames, and how many pages a batch writes to its log."""
    database = Database(path, "off")
    log = path.with_name(f"{path.name}-wal")

    def pages(batch: Batch) -> int:
        database._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        database.write(batch)
        return log.stat().st_size // _LOG_PAGE

    with closing(database):
        _fill(database, stored)
        yield database, pages


def _costs(path: Path, stored: int) -> dict[str, float]:
    costs: dict[str, float] = {}
    with _opened(path, stored) as (database, pages):
        for count, times in ((BATCH_FRAMES, 8), (64, 20), (1, 50)):
            written = [pages(Batch(frames=_frames(database.next_row, count))) for _ in range(times)]
            costs[f"append {count}"] = sum(written) / times
        last = database.next_row
        rows = [list(range(row, row + 64)) for row in range(last - 64 * 20, last, 64)]
        costs["remove 64"] = sum(pages(Batch(removes=piece)) for piece in rows) / len(rows)
        put = ("INSERT INTO notices (node, data) VALUES (?, ?)", ("bob", b"x"))
        costs["notice"] = pages(Batch(changes=[put]))
    return costs


@pytest.mark.parametrize(
    "many", [50_000, pytest.param(1_000_000, marks=[pytest.mark.soak, pytest.mark.timeout(600)])]
)
def test_a_commit_writes_as_many_pages_when_much_is_stored(tmp_path: Path, many: int) -> None:
    few = _costs(tmp_path / "few.sqlite3", 2000)
    much = _costs(tmp_path / "much.sqlite3", many)

    for name, cost in few.items():
        # A tree that is a level deeper writes a page more, whatever is in the batch.
        assert much[name] <= 1.2 * cost + 3, (name, few, much)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_million_frames_are_counted_at_start_in_time(tmp_path: Path) -> None:
    path = tmp_path / "frames.sqlite3"
    with _opened(path, 1_000_000):
        pass

    start = time.perf_counter()
    database = Database(path, "full")
    spent = time.perf_counter() - start

    with closing(database):
        assert sum(count.frames for count in database.counts) == 1_000_000
    assert spent < 1.5


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_hundred_thousand_frames_are_read_in_time(tmp_path: Path) -> None:
    path = tmp_path / "frames.sqlite3"
    with _opened(path, 100_000), closing(Reader(path)) as reader:
        start = time.perf_counter()
        read = [len(reader.frames(range(row, row + 512))) for row in range(1, 100_001, 512)]
        spent = time.perf_counter() - start

    assert sum(read) == 100_000
    assert spent < 1.5
