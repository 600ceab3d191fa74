"""A process with a control socket that goes on answering: `python -m tests.answering DIRECTORY`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from thenodes_core.control.commands import Command, CommandTable, Reply
from thenodes_core.control.questions import CONTROL_SOCKET
from thenodes_core.control.socket import ControlSocket


async def once(words: Sequence[str]) -> Reply:
    return Reply("once", {"words": list(words)})


async def wait(words: Sequence[str]) -> Reply:
    await asyncio.Event().wait()
    return Reply("")


async def much(words: Sequence[str]) -> Reply:
    return Reply("x" * 1_000_000)


def count(words: Sequence[str]) -> AsyncGenerator[Reply, None] | None:
    return _count(words) if words else None


async def _count(words: Sequence[str]) -> AsyncGenerator[Reply, None]:
    """Count to a number, and then end, wait for ever, or die."""
    for number in range(1, int(words[0]) + 1):
        yield Reply(f"number {number}\x1b[2J", {"number": number})
        await asyncio.sleep(0)
    if words[-1] == "wait":
        await asyncio.Event().wait()
    if words[-1] == "die":
        os._exit(9)


async def main(directory: Path) -> None:
    table = CommandTable()
    for name in ("status", "peers", "plugins", "trust observed"):
        table.add(Command(name, "one answer", once))
    table.add(Command("wait", "no answer", wait))
    table.add(Command("much", "a long answer", much))
    table.add(Command("count", "counts", once, "[to] [wait|die]", follow=count))
    async with ControlSocket(directory / CONTROL_SOCKET, table):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
