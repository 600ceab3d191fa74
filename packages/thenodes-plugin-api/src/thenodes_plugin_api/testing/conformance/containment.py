"""What a plugin that fails does not harm."""

from __future__ import annotations

import asyncio

from ...context import PluginContext
from ...errors import NullContextError, PayloadError
from ...messages import Message, Text
from ...payload import Payload
from ..errors import PromptFailed
from .rig import Behaviour, Probe, Rig, Spec, raises

__all__ = ["CONTAINMENT"]


class FailsToStart(Probe):
    """Raises in `on_start`."""

    async def on_start(self, ctx: PluginContext) -> None:
        """Raise."""
        await super().on_start(ctx)
        raise SystemExit(3)


class FailsToStop(Probe):
    """Raises in `on_stop`."""

    async def on_stop(self, ctx: PluginContext) -> None:
        """Raise."""
        raise ValueError("not yet")


async def a_hook_that_raises_harms_neither_the_next_call_nor_another_plugin(rig: Rig) -> None:
    """Whatever it raises; it is told as a fault."""
    one, other = await rig.start("a", Spec("one"), Spec("other"))
    (far,) = await rig.start("b", Spec("far"))
    errors = iter([ValueError("no"), SystemExit(1), asyncio.CancelledError(), RuntimeError("no")])

    async def fail(message: Message, ctx: PluginContext) -> None:
        raise next(errors)

    one.then = fail
    for number in range(4):
        await far.ctx.send("a", Text(str(number)))
    await rig.settle()

    assert len(one.messages) == len(other.messages) == 4
    assert rig.told("a", "fault") == ["one"] * 4


async def a_bad_payload_is_the_senders_fault(rig: Rig) -> None:
    """PayloadError out of `on_message` is counted, and no fault of the plugin."""
    (one,) = await rig.start("a", Spec("one"))
    (far,) = await rig.start("b", Spec("far"))

    async def read(message: Message, ctx: PluginContext) -> None:
        if message.payload is None:
            raise PayloadError("there is none")
        message.payload.as_json(int)

    one.then = read
    await far.ctx.send("a", Text("1"), Payload.text("1"))
    await far.ctx.send("a", Text("2"), Payload.json("x"))
    await far.ctx.send("a", Text("3"))
    await rig.settle()

    assert rig.dropped("a", "bad_payload") == 3
    assert rig.told("a", "bad_payload") == ["one"] * 3
    assert rig.told("a", "fault") == []


async def an_answer_that_cannot_be_sent_is_no_fault(rig: Rig) -> None:
    """SendError out of `on_message` is counted."""
    (one,) = await rig.start("a", Spec("one"))
    (far,) = await rig.start("b", Spec("far"))

    async def answer(message: Message, ctx: PluginContext) -> None:
        await ctx.send("nobody", Text("hi"))

    one.then = answer
    await far.ctx.send("a", Text("hi"))
    await rig.settle()

    assert rig.dropped("a", "not_sent") == 1
    assert rig.told("a", "fault") == []


async def ten_faults_within_a_minute_are_too_many(rig: Rig) -> None:
    """The plugin gets nothing more; the others do."""
    one, other = await rig.start("a", Spec("one"), Spec("other"))
    (far,) = await rig.start("b", Spec("far"))

    async def fail(message: Message, ctx: PluginContext) -> None:
        raise ValueError("no")

    one.then = fail
    for _ in range(12):
        await far.ctx.send("a", Text("hi"))
        await rig.settle()

    assert len(one.messages) == 10
    assert len(other.messages) == 12
    assert rig.told("a", "quarantined") == ["one"]
    assert rig.dropped("a", "plugin_not_running") == 2
    await raises(PromptFailed, rig.prompt("a", "one hi"))


async def a_plugin_that_does_not_start_gets_nothing(rig: Rig) -> None:
    """The others of the node start and run."""
    bad, good = await rig.start("a", Spec("bad", FailsToStart), Spec("good"))
    (far,) = await rig.start("b", Spec("far"))

    await far.ctx.send("a", Text("hi"))
    await rig.settle()

    assert bad.hooks == ["on_start"]
    assert good.bodies == [Text("hi")]
    assert rig.told("a", "fault") == ["bad"]
    await raises(PromptFailed, rig.prompt("a", "bad hi"))
    await raises(NullContextError, _spawn_nothing(bad.ctx))


async def a_plugin_that_does_not_stop_well_harms_nobody(rig: Rig) -> None:
    """Its fault is told, and the others stop."""
    _, good = await rig.start("a", Spec("bad", FailsToStop), Spec("good"))

    await rig.stop("a")

    assert rig.told("a", "fault") == ["bad"]
    assert good.hooks == ["on_start", "on_stop"]


async def a_line_that_is_not_answered_fails(rig: Rig) -> None:
    """By raising, by something that is no text, or by taking more than 30 s."""
    (one,) = await rig.start("a", Spec("one"))

    async def bad(line: str, ctx: PluginContext) -> str | None:
        if line == "raise":
            raise TimeoutError("of its own")
        if line == "number":
            return 7  # type: ignore[return-value]
        await ctx.clock.sleep(60.0)
        return None

    one.answer = bad
    await raises(PromptFailed, rig.prompt("a", "one raise"))
    await raises(PromptFailed, rig.prompt("a", "one number"))
    asking = asyncio.ensure_future(rig.prompt("a", "one wait"))
    await rig.advance(30.5)
    await raises(PromptFailed, asking)

    assert rig.told("a", "fault") == ["one", "one"]


async def spawned_work_that_raises_harms_nobody(rig: Rig) -> None:
    """Whatever it raises; it is told as a fault."""
    (one,) = await rig.start("a", Spec("one"))

    async def fail(error: BaseException) -> None:
        raise error

    tasks = [
        one.ctx.spawn(fail(error))
        for error in (ValueError("no"), SystemExit(2), asyncio.CancelledError())
    ]
    await rig.settle()

    assert all(task.done() for task in tasks)
    assert rig.told("a", "fault") == ["one"] * 3
    assert await rig.prompt("a", "one hi") == "got hi"


async def repeated_work_goes_on_after_a_fault(rig: Rig) -> None:
    """First after the interval, until it is cancelled."""
    (one,) = await rig.start("a", Spec("one"))
    calls: list[float] = []
    began = one.ctx.clock.monotonic()

    async def work() -> None:
        calls.append(one.ctx.clock.monotonic() - began)
        if len(calls) == 1:
            raise ValueError("the first")

    task = one.ctx.every(2.0, work)
    await rig.advance(4.5)
    task.cancel()
    await rig.advance(4.0)

    assert calls == [2.0, 4.0]
    assert rig.told("a", "fault") == ["one"]
    await raises(ValueError, _every_no_time(one.ctx))


async def _spawn_nothing(ctx: PluginContext) -> None:
    ctx.spawn(asyncio.sleep(0))


async def _every_no_time(ctx: PluginContext) -> None:
    ctx.every(0.0, lambda: asyncio.sleep(0))


CONTAINMENT: tuple[Behaviour, ...] = (
    a_hook_that_raises_harms_neither_the_next_call_nor_another_plugin,
    a_bad_payload_is_the_senders_fault,
    an_answer_that_cannot_be_sent_is_no_fault,
    ten_faults_within_a_minute_are_too_many,
    a_plugin_that_does_not_start_gets_nothing,
    a_plugin_that_does_not_stop_well_harms_nobody,
    a_line_that_is_not_answered_fails,
    spawned_work_that_raises_harms_nobody,
    repeated_work_goes_on_after_a_fault,
)
