"""What ends a node's process: which signal does what, and when."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from thenodes_cli import daemon
from thenodes_cli.ending import Ending
from thenodes_cli.exit import Exit
from thenodes_cli.service_manager import ServiceManager
from thenodes_core import Node
from thenodes_core.clock import settle


class Left(BaseException):
    """The process is gone."""


class Leaving(Exit):
    """Tells, and ends nothing."""

    def __init__(self) -> None:
        self.limits = 0

    def now(self, code: int = 0) -> None:  # type: ignore[override]
        raise Left

    def at_the_latest(self, seconds: float = 0) -> None:
        self.limits += 1


class Process:
    """A node's process, whose node drains for as long as the test lets it."""

    def __init__(self, *, is_running: bool = True, drain_seconds: float = 5.0) -> None:
        self.is_running = is_running
        self.stop_requested = self.is_draining = False
        self.drained = asyncio.Event()
        self.drains: list[float] = []
        self.stops = self.told = 0
        self.serving = asyncio.ensure_future(asyncio.Event().wait())
        self.exit = Leaving()
        self.ending = Ending(
            cast("Node", self),
            cast("asyncio.Task[None]", self.serving),
            self.exit,
            drain_seconds=drain_seconds,
            on_stop=self.tell,
        )

    def tell(self) -> None:
        self.told += 1

    async def drain(self, *, seconds: float) -> bool:
        self.drains.append(seconds)
        await self.drained.wait()
        return True

    def stop(self) -> None:
        self.stops += 1
        self.stop_requested, self.is_running = True, False


async def test_sigterm_drains_and_then_stops() -> None:
    process = Process()

    process.ending.terminate()
    await settle()
    assert (process.drains, process.stops, process.told) == ([5.0], 0, 1)

    process.drained.set()
    await settle()
    assert (process.stops, process.exit.limits) == (1, 1)
    process.serving.cancel()


async def test_a_node_that_somebody_stopped_amid_its_drain_is_stopped_once() -> None:
    process = Process()
    process.ending.terminate()
    await settle()

    process.stop()
    process.drained.set()
    await settle()

    assert process.stops == 1
    assert not process.serving.cancelled()
    process.serving.cancel()


@pytest.mark.parametrize("drain_seconds", [0.0, 5.0])
async def test_sigint_stops_without_a_drain_and_so_does_sigterm_where_none_is_wanted(
    drain_seconds: float,
) -> None:
    process = Process(drain_seconds=drain_seconds)

    (process.ending.interrupt if drain_seconds else process.ending.terminate)()
    await settle()

    assert (process.drains, process.stops) == ([], 1)
    process.serving.cancel()


@pytest.mark.parametrize("drains", [True, False])
async def test_a_second_signal_of_either_kind_ends_the_process(drains: bool) -> None:
    process = Process()
    (process.ending.terminate if drains else process.ending.interrupt)()

    for again in (process.ending.terminate, process.ending.interrupt):
        with pytest.raises(Left):
            again()
    process.drained.set()
    await settle()
    process.serving.cancel()


async def test_a_node_that_has_yet_to_start_is_given_up() -> None:
    process = Process(is_running=False)

    process.ending.terminate()
    await settle()

    assert process.serving.cancelled()
    assert (process.drains, process.exit.limits) == ([], 1)


async def test_a_service_manager_is_told_nothing_more_while_a_node_drains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []

    class Manager(ServiceManager):
        is_there = True

        def status(self, status: str) -> None:
            told.append(status)

    monkeypatch.setattr(daemon, "_STATUS_SECONDS", 0)
    monkeypatch.setattr(daemon, "_status", lambda _: "fine")
    process = Process()
    keeping = asyncio.ensure_future(daemon._keep_told(cast("Node", process), Manager()))
    await settle()
    assert told

    process.is_draining = True
    await settle()
    before = len(told)
    await settle()

    assert len(told) == before
    for task in (keeping, process.serving):
        task.cancel()
