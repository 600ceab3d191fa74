"""The context of a plugin whose hooks a test calls itself."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from thenodes_plugin_api import (
    DeliveryOptions,
    DeliveryOutcome,
    DeliveryStatus,
    Event,
    Extension,
    Heartbeat,
    KindNotAllowed,
    NoRoute,
    NotAService,
    NotConnected,
    NullContextError,
    OutboxFull,
    Payload,
    PayloadTooLarge,
    PeerSource,
    PluginEvent,
    QoS,
    Reason,
    RelayBindAck,
    RequestTimeout,
    Text,
    Verified,
)
from thenodes_plugin_api.testing import (
    Asked,
    Bound,
    Broadcast,
    Forwarded,
    LogLine,
    ManualClock,
    RecordingContext,
    Replied,
    Sent,
    settle,
)


class Sink:
    """Keeps events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def handle(self, event: Event) -> None:
        self.events.append(event)


class BadSink:
    """Raises for every event."""

    async def handle(self, event: Event) -> None:
        raise SystemExit(3)


async def test_what_is_sent_to_a_connected_peer_is_remembered() -> None:
    context = RecordingContext()
    context.connect("bob")

    await context.send("bob", Text("hi"), Payload.text("there"))

    assert context.sent == [Sent("bob", Text("hi"), Payload.text("there"))]


async def test_nobody_is_connected_before_the_test_says_so() -> None:
    context = RecordingContext()

    with pytest.raises(NotConnected, match="bob"):
        await context.send("bob", Text("hi"))

    assert context.sent == []


async def test_a_peer_that_is_gone_gets_nothing() -> None:
    context = RecordingContext()
    context.connect("bob")

    context.disconnect("bob")

    assert context.peers.all() == []
    with pytest.raises(NotConnected):
        await context.send("bob", Text("hi"))


async def test_a_broadcast_says_how_many_peers_there_are() -> None:
    context = RecordingContext()
    context.connect("bob", capabilities=("my/1",))
    context.connect("carol")

    assert await context.broadcast(Text("hi")) == 2
    assert context.broadcasts == [Broadcast(Text("hi"), None, 2)]
    assert [peer.capabilities for peer in context.peers.all()] == [("my/1",), ()]


async def test_a_kind_of_the_node_is_refused_and_remembered() -> None:
    context = RecordingContext()

    with pytest.raises(KindNotAllowed, match="HEARTBEAT"):
        await context.broadcast(Heartbeat())

    assert context.refused == [Heartbeat()]


async def test_a_payload_that_no_frame_holds_is_refused() -> None:
    context = RecordingContext()
    context.connect("bob")

    with pytest.raises(PayloadTooLarge, match="at most 262144"):
        await context.send("bob", Text("hi"), Payload.binary(bytes(256 * 1024)))


async def test_a_send_fails_as_the_test_says_until_it_says_otherwise() -> None:
    context = RecordingContext()
    context.connect("bob")
    context.fail("bob", OutboxFull("bob reads nothing"))

    with pytest.raises(OutboxFull, match="reads nothing"):
        await context.send("bob", Text("1"))
    context.fail("bob", None)
    await context.send("bob", Text("2"))

    assert [sent.body for sent in context.sent] == [Text("2")]


async def test_a_broadcast_passes_over_a_peer_that_was_made_to_fail() -> None:
    context = RecordingContext()
    context.connect("bob")
    context.connect("carol")

    context.fail("bob", OutboxFull("bob reads nothing"))

    assert await context.broadcast(Text("hi")) == 1


async def test_a_question_to_nobody_is_not_one_that_was_asked() -> None:
    context = RecordingContext()

    with pytest.raises(NotConnected):
        await context.request("bob", "my.get")

    assert context.requests == []


async def test_a_question_gets_the_answer_that_was_scripted() -> None:
    context = RecordingContext()
    context.connect("bob")
    context.answer("my.get", Payload.text("here you are"))

    answer = await context.request("bob", "my.get", Payload.text("it"), timeout_seconds=3.0)

    assert answer.payload == Payload.text("here you are")
    assert answer.sender == "bob"
    assert context.requests == [Asked("bob", "my.get", Payload.text("it"), 3.0)]


async def test_the_answer_of_one_peer_can_differ_from_the_others() -> None:
    context = RecordingContext()
    context.connect("bob")
    context.connect("carol")
    context.answer("my.get", None)
    context.answer("my.get", Payload.text("mine"), peer="carol")

    answers = [await context.request(peer, "my.get") for peer in ("bob", "carol")]

    assert [answer.payload for answer in answers] == [None, Payload.text("mine")]


async def test_an_answer_can_be_made_of_the_question() -> None:
    async def double(payload: Payload | None) -> Payload:
        assert payload is not None
        return Payload.text(payload.as_text() * 2)

    context = RecordingContext()
    context.connect("bob")
    context.answer("my.double", double)

    answer = await context.request("bob", "my.double", Payload.text("ab"))

    assert answer.payload == Payload.text("abab")


async def test_an_answer_can_be_an_error() -> None:
    context = RecordingContext()
    context.connect("bob")
    context.answer("my.get", RequestTimeout("too late"))

    with pytest.raises(RequestTimeout, match="too late"):
        await context.request("bob", "my.get")


async def test_a_question_without_an_answer_says_how_to_script_one() -> None:
    context = RecordingContext()
    context.connect("bob")

    with pytest.raises(RequestTimeout, match=r"context\.answer\('my\.get', payload\)"):
        await context.request("bob", "my.get")


async def test_a_reply_is_remembered_with_what_it_answers() -> None:
    context = RecordingContext()
    context.connect("bob")
    question = context.question("bob", "my.get")

    await context.reply(question, Payload.text("it"))

    assert context.replies == [Replied(question, Payload.text("it"))]


async def test_only_a_question_can_be_answered() -> None:
    context = RecordingContext()
    context.connect("bob")

    with pytest.raises(ValueError, match="EXTENSION from bob is not a question"):
        await context.reply(context.message("bob", Extension("my.tell")))


async def test_log_lines_are_remembered_whatever_the_level() -> None:
    context = RecordingContext()

    context.logger.debug("%s of %d", "one", 2)
    context.logger.warning("100 %")

    assert context.log_lines == [
        LogLine(logging.DEBUG, "one of 2"),
        LogLine(logging.WARNING, "100 %"),
    ]


async def test_spawned_work_runs_and_is_remembered_by_name() -> None:
    done = asyncio.Event()

    async def work() -> None:
        done.set()

    context = RecordingContext()
    context.spawn(work(), name="greeting")
    await settle()

    assert done.is_set()
    assert [(work.name, work.task.done()) for work in context.spawned] == [("greeting", True)]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), asyncio.CancelledError()])
async def test_what_spawned_work_raises_becomes_a_fault(error: BaseException) -> None:
    async def work() -> None:
        raise error

    context = RecordingContext()
    context.spawn(work())
    await settle()

    assert [(fault.where, fault.error) for fault in context.faults] == [("background work", error)]
    assert [e.action for e in context.event_log.events if isinstance(e, PluginEvent)] == ["fault"]


async def test_repeated_work_runs_as_often_as_the_clock_is_moved() -> None:
    context = RecordingContext()
    calls: list[float] = []

    async def note() -> None:
        calls.append(context.clock.time() - 1_000_000)
        if len(calls) == 1:
            raise ValueError("the first")

    context.every(10.0, note)
    await context.clock.advance(35.0)

    assert calls == [10.0, 20.0, 30.0]
    assert [fault.where for fault in context.faults] == ["repeated work"]
    assert [repeated.seconds for repeated in context.repeated] == [10.0]
    await context.close()


async def test_nothing_runs_once_the_context_is_closed() -> None:
    context = RecordingContext()
    task = context.spawn(asyncio.Event().wait())

    await context.close()

    assert task.done()
    with pytest.raises(NullContextError):
        context.spawn(asyncio.Event().wait())


async def test_work_that_does_not_let_itself_be_cancelled_is_a_fault() -> None:
    stubborn = True

    async def work() -> None:
        while stubborn:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    context = RecordingContext()
    task = context.spawn(work(), name="stubborn")
    await settle()
    await context.close()

    assert [str(fault.error) for fault in context.faults] == ["stubborn does not end"]
    stubborn = False
    task.cancel()
    await settle()


async def test_emitted_events_are_remembered_and_reach_sinks() -> None:
    context = RecordingContext()
    sink = Sink()
    event = PluginEvent(plugin="my", action="greeted")

    context.events.add_sink(sink)
    context.events.emit(event)
    await settle()
    await context.close()

    assert context.events.emitted == [event]
    assert sink.events == [event]


async def test_a_sink_that_raises_harms_nobody() -> None:
    context = RecordingContext()
    context.events.add_sink(BadSink())

    context.events.emit(PluginEvent(plugin="my", action="greeted"))
    await settle()
    await context.close()

    assert [type(error) for error in context.event_log.sink_failures] == [SystemExit]


async def test_the_data_directory_is_there_and_temporary_unless_one_is_given(
    tmp_path: Path,
) -> None:
    given, temporary = RecordingContext(data_dir=tmp_path / "mine"), RecordingContext()
    folder = temporary.data_dir
    assert given.data_dir.is_dir()
    assert folder.stat().st_mode & 0o777 == 0o700

    await given.close()
    await temporary.close()

    assert given.data_dir.is_dir()
    assert not folder.exists()


async def test_addresses_can_be_made_known() -> None:
    store = RecordingContext().peer_store

    record = await store.insert("10.0.0.1:7447")
    new = await store.bulk_insert(["10.0.0.1:7447", "wss://x.test/", "nonsense"])

    assert record.source is PeerSource.MANUAL
    assert new == 1
    assert [known.addr for known in await store.all()] == ["10.0.0.1:7447", "wss://x.test/"]
    assert [r.addr for r in await store.sample(5, {"10.0.0.1:7447"})] == ["wss://x.test/"]


@pytest.mark.parametrize("text", ["nonsense", "http://x.test:1", "x.test:port", ""])
async def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no address"):
        await RecordingContext().peer_store.insert(text)


async def test_time_stands_still_until_it_is_moved(clock: ManualClock) -> None:
    woken: list[float] = []

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(clock.monotonic() - 1_000_000)

    tasks = [asyncio.ensure_future(sleep(seconds)) for seconds in (2.0, 1.0, 5.0)]
    await clock.advance(3.0)

    assert woken == [1.0, 2.0]
    assert clock.sleepers == 1
    for task in tasks:
        task.cancel()


async def test_time_does_not_go_back(clock: ManualClock) -> None:
    with pytest.raises(ValueError, match="does not go back"):
        await clock.advance(-1.0)


async def test_what_was_asked_of_delivery_is_remembered() -> None:
    context = RecordingContext()
    context.connect("bob")
    options = DeliveryOptions(qos=QoS.RELIABLE, confirm=True)

    outcome = await context.send("bob", Text("hi"), options=options)

    assert outcome == DeliveryOutcome(DeliveryStatus.DELIVERED)
    assert context.sent == [Sent("bob", Text("hi"), options=options)]


async def test_a_node_can_be_reached_that_is_not_connected() -> None:
    context = RecordingContext()
    context.reach("bob")
    refused = DeliveryOutcome(DeliveryStatus.REFUSED, relay="r", reason=Reason.QUOTA)
    context.reach("carol", refused)

    stored = await context.send("bob", Text("hi"))

    assert (stored.status, stored.relay) == (DeliveryStatus.STORED, "relay")
    assert await context.send("carol", Text("hi")) == refused
    assert context.peers.get("bob") is None


async def test_a_node_that_is_reached_no_more_gets_nothing() -> None:
    context = RecordingContext()
    context.reach("bob")

    context.disconnect("bob")

    with pytest.raises(NotConnected):
        await context.send("bob", Text("hi"))


async def test_the_answer_of_a_node_that_is_not_connected_is_proven_by_its_seal() -> None:
    context = RecordingContext()
    context.reach("bob")
    context.answer("my.get", Payload.text("here you are"))

    answer = await context.request("bob", "my.get")

    assert answer.verified is Verified.SEAL


async def test_a_relay_answers_as_the_test_says() -> None:
    context = RecordingContext()
    stored = DeliveryOutcome(DeliveryStatus.STORED, relay="r")
    context.relay.answer_bind(RelayBindAck(ok=True))
    context.relay.answer_forward(stored)
    context.relay.answer_forward(NoRoute(Reason.PEER_LEFT, "it is gone"), relay="gone")

    assert (await context.relay.bind("r", "bob", store_forward=True)).ok
    assert await context.relay.forward("r", "bob", Text("hi"), sequence=3) == stored
    with pytest.raises(NoRoute, match="it is gone"):
        await context.relay.forward("gone", "bob", Text("hi"))

    assert context.relay.binds == [Bound("r", "bob", store_forward=True)]
    assert context.relay.forwards == [
        Forwarded("r", "bob", Text("hi"), sequence=3),
        Forwarded("gone", "bob", Text("hi")),
    ]


async def test_what_no_frame_holds_is_not_forwarded() -> None:
    context = RecordingContext()

    with pytest.raises(PayloadTooLarge):
        await context.relay.forward("r", "bob", Text("hi"), Payload.binary(bytes(256 * 1024)))

    assert context.relay.forwards == []


async def test_a_plugin_that_is_no_service_is_told_what_it_lacks() -> None:
    context = RecordingContext("my")

    with pytest.raises(NotAService, match=r"my has no service door.*\[service\]"):
        _ = context.service
