"""What a plugin's context lets it do."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from thenodes_core.clock import ManualClock, settle
from thenodes_core.events.counters import Counters
from thenodes_core.plugins.context import Context, Services
from thenodes_core.plugins.delivery import NoRelays
from thenodes_core.plugins.runtime import PluginRuntime
from thenodes_plugin_api import (
    KINDS,
    Body,
    DataRequest,
    DataResponse,
    DeliveryOptions,
    DeliveryOutcome,
    DeliveryStatus,
    Event,
    Extension,
    Heartbeat,
    KindNotAllowed,
    Message,
    NotConnected,
    NullContextError,
    OutboxFull,
    Payload,
    PeerGone,
    PeerInfo,
    Plugin,
    PluginEvent,
    RelayUnbind,
    RequestTimeout,
    SystemEvent,
    Text,
)
from thenodes_plugin_api.testing import make_peer

Sent = list[tuple[str, Body, Payload | None]]
Run = Callable[[PluginRuntime], "asyncio.Task[None]"]

ALLOWED: list[Body] = [Text("x"), Extension("my.x"), DataRequest(), DataResponse()]
FORBIDDEN: list[Body] = [Heartbeat(), RelayUnbind("1")]


class Quiet(Plugin):
    abi = 1


class Sink:
    def __init__(self) -> None:
        self.events: list[Event] = []

    async def handle(self, event: Event) -> None:
        self.events.append(event)


@pytest.fixture
def ctx(services: Services, tmp_path: Path) -> Context:
    return Context("my", {"a": 1}, tmp_path, services)


@pytest.fixture
async def runtime(ctx: Context, services: Services, counters: Counters, run: Run) -> PluginRuntime:
    """Keeps the context open until it is stopped."""
    runtime = PluginRuntime("my", Quiet(), ctx, services.events, counters, services.clock)
    run(runtime)
    await settle()
    return runtime


async def asked(sent: Sent) -> str:
    """The id of the question that was sent last."""
    await settle()
    body = sent[-1][1]
    assert isinstance(body, Extension)
    assert body.request_id is not None
    return body.request_id


def reply(request_id: str, sender: str = "b") -> Message:
    return Message(Extension("my.ask", reply_to=request_id), Payload.text("yes"), sender)


async def test_a_context_says_whose_it_is(ctx: Context, tmp_path: Path) -> None:
    assert (ctx.plugin_id, ctx.node_id) == ("my", "here")
    assert (ctx.config, ctx.data_dir) == ({"a": 1}, tmp_path)
    assert ctx.logger.logger.name == "thenodes.plugin.my"


@pytest.mark.parametrize("body", ALLOWED, ids=lambda body: body.token)
async def test_kinds_of_applications_are_sent(ctx: Context, sent: Sent, body: Body) -> None:
    await ctx.send("b", body, Payload.text("data"))
    await ctx.broadcast(body)

    assert sent == [("b", body, Payload.text("data")), ("*", body, None)]


def test_only_four_kinds_are_an_applications() -> None:
    assert len(ALLOWED) + 13 == len(KINDS)


@pytest.mark.parametrize("body", FORBIDDEN, ids=lambda body: body.token)
async def test_kinds_of_the_node_are_refused(ctx: Context, sent: Sent, body: Body) -> None:
    with pytest.raises(KindNotAllowed, match=body.token):
        await ctx.send("b", body)
    with pytest.raises(KindNotAllowed, match=body.token):
        await ctx.broadcast(body)

    assert sent == []


async def test_a_question_gets_the_asked_peers_answer(
    ctx: Context, services: Services, sent: Sent
) -> None:
    question = asyncio.ensure_future(ctx.request("b", "my.ask", Payload.text("?")))
    request_id = await asked(sent)

    services.questions.answer(reply(request_id))

    assert (await question).payload == Payload.text("yes")
    assert sent == [("b", Extension("my.ask", request_id), Payload.text("?"))]


async def test_another_peers_answer_is_not_taken(
    ctx: Context, services: Services, sent: Sent, clock: ManualClock
) -> None:
    question = asyncio.ensure_future(ctx.request("b", "my.ask", timeout_seconds=3.0))
    request_id = await asked(sent)

    services.questions.answer(reply(request_id, "mallory"))
    await clock.advance(3.0)

    with pytest.raises(RequestTimeout):
        await question


async def test_a_question_without_an_answer_ends_at_its_deadline(
    ctx: Context, clock: ManualClock
) -> None:
    question = asyncio.ensure_future(ctx.request("b", "my.ask", timeout_seconds=3.0))
    await clock.advance(2.9)
    early = question.done()
    await clock.advance(0.2)

    assert not early
    with pytest.raises(RequestTimeout, match=r"b did not answer my\.ask within 3 s"):
        await question


async def test_an_answer_after_the_deadline_is_not_taken(
    ctx: Context, services: Services, sent: Sent, clock: ManualClock
) -> None:
    question = asyncio.ensure_future(ctx.request("b", "my.ask", timeout_seconds=3.0))
    request_id = await asked(sent)
    await clock.advance(3.0)
    with pytest.raises(RequestTimeout):
        await question

    assert not services.questions.answer(reply(request_id))


async def test_a_question_ends_when_the_peer_leaves(
    ctx: Context, services: Services, sent: Sent
) -> None:
    question = asyncio.ensure_future(ctx.request("b", "my.ask"))
    await asked(sent)

    services.questions.peer_gone("b")

    with pytest.raises(PeerGone):
        await question


async def test_a_question_to_a_node_that_is_not_connected_fails_at_once(ctx: Context) -> None:
    with pytest.raises(NotConnected):
        await ctx.request("nobody", "my.ask")


async def test_a_cancelled_question_is_forgotten(
    ctx: Context, services: Services, sent: Sent
) -> None:
    question = asyncio.ensure_future(ctx.request("b", "my.ask"))
    request_id = await asked(sent)

    question.cancel()
    await settle()

    assert not services.questions.answer(reply(request_id))


async def test_a_reply_goes_to_who_asked_under_the_questions_id(ctx: Context, sent: Sent) -> None:
    question = Message(Extension("my.ask", request_id="7"), sender="b")

    await ctx.reply(question, Payload.text("yes"))

    assert sent == [("b", Extension("my.ask", reply_to="7"), Payload.text("yes"))]


@pytest.mark.parametrize("body", [Text("x"), Extension("my.ask"), Extension("my.ask", None, "7")])
async def test_what_is_no_question_cannot_be_answered(ctx: Context, body: Body) -> None:
    with pytest.raises(ValueError, match="is not a question"):
        await ctx.reply(Message(body, sender="b"))


async def test_background_work_before_the_start_is_refused(ctx: Context) -> None:
    with pytest.raises(NullContextError, match="plugin my is not running"):
        ctx.spawn(asyncio.sleep(0))


async def test_background_work_after_the_stop_is_refused(
    ctx: Context, runtime: PluginRuntime
) -> None:
    runtime.stop()
    await settle()

    with pytest.raises(NullContextError, match="plugin my is not running"):
        ctx.spawn(asyncio.sleep(0))


async def test_repeated_work_comes_first_after_the_interval(
    ctx: Context, runtime: PluginRuntime, clock: ManualClock
) -> None:
    began, times = clock.time(), []

    async def note() -> None:
        times.append(clock.time() - began)

    ctx.every(10.0, note)
    await clock.advance(25.0)

    assert times == [10.0, 20.0]


async def test_repeated_work_can_be_cancelled(
    ctx: Context, runtime: PluginRuntime, clock: ManualClock
) -> None:
    times = []

    async def note() -> None:
        times.append(clock.time())

    task = ctx.every(10.0, note)
    await clock.advance(15.0)
    task.cancel()
    await clock.advance(100.0)

    assert len(times) == 1


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
async def test_an_interval_of_nothing_is_refused(
    ctx: Context, runtime: PluginRuntime, seconds: float
) -> None:
    with pytest.raises(ValueError, match="expected more than 0"):
        ctx.every(seconds, asyncio.Event().wait)


async def test_a_plugins_sink_gets_the_nodes_events(ctx: Context, services: Services) -> None:
    sink = Sink()
    event = SystemEvent(action="a")

    ctx.events.add_sink(sink)
    services.events.emit(event)
    await settle()

    assert sink.events == [event]


async def test_a_plugins_sink_gets_no_events_after_the_stop(
    ctx: Context, runtime: PluginRuntime, services: Services
) -> None:
    sink = Sink()
    ctx.events.add_sink(sink)
    runtime.stop()
    await settle()

    services.events.emit(SystemEvent(action="a"))
    await settle()

    assert sink.events == []


async def test_a_plugins_event_reaches_the_nodes_sinks(ctx: Context, events: list[Event]) -> None:
    event = SystemEvent(action="a")

    ctx.events.emit(event)
    await settle()

    assert events == [event]


@pytest.mark.parametrize("wrong", [None, 3, "started", object()])
async def test_what_is_no_event_or_sink_is_refused_where_it_is_given(
    services: Services, tmp_path: Path, wrong: Any
) -> None:
    context = Context("my", {}, tmp_path, services)
    with pytest.raises(TypeError, match="expected an event"):
        context.events.emit(wrong)
    with pytest.raises(TypeError, match="expected a sink"):
        context.events.add_sink(wrong)


async def test_a_plugin_whose_messages_find_no_room_is_named(
    ctx: Context, events: list[Event]
) -> None:
    for _ in range(150):
        with pytest.raises(OutboxFull):
            await ctx.send("full", Text("x"))
    await settle()

    (told,) = [e for e in events if isinstance(e, PluginEvent) and e.action == "flooding"]
    assert (told.plugin, told.detail) == (
        "my",
        "sends more than its peers take: about 100 messages had no room",
    )


class _Coming:
    """A node that is not connected, and then is."""

    is_here = False

    def __init__(self) -> None:
        self.sent = 0

    def all(self) -> Sequence[PeerInfo]:
        return []

    def broadcast(self, body: Body, payload: Payload | None = None) -> int:
        return 0

    def get(self, node_id: str) -> PeerInfo | None:
        return make_peer(node_id) if self.is_here else None

    async def send(
        self, to: str, body: Body, payload: Payload | None = None, *, timeout_seconds: float = 5.0
    ) -> None:
        if not self.is_here:
            raise NotConnected(f"no session with {to}")
        self.sent += 1


async def test_a_node_that_comes_is_sent_to_over_its_session(
    services: Services, tmp_path: Path
) -> None:
    network = _Coming()
    changed = structs.replace(services, network=network, delivery=_Relayed())
    ctx = Context("my", {}, tmp_path, changed)
    relays = [(await ctx.send("bob", Text("x"))).relay for _ in range(2)]

    network.is_here = True
    relays += [(await ctx.send("bob", Text("x"))).relay for _ in range(2)]
    network.is_here = False
    relays.append((await ctx.send("bob", Text("x"))).relay)

    assert relays == ["relay", "relay", None, None, "relay"]
    assert network.sent == 2


class _Relayed(NoRelays):
    """Takes everything at once."""

    def begin(
        self,
        to: str,
        body: Body,
        payload: Payload | None = None,
        options: DeliveryOptions | None = None,
    ) -> DeliveryOutcome:
        return DeliveryOutcome(DeliveryStatus.SENT, "relay")


async def test_a_plugin_that_sends_through_relays_lets_others_run_before_a_relay_is_overrun(
    services: Services, tmp_path: Path
) -> None:
    ctx = Context("my", {}, tmp_path, structs.replace(services, delivery=_Relayed()))
    sent, at = 0, [0]
    loop = asyncio.get_running_loop()

    def look() -> None:
        at.append(sent)
        loop.call_soon(look)

    loop.call_soon(look)
    for _ in range(1000):
        await ctx.send("nobody", Text("x"))
        sent += 1

    assert max(later - earlier for earlier, later in itertools.pairwise(at)) <= 256


async def test_a_plugin_that_only_sends_lets_others_run(ctx: Context) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    for _ in range(640):
        await ctx.broadcast(Text("x"))
    counting.cancel()

    assert turns >= 10
