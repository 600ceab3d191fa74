"""A process that stores frames until it is killed, and says of each when it was told.

Usage: killed_writer.py PATH FIRST

Numbers go up from FIRST. It prints `S <number>` once a frame was told as stored, `D <number>`
for one that it gave again, and `R <number>` before it removes one.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

from thenodes_plugin_api import QoS
from thenodes_relay.store.base import Append, Appended, Stored
from thenodes_relay.store.sqlite import SqliteStore

_SENDERS = 8
_NOW = 1_800_000_000_000


def _frame(number: int) -> Stored:
    return Stored(
        to=f"target{number % 3}",
        sender=f"sender{number % _SENDERS}",
        message_id=number.to_bytes(16, "big"),
        qos=QoS.RELIABLE,
        sequence=number,
        created_at=_NOW,
        expires_at=_NOW + 1000,
        data=b"%d " % number * (1 + number % 200),
    )


def _say(letter: str, number: int | None) -> None:
    # One write each, so that nothing is told that was not.
    os.write(1, f"{letter} {number}\n".encode())


class _Writer:
    def __init__(self, store: SqliteStore, number: int) -> None:
        self._store = store
        self._number = number
        self._random = random.Random(number)
        self._answers = asyncio.Semaphore(0)

    async def burst(self) -> None:
        count = self._random.choice((1, 3, 64, 700))
        for number in range(self._number, self._number + count):
            self._store.append(_frame(number), self._told)
        if self._random.random() < 0.3:
            self._store.append(_frame(self._number), self._told)
            count += 1
        self._number += count
        for _ in range(count):
            await self._answers.acquire()

    def _told(self, appended: Appended) -> None:
        frame = appended.frame
        _say("S" if appended.status is Append.STORED else "D", frame.sequence)
        if appended.status is Append.STORED:
            self._store.mark_sent([frame.row])
            if self._random.random() < 0.2:
                _say("R", frame.sequence)
                self._store.remove([frame.row])
        self._answers.release()


async def _main(path: Path, first: int) -> None:
    async with await SqliteStore.open(path, on_problem=lambda problem: sys.exit(str(problem))) as s:
        writer = _Writer(s, first)
        while True:
            await writer.burst()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2])))
