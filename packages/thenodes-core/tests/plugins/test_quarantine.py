"""A plugin that fails again and again is left alone, and harms nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from thenodes_core.clock import ManualClock, settle
from thenodes_core.errors import CommandFailed
from thenodes_core.events.counters import Counters
from thenodes_core.plugins.quarantine import FaultWindow
from thenodes_core.plugins.runtime import PluginRuntime, State
from thenodes_plugin_api import Event, Message, Plugin, PluginContext, PluginEvent, Text

Start = Callable[..., Awaitable[PluginRuntime]]


class Broken(BaseException):
    """No `Exception`, and its text cannot be made."""

    def __str__(self) -> str:
        raise RuntimeError


class Bad(Plugin):
    """Raises at every message, and does what a test lets it do at its start."""

    abi = 1

    def __init__(
        self,
        error: BaseException | None = None,
        begin: Callable[[PluginContext], Awaitable[object]] | None = None,
    ) -> None:
        self.error = error or RuntimeError("no")
        self.begin = begin
        self.calls: list[str] = []

    async def on_start(self, ctx: PluginContext) -> None:
        if self.begin is not None:
            await self.begin(ctx)

    async def on_stop(self, ctx: PluginContext) -> None:
        self.calls.append("stop")

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        self.calls.append("message")
        raise self.error


def texts(count: int) -> list[Message]:
    return [Message(Text(str(number)), None, "b") for number in range(count)]


def reports(events: list[Event], action: str) -> list[str]:
    return [e.detail for e in events if isinstance(e, PluginEvent) and e.action == action]


def test_ten_faults_within_a_minute_are_too_many() -> None:
    window = FaultWindow()

    assert [window.add(6.0 * number) for number in range(11)] == [False] * 9 + [True] * 2


def test_faults_that_come_slower_are_never_too_many() -> None:
    window = FaultWindow()

    assert not any(window.add(7.0 * number) for number in range(100))


@pytest.mark.parametrize(
    "error", [RuntimeError("no"), SystemExit(3), asyncio.CancelledError(), Broken()], ids=repr
)
async def test_a_plugin_that_raises_at_every_message_is_quarantined_at_the_tenth(
    start: Start, events: list[Event], counters: Counters, error: BaseException
) -> None:
    plugin = Bad(error)
    runtime = await start(plugin)

    runtime.offer(texts(15))
    await settle()

    assert runtime.state is State.QUARANTINED
    assert plugin.calls == ["message"] * 10
    assert counters.get("plugins_quarantined", reason="my") == 1
    assert counters.get("messages_dropped", reason="plugin_not_running") == 5
    (told,) = reports(events, "quarantined")
    assert "10 faults within 60 s, the last: on_message raised" in told
    assert "plugin enable my" in told


async def test_the_inbox_of_a_quarantined_plugin_takes_nothing(
    start: Start, counters: Counters
) -> None:
    runtime = await start(Bad())
    runtime.offer(texts(10))
    await settle()

    runtime.offer(texts(7))
    await settle()

    assert counters.get("messages_dropped", reason="plugin_not_running") == 7


async def test_a_quarantined_plugin_says_at_the_prompt_why(start: Start) -> None:
    runtime = await start(Bad())
    runtime.offer(texts(10))
    await settle()

    with pytest.raises(CommandFailed, match="my is quarantined: 10 faults within 60 s"):
        await runtime.prompt("hello")


async def test_the_work_of_a_quarantined_plugin_is_cancelled_and_its_last_hook_left_out(
    start: Start,
) -> None:
    ended = []

    async def wait_for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("work")

    async def begin(ctx: PluginContext) -> None:
        ctx.spawn(wait_for_ever())

    plugin = Bad(begin=begin)
    runtime = await start(plugin)
    runtime.offer(texts(10))
    await settle()

    assert ended == ["work"]
    assert "stop" not in plugin.calls


async def test_repeated_work_that_fails_too_often_puts_its_plugin_into_quarantine(
    start: Start, clock: ManualClock
) -> None:
    async def fail() -> None:
        raise SystemExit(3)

    async def begin(ctx: PluginContext) -> None:
        ctx.every(1.0, fail)

    runtime = await start(Bad(begin=begin))

    await clock.advance(9.5)
    before = runtime.state
    await clock.advance(1.0)

    assert (before, runtime.state) == (State.RUNNING, State.QUARANTINED)


async def test_a_plugin_may_fail_now_and_then(start: Start, clock: ManualClock) -> None:
    runtime = await start(Bad())

    for _ in range(30):
        runtime.offer(texts(1))
        await clock.advance(7.0)

    assert (runtime.state, runtime.faults) == (State.RUNNING, 30)


async def test_a_hook_that_does_not_return_is_told_once_with_its_name(
    start: Start, events: list[Event], clock: ManualClock
) -> None:
    class Slow(Plugin):
        abi = 1

        async def on_message(self, message: Message, ctx: PluginContext) -> None:
            await asyncio.Event().wait()

    runtime = await start(Slow())
    runtime.offer(texts(1))

    await clock.advance(120.0)

    assert len(reports(events, "slow_hook")) == 1
    assert runtime.reason == "on_message has not returned for 15 s"
    assert runtime.state is State.RUNNING
