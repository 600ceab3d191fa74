"""One running plugin: its inbox, its hooks, and the wall around them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from thenodes_core.clock import ManualClock, settle
from thenodes_core.errors import CommandError, CommandFailed
from thenodes_core.events.counters import Counters
from thenodes_core.plugins.runtime import PluginRuntime, State
from thenodes_plugin_api import (
    Direction,
    Event,
    Level,
    Message,
    NotConnected,
    Payload,
    PayloadError,
    PeerInfo,
    PeerJoined,
    PeerLeft,
    Plugin,
    PluginContext,
    PluginEvent,
    Text,
    TheNodesError,
)

Start = Callable[..., Awaitable[PluginRuntime]]

PEER = PeerInfo(node_id="b", address="b:1", direction=Direction.INBOUND, connected_at=0.0)
MOST_ITEMS = 8192
MOST_BYTES = 16 * 1024 * 1024


class Recorder(Plugin):
    """Notes which hook was called with what; a test may make one raise or wait."""

    abi = 1

    def __init__(self, raises: dict[str, BaseException] | None = None) -> None:
        self.calls: list[str] = []
        self.raises = raises or {}
        self.go_on = {name: asyncio.Event() for name in ("start", "stop", "message", "prompt")}
        self.waits: set[str] = set()
        self.ctx: PluginContext

    async def _call(self, hook: str, what: str = "") -> None:
        self.calls.append(f"{hook} {what}".strip())
        if hook in self.waits:
            await self.go_on[hook].wait()
        if what != "good" and hook in self.raises:
            raise self.raises[hook]

    async def on_start(self, ctx: PluginContext) -> None:
        self.ctx = ctx
        await self._call("start")

    async def on_stop(self, ctx: PluginContext) -> None:
        await self._call("stop")

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        assert isinstance(message.body, Text)
        await self._call("message", message.body.text)

    async def on_peer(self, event: PeerJoined | PeerLeft, ctx: PluginContext) -> None:
        await self._call("peer", event.peer.node_id)

    async def on_prompt(self, line: str, ctx: PluginContext) -> str | None:
        await self._call("prompt", line)
        return line.upper()


def text(text: str, size: int = 0) -> Message:
    return Message(Text(text), Payload.binary(bytes(size)) if size else None, "b")


def reports(events: list[Event], action: str) -> list[PluginEvent]:
    return [e for e in events if isinstance(e, PluginEvent) and e.action == action]


RAISED = [RuntimeError("no"), SystemExit(3), KeyError("x"), asyncio.CancelledError("other")]


async def test_a_plugin_is_started_before_it_gets_anything(start: Start) -> None:
    plugin = Recorder()
    plugin.waits.add("start")
    runtime = await start(plugin)

    runtime.offer([text("1")])
    await settle()
    before = list(plugin.calls)
    plugin.go_on["start"].set()
    await settle()

    assert (before, plugin.calls) == (["start"], ["start", "message 1"])


async def test_messages_and_peers_come_in_the_order_they_were_offered(start: Start) -> None:
    plugin = Recorder()
    runtime = await start(plugin)

    runtime.offer([text("1"), text("2")])
    runtime.offer([PeerLeft(PEER)])
    runtime.offer([text("3")])
    await settle()

    assert plugin.calls == ["start", "message 1", "message 2", "peer b", "message 3"]


async def test_hooks_run_one_at_a_time(start: Start) -> None:
    plugin = Recorder()
    plugin.waits.add("message")
    runtime = await start(plugin)
    runtime.offer([text("1")])
    await settle()

    prompt = asyncio.ensure_future(runtime.prompt("hello"))
    await settle()
    during = list(plugin.calls)
    plugin.go_on["message"].set()

    assert await prompt == "HELLO"
    assert during == ["start", "message 1"]


async def test_stopping_gives_what_is_in_the_inbox_first(start: Start) -> None:
    plugin = Recorder()
    runtime = await start(plugin)

    runtime.offer([text("1"), text("2")])
    runtime.stop()
    await settle()

    assert plugin.calls == ["start", "message 1", "message 2", "stop"]
    assert runtime.state is State.STOPPED


@pytest.mark.parametrize("error", RAISED, ids=repr)
async def test_a_plugin_that_raises_at_start_has_failed(
    start: Start, events: list[Event], error: BaseException
) -> None:
    plugin = Recorder({"start": error})

    runtime = await start(plugin)

    assert runtime.state is State.FAILED
    assert [e.level for e in reports(events, "fault")] == [Level.ERROR]
    assert "on_start raised" in reports(events, "fault")[0].detail


@pytest.mark.parametrize(
    ("error", "tracebacks"), [(TheNodesError("the disk is full"), 0), (OSError("defect"), 1)]
)
async def test_a_plugin_that_says_why_it_cannot_start_is_quoted_without_a_traceback(
    start: Start,
    events: list[Event],
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    tracebacks: int,
) -> None:
    await start(Recorder({"start": error}))

    assert str(error) in reports(events, "fault")[0].detail
    assert sum(record.exc_info is not None for record in caplog.records) == tracebacks


async def test_a_plugin_that_failed_at_start_is_not_waited_for(start: Start) -> None:
    runtime = await start(Recorder({"start": RuntimeError()}))

    await asyncio.wait_for(runtime.wait_started(), 5)


async def test_a_plugin_that_failed_at_start_answers_no_prompt(start: Start) -> None:
    runtime = await start(Recorder({"start": RuntimeError()}))

    with pytest.raises(CommandError, match="plugin my is failed"):
        await runtime.prompt("hello")


@pytest.mark.parametrize("hook", ["message", "peer"])
@pytest.mark.parametrize("error", RAISED, ids=repr)
async def test_a_hook_that_raises_is_reported_and_the_next_item_is_served(
    start: Start, events: list[Event], counters: Counters, hook: str, error: BaseException
) -> None:
    plugin = Recorder({hook: error})
    runtime = await start(plugin)

    runtime.offer([text("bad"), PeerJoined(PEER), text("good")])
    await settle()

    assert plugin.calls == ["start", "message bad", "peer b", "message good"]
    assert [f"on_{hook} raised" in e.detail for e in reports(events, "fault")] == [True]
    assert (runtime.faults, counters.get("plugin_faults", reason="my")) == (1, 1)
    assert runtime.state is State.RUNNING


@pytest.mark.parametrize("error", RAISED, ids=repr)
async def test_a_prompt_that_raises_is_an_error_for_the_operator(
    start: Start, events: list[Event], error: BaseException
) -> None:
    runtime = await start(Recorder({"prompt": error}))

    with pytest.raises(CommandError, match="plugin my failed"):
        await runtime.prompt("hello")
    await settle()

    assert len(reports(events, "fault")) == 1
    assert await runtime.prompt("good") == "GOOD"


@pytest.mark.parametrize("error", RAISED, ids=repr)
async def test_a_plugin_that_raises_at_stop_has_stopped(
    start: Start, events: list[Event], error: BaseException
) -> None:
    runtime = await start(Recorder({"stop": error}))

    runtime.stop()
    await settle()

    assert runtime.state is State.STOPPED
    assert len(reports(events, "fault")) == 1


async def test_a_payload_error_is_counted_against_the_message_not_the_plugin(
    start: Start, events: list[Event], counters: Counters
) -> None:
    plugin = Recorder({"message": PayloadError("not JSON")})
    runtime = await start(plugin)

    runtime.offer([text("bad"), text("good")])
    await settle()

    assert plugin.calls == ["start", "message bad", "message good"]
    assert runtime.faults == 0
    assert counters.get("messages_dropped", reason="bad_payload") == 1
    assert reports(events, "bad_payload")[0].detail == "a message of b cannot be used: not JSON"


async def test_a_start_that_takes_too_long_is_reported_and_not_waited_for(
    start: Start, events: list[Event], clock: ManualClock
) -> None:
    plugin = Recorder()
    plugin.waits.add("start")
    runtime = await start(plugin)
    waiting = asyncio.ensure_future(runtime.wait_started())

    await clock.advance(4.9)
    early = waiting.done()
    await clock.advance(0.2)

    assert (early, waiting.done()) == (False, True)
    assert len(reports(events, "slow_start")) == 1


async def test_a_stop_that_takes_too_long_is_given_up_and_reported(
    start: Start, events: list[Event], clock: ManualClock
) -> None:
    plugin = Recorder()
    plugin.waits.add("stop")
    runtime = await start(plugin)
    runtime.stop()

    await clock.advance(1.1)

    assert runtime.state is State.STOPPED
    assert len(reports(events, "slow_stop")) == 1


async def test_a_prompt_that_takes_too_long_is_given_up(start: Start, clock: ManualClock) -> None:
    plugin = Recorder()
    plugin.waits.add("prompt")
    runtime = await start(plugin)
    prompt = asyncio.ensure_future(runtime.prompt("hello"))

    await clock.advance(30.1)

    with pytest.raises(CommandError, match="did not answer within 30 s"):
        await prompt


async def test_an_inbox_takes_as_many_items_as_allowed_and_drops_the_next(
    start: Start, counters: Counters
) -> None:
    plugin = Recorder()
    plugin.waits.add("start")
    runtime = await start(plugin)

    runtime.offer([text("x")] * MOST_ITEMS)
    dropped_before = counters.get("messages_dropped", reason="plugin_inbox_full")
    runtime.offer([text("one too many")])
    plugin.go_on["start"].set()
    await settle()

    assert dropped_before == 0
    assert counters.get("messages_dropped", reason="plugin_inbox_full") == 1
    assert plugin.calls == ["start"] + ["message x"] * MOST_ITEMS


async def test_of_a_batch_that_does_not_fit_the_first_are_taken(
    start: Start, counters: Counters
) -> None:
    plugin = Recorder()
    plugin.waits.add("start")
    runtime = await start(plugin)

    runtime.offer([text(str(number)) for number in range(MOST_ITEMS + 3)])
    plugin.go_on["start"].set()
    await settle()

    assert counters.get("messages_dropped", reason="plugin_inbox_full") == 3
    assert plugin.calls[-1] == f"message {MOST_ITEMS - 1}"


async def test_an_inbox_takes_as_many_bytes_as_allowed_and_drops_the_next(
    start: Start, counters: Counters
) -> None:
    plugin = Recorder()
    plugin.waits.add("start")
    runtime = await start(plugin)

    runtime.offer([text("big", MOST_BYTES)])
    dropped_before = counters.get("messages_dropped", reason="plugin_inbox_full")
    runtime.offer([text("byte", 1)])
    runtime.offer([text("empty")])
    plugin.go_on["start"].set()
    await settle()

    assert dropped_before == 0
    assert counters.get("messages_dropped", reason="plugin_inbox_full") == 1
    assert plugin.calls == ["start", "message big", "message empty"]


async def test_bytes_that_were_taken_out_make_room_again(start: Start, counters: Counters) -> None:
    plugin = Recorder()
    runtime = await start(plugin)

    for _ in range(3):
        runtime.offer([text("big", MOST_BYTES)])
        await settle()

    assert plugin.calls == ["start"] + ["message big"] * 3
    assert counters.get("messages_dropped", reason="plugin_inbox_full") == 0


async def test_a_full_inbox_is_reported_once_until_it_has_emptied(
    start: Start, events: list[Event]
) -> None:
    plugin = Recorder()
    plugin.waits.add("start")
    runtime = await start(plugin)
    runtime.offer([text("x")] * (MOST_ITEMS + 1))
    runtime.offer([text("x")])
    await settle()
    once = len(reports(events, "inbox_full"))

    plugin.go_on["start"].set()
    await settle()
    runtime.offer([text("x")] * (MOST_ITEMS + 1))
    await settle()

    assert (once, len(reports(events, "inbox_full"))) == (1, 2)


@pytest.mark.parametrize(
    ("count", "size", "crowded"),
    [(MOST_ITEMS // 2 - 1, 0, False), (MOST_ITEMS // 2, 0, True), (1, MOST_BYTES // 2, True)],
)
async def test_offering_tells_when_the_inbox_is_half_full(
    start: Start, count: int, size: int, crowded: bool
) -> None:
    plugin = Recorder()
    plugin.waits.add("start")
    runtime = await start(plugin)

    assert runtime.offer([text("x", size)] * count) is crowded


async def test_a_plugin_that_waits_harms_no_other(start: Start) -> None:
    slow, quick = Recorder(), Recorder()
    slow.waits.add("message")
    first, second = await start(slow, "slow"), await start(quick, "quick")

    for number in range(3):
        for runtime in (first, second):
            runtime.offer([text(str(number))])
    await settle()

    assert slow.calls == ["start", "message 0"]
    assert quick.calls == ["start", "message 0", "message 1", "message 2"]


async def test_a_plugin_whose_inbox_is_full_harms_no_other(
    start: Start, counters: Counters
) -> None:
    slow, quick = Recorder(), Recorder()
    slow.waits.add("message")
    first, second = await start(slow, "slow"), await start(quick, "quick")

    first.offer([text("x")] * (2 * MOST_ITEMS))
    second.offer([text("1")])
    await settle()

    assert quick.calls == ["start", "message 1"]


@pytest.mark.parametrize("error", RAISED, ids=repr)
async def test_spawned_work_that_raises_is_reported_and_the_plugin_goes_on(
    start: Start, events: list[Event], error: BaseException
) -> None:
    plugin = Recorder()
    runtime = await start(plugin)

    async def fail() -> None:
        raise error

    plugin.ctx.spawn(fail())
    await settle()
    runtime.offer([text("1")])
    await settle()

    assert plugin.calls == ["start", "message 1"]
    assert "background work raised" in reports(events, "fault")[0].detail


async def test_spawned_work_goes_on_through_the_last_hook_and_is_then_cancelled(
    start: Start,
) -> None:
    plugin = Recorder()
    plugin.waits.add("stop")
    runtime = await start(plugin)
    task = plugin.ctx.spawn(asyncio.Event().wait())

    runtime.stop()
    await settle()
    during = task.done()
    plugin.go_on["stop"].set()
    await settle()

    assert (during, task.done()) == (False, True)
    assert runtime.state is State.STOPPED


async def test_a_task_can_be_cancelled_without_harm(start: Start, events: list[Event]) -> None:
    plugin = Recorder()
    runtime = await start(plugin)
    task = plugin.ctx.spawn(asyncio.Event().wait())
    await settle()

    task.cancel()
    await settle()
    runtime.offer([text("1")])
    await settle()

    assert task.done()
    assert plugin.calls == ["start", "message 1"]
    assert reports(events, "fault") == []


@pytest.mark.parametrize("error", RAISED, ids=repr)
async def test_repeated_work_that_raises_is_reported_and_repeated(
    start: Start, events: list[Event], clock: ManualClock, error: BaseException
) -> None:
    plugin = Recorder()
    await start(plugin)

    async def fail() -> None:
        raise error

    plugin.ctx.every(10.0, fail)
    await clock.advance(35.0)

    assert len(reports(events, "fault")) == 3


async def test_repeated_work_ends_with_the_plugin(start: Start, clock: ManualClock) -> None:
    plugin = Recorder()
    runtime = await start(plugin)
    times = []

    async def note() -> None:
        times.append(clock.time())

    plugin.ctx.every(10.0, note)
    await clock.advance(15.0)
    runtime.stop()
    await clock.advance(100.0)

    assert len(times) == 1


async def test_an_event_has_the_plugins_id_and_the_errors_text(
    start: Start, events: list[Event]
) -> None:
    runtime = await start(Recorder({"message": RuntimeError("broken")}), "mine")

    runtime.offer([text("1"), Message(Text("2"))])
    await settle()

    fault = reports(events, "fault")[0]
    assert (fault.plugin, fault.detail) == ("mine", "on_message raised RuntimeError: broken")


class Clumsy(Plugin):
    """Its `on_start` has the wrong signature."""

    abi = 1

    async def on_start(self) -> None:  # type: ignore[override]
        raise AssertionError


async def test_a_hook_of_the_wrong_signature_fails_that_plugin_alone(
    start: Start, events: list[Event]
) -> None:
    plugin = Recorder()
    clumsy, well = await start(Clumsy(), "clumsy"), await start(plugin, "well")

    well.offer([text("1")])
    await settle()

    assert (clumsy.state, well.state) == (State.FAILED, State.RUNNING)
    assert plugin.calls == ["start", "message 1"]
    assert [(e.plugin, "TypeError" in e.detail) for e in reports(events, "fault")] == [
        ("clumsy", True)
    ]


async def test_a_plugin_that_failed_collects_no_messages(start: Start, counters: Counters) -> None:
    runtime = await start(Recorder({"start": RuntimeError()}))

    for _ in range(2):
        assert runtime.offer([text("x", 1024)] * MOST_ITEMS) is False

    dropped = counters.get("messages_dropped", reason="plugin_not_running")
    assert dropped == 2 * MOST_ITEMS


async def test_a_plugin_that_cannot_send_its_answer_is_not_at_fault(
    start: Start, events: list[Event], counters: Counters
) -> None:
    plugin = Recorder({"message": NotConnected("no session with b")})
    runtime = await start(plugin)

    runtime.offer([text("bad"), text("good")])
    await settle()

    assert plugin.calls == ["start", "message bad", "message good"]
    assert (runtime.faults, reports(events, "fault")) == (0, [])
    assert counters.get("messages_dropped", reason="not_sent") == 1


class Silly(Plugin):
    """Answers a prompt with a number."""

    abi = 1

    async def on_prompt(self, line: str, ctx: PluginContext) -> str | None:
        return 5  # type: ignore[return-value]


async def test_a_prompt_answered_with_no_text_has_failed(start: Start, events: list[Event]) -> None:
    runtime = await start(Silly())

    with pytest.raises(CommandFailed, match="expected str or None, got int"):
        await runtime.prompt("hello")
    await settle()

    assert len(reports(events, "fault")) == 1


async def test_a_prompt_is_answered_between_the_messages_of_a_long_batch(start: Start) -> None:
    plugin = Recorder()
    plugin.waits.add("message")
    runtime = await start(plugin)
    runtime.offer([text("x")] * 50)
    await settle()

    prompt = asyncio.ensure_future(runtime.prompt("hello"))
    await settle()
    plugin.go_on["message"].set()
    await prompt

    assert plugin.calls.index("prompt hello") < 5
    await settle()
    assert plugin.calls.count("message x") == 50
