"""What events cost the data path: nodes that tell of much, and nodes that tell nothing."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from thenodes_core import LoggingTable, Node
from thenodes_plugin_api import SystemEvent

from . import nodes
from .result import Far, Row

__all__ = ["listen", "measure"]

KINDS = {"none": 0, "told": 100}
"""Events a second at each of the two nodes, by the kind of a run."""

_SUBPROTOCOL = "thenodes.v1.bin"
_SIZE = 256
_TURNS_PER_SECOND = 20


def measure(messages: int, runs: int) -> list[Row]:
    """Messages a second without and with events; both kinds in turn, and turned round each run.

    With events each node has a hundred of them a second, which it writes to a JSON log on
    disk and gives to one who follows them.
    """
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(runs):
        for kind in list(KINDS) if number % 2 else reversed(KINDS):
            sys.stderr.write(f"\rrun {number + 1} of {runs}: events {kind}          ")
            with Far(kind, "events-far") as far, _log(kind) as logging:
                work = nodes.rate(
                    far, _SUBPROTOCOL, _SIZE, messages, logging=logging, beside=_Telling(kind)
                )
                found[kind].append(asyncio.run(work))
    sys.stderr.write("\n")
    return [
        {
            "events": kind,
            "a second": KINDS[kind],
            "messages/s": statistics.median(values),
            "best": max(values),
            "cost, %": 100 * (1 - statistics.median(_ratios(values, found["none"]))),
            "cost of the best, %": 100 * (1 - max(values) / max(found["none"])),
            "values": values,
        }
        for kind, values in found.items()
    ]


def _ratios(values: list[float], others: list[float]) -> list[float]:
    """Run by run, since the machine drifts from one to the next."""
    return [value / other for value, other in zip(values, others, strict=True)]


async def listen(kind: str) -> None:
    """Be the far process until the last message has come."""
    with _log(kind) as logging:
        await nodes.listen(_SUBPROTOCOL, logging=logging, beside=_Telling(kind))


class _log:
    """A JSON log in a temporary directory, where there are events."""

    def __init__(self, kind: str) -> None:
        self._directory = tempfile.TemporaryDirectory() if KINDS[kind] else None

    def __enter__(self) -> LoggingTable:
        if self._directory is None:
            return LoggingTable()
        return LoggingTable(json_path=str(Path(self._directory.name) / "events.jsonl"))

    def __exit__(self, *_: object) -> None:
        if self._directory is not None:
            self._directory.cleanup()


class _Telling:
    """Tells events at a steady rate, and follows them."""

    def __init__(self, kind: str) -> None:
        self._per_second = KINDS[kind]

    @asynccontextmanager
    async def __call__(self, node: Node) -> AsyncIterator[None]:
        if not self._per_second:
            yield
            return
        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(self._tell(node)), tasks.create_task(_follow(node))]
            yield
            for task in work:
                task.cancel()

    async def _tell(self, node: Node) -> None:
        number = 0
        while True:
            for _ in range(self._per_second // _TURNS_PER_SECOND):
                number += 1
                event = SystemEvent(
                    action="benchmark", detail=f"event {number} of many", at=node.clock.time()
                )
                node.events.emit(event)
            await asyncio.sleep(1 / _TURNS_PER_SECOND)


async def _follow(node: Node) -> None:
    async with aclosing(node.commands.answers("events --follow")) as answers:
        async for _ in answers:
            pass
