"""kill -9 of a process that stores: what was told as stored is there, and there once."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from thenodes_relay.store.base import Append, Stored, StoreProblem
from thenodes_relay.store.sqlite import SqliteStore

from .records import append, statuses

_WRITER = Path(__file__).with_name("killed_writer.py")
_MILLION = 1_000_000
_FILLED_BY = 4  # Writers that add to one store before it is emptied.


async def test_a_kill_loses_nothing_that_was_told_as_stored(tmp_path: Path) -> None:
    await _kill_again_and_again(tmp_path / "frames.sqlite3", 3, random.Random(1), most=2000)


async def test_a_kill_at_the_first_frame_of_a_store_does_not_lose_it(
    tmp_path: Path,
) -> None:
    await _kill_again_and_again(tmp_path / "frames.sqlite3", 2, random.Random(2), most=1)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(5))
async def test_many_kills_lose_nothing_that_was_told_as_stored(tmp_path: Path, seed: int) -> None:
    await _kill_again_and_again(tmp_path / "frames.sqlite3", 40, random.Random(seed), most=5000)


async def _kill_again_and_again(path: Path, kills: int, rng: random.Random, *, most: int) -> None:
    told: set[int] = set()
    leaving: set[int] = set()
    for kill in range(kills):
        lines = await _run_until_killed(path, kill * _MILLION, rng.randrange(most))
        told |= {number for letter, number in lines if letter == "S"}
        leaving |= {number for letter, number in lines if letter == "R"}
        assert told
        await _check(path, told, leaving)
        if kill % _FILLED_BY == _FILLED_BY - 1:
            await _empty(path)
            told.clear()


async def _run_until_killed(path: Path, first: int, lines: int) -> Sequence[tuple[str, int]]:
    """Run the writer, kill it once it has said so much, and return all that it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(_WRITER), str(path), str(first), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    said = [await process.stdout.readline() for _ in range(lines + 1)]
    process.kill()
    said += (await process.stdout.read()).splitlines()
    await process.wait()
    whole = [line.split() for line in said if line.strip()]
    return [(letter.decode(), int(number)) for letter, number in whole]


async def _check(path: Path, told: set[int], leaving: set[int]) -> None:
    problems: list[StoreProblem] = []
    async with await SqliteStore.open(path, on_problem=problems.append) as store:
        frames = [one for target in range(3) for one in await _all(store, f"target{target}")]
        counted = sum(one.frames for one in await store.counts())
        present = [one for one in frames if one.sequence in told - leaving]
        again = await append(store, present[:100])

    numbers = [int.from_bytes(one.message_id, "big") for one in frames]
    assert problems == []
    assert told - leaving <= set(numbers)
    assert len(numbers) == len(set(numbers)) == counted
    assert statuses(again) == [Append.DUPLICATE] * len(again)
    assert [one.sequence for one in frames] == numbers
    assert all(
        one.data == b"%d " % number * (1 + number % 200)
        for one, number in zip(frames, numbers, strict=True)
    )
    for target in range(3):
        rows = [one.row for one in frames if one.to == f"target{target}"]
        once = [number for number in numbers if number % 3 == target and number not in leaving]
        assert rows == sorted(rows)
        assert once == sorted(once)


async def _empty(path: Path) -> None:
    async with await SqliteStore.open(path, on_problem=print) as store:
        for target in range(3):
            store.remove([one.row for one in await _all(store, f"target{target}")])
    async with await SqliteStore.open(path, on_problem=print) as store:
        assert list(await store.counts()) == []


async def _all(store: SqliteStore, to: str) -> Sequence[Stored]:
    frames: list[Stored] = []
    while taken := await store.take(to, frames[-1].row if frames else 0, 512):
        frames += taken
    return frames
