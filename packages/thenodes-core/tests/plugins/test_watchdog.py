"""A thread that notices who holds the event loop."""

from __future__ import annotations

import asyncio
import threading
from types import FrameType
from typing import Any

import pytest

from thenodes_core.plugins.watchdog import Culprit, Stall, Watchdog, plugin_frame

IDLE_SECONDS = 0.005
STEP_SECONDS = 0.01
AT_MOST_SECONDS = 10.0


class Suspects:
    """Accuses one plugin, or each time the next call of its hook."""

    def __init__(self, culprit: Culprit | None, *, moves_on: bool = False) -> None:
        self.culprit = culprit
        self.moves_on = moves_on
        self.asked = 0
        self.enough = threading.Event()
        self.tasks: list[asyncio.Task[object] | None] = []

    def accuse(self, task: asyncio.Task[object] | None, frame: FrameType) -> Culprit | None:
        self.asked += 1
        self.tasks.append(task)
        if self.asked >= 20:
            self.enough.set()
        if self.culprit is not None and self.moves_on:
            return Culprit(self.culprit.plugin_id, self.culprit.where, self.asked)
        return self.culprit


class Notice:
    """Keeps what was noticed."""

    def __init__(self) -> None:
        self.stalls: list[Stall] = []
        self.given = threading.Event()

    def __call__(self, stall: Stall) -> None:
        self.stalls.append(stall)
        self.given.set()


def watchdog(suspects: Suspects, notice: Notice) -> Watchdog:
    return Watchdog(suspects, notice, idle_seconds=IDLE_SECONDS, step_seconds=STEP_SECONDS)


def hold_the_loop(until: threading.Event) -> None:
    assert until.wait(AT_MOST_SECONDS)


async def test_a_loop_that_is_held_is_noticed_while_it_is_held() -> None:
    suspects, notice = Suspects(Culprit("my", "on_message")), Notice()

    with watchdog(suspects, notice):
        hold_the_loop(notice.given)

    (stall,) = notice.stalls
    assert (stall.plugin_id, stall.where) == ("my", "on_message")
    assert stall.seconds >= STEP_SECONDS
    assert "test_watchdog.py" in stall.stack
    assert "hold_the_loop" in stall.stack
    assert suspects.tasks[0] is asyncio.current_task()


async def test_a_stall_is_told_once_for_each_time_that_the_loop_is_held() -> None:
    suspects, notice = Suspects(Culprit("my", "on_message")), Notice()

    with watchdog(suspects, notice):
        hold_the_loop(suspects.enough)
        once = len(notice.stalls)
        await asyncio.sleep(5 * IDLE_SECONDS)
        notice.given.clear()
        hold_the_loop(notice.given)

    assert (once, len(notice.stalls)) == (1, 2)


async def test_many_short_calls_are_no_stall() -> None:
    suspects, notice = Suspects(Culprit("my", "on_message"), moves_on=True), Notice()

    with watchdog(suspects, notice):
        hold_the_loop(suspects.enough)

    assert notice.stalls == []


async def test_a_loop_held_by_no_plugin_is_noticed_too() -> None:
    notice = Notice()

    with watchdog(Suspects(None), notice):
        hold_the_loop(notice.given)

    assert notice.stalls[0].plugin_id is None


async def test_a_loop_that_waits_is_not_held() -> None:
    suspects, notice = Suspects(Culprit("my", "on_message")), Notice()

    with watchdog(suspects, notice):
        await asyncio.sleep(20 * STEP_SECONDS)

    assert notice.stalls == []


async def test_its_thread_ends_with_it() -> None:
    before = threading.active_count()

    with watchdog(Suspects(None), Notice()):
        during = threading.active_count()

    assert (during, threading.active_count()) == (before + 1, before)


async def test_a_stack_is_bounded_and_printable() -> None:
    suspects, notice = Suspects(Culprit("my", "on_message")), Notice()

    def dig(depth: int) -> None:
        if depth:
            dig(depth - 1)
        else:
            hold_the_loop(notice.given)

    evil = compile("dig(200)", "\x1b[31m\u202eevil.py", "exec")
    with watchdog(suspects, notice):
        exec(evil, {"dig": dig})

    assert notice.stalls[0].stack.isprintable()
    assert len(notice.stalls[0].stack) <= 1501
    assert notice.stalls[0].stack.count(" > ") == 11


@pytest.mark.parametrize(("name", "found"), [("their_plugin.inner", "my"), ("theirs", None)])
async def test_a_frame_below_the_event_loop_tells_the_plugin_by_its_package(
    name: str, found: str | None
) -> None:
    told: list[str | None] = []

    def look() -> None:
        import sys

        told.append(plugin_frame(sys._getframe(), {"their_plugin": "my"}))

    namespace: dict[str, Any] = {"__name__": name, "look": look}
    exec("def call():\n    look()", namespace)
    asyncio.get_running_loop().call_soon(namespace["call"])
    await asyncio.sleep(0)

    assert told == [found]
