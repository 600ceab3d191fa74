"""Messages that are followed through plugins: what is said to have become of them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from thenodes_core.clock import settle
from thenodes_core.events.counters import Counters
from thenodes_core.plugins.context import Services
from thenodes_core.plugins.host import PluginHost
from thenodes_core.plugins.inbox import Inbox
from thenodes_core.plugins.runtime import PluginRuntime, State
from thenodes_core.plugins.tracked import Fate, Tracked, share
from thenodes_plugin_api import (
    DataRequest,
    DeliveryClass,
    DeliveryMetadata,
    Extension,
    Message,
    NotConnected,
    Payload,
    PayloadError,
    Plugin,
    PluginContext,
    Text,
)

Start = Callable[..., Awaitable[PluginRuntime]]

MOST_ITEMS = 8192


class Hearing(Plugin):
    """Notes what it had; a test may make it raise or wait."""

    abi = 1

    def __init__(self, raises: BaseException | None = None, *, waits: bool = False) -> None:
        self.had: list[Message] = []
        self.raises = raises
        self.go_on = asyncio.Event()
        if not waits:
            self.go_on.set()

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        self.had.append(message)
        await self.go_on.wait()
        if self.raises is not None:
            raise self.raises


class Followed:
    """Makes tracked messages and keeps what is said of them, in order."""

    def __init__(self) -> None:
        self.fates: list[tuple[int, Fate]] = []

    def make(self, *messages: Message) -> list[Tracked]:
        def told(number: int) -> Callable[[Fate], None]:
            return lambda fate: self.fates.append((number, fate))

        return [Tracked(message, told(number)) for number, message in enumerate(messages)]


@pytest.fixture
def followed() -> Followed:
    return Followed()


def text(size: int = 0) -> Message:
    return Message(Text("x"), Payload.binary(bytes(size)) if size else None, "b")


async def test_a_message_was_had_when_its_handler_has_returned(
    start: Start, followed: Followed
) -> None:
    plugin = Hearing(waits=True)
    runtime = await start(plugin)

    runtime.offer(followed.make(text(), text()))
    await settle()
    assert (len(plugin.had), followed.fates) == (1, [])
    plugin.go_on.set()
    await settle()

    assert followed.fates == [(0, Fate.HAD), (1, Fate.HAD)]
    assert all(type(message) is Message for message in plugin.had)


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), PayloadError("bad"), NotConnected("gone"), asyncio.CancelledError()],
    ids=lambda error: type(error).__name__,
)
async def test_a_handler_that_raises_has_returned(
    error: BaseException, start: Start, followed: Followed, counters: Counters
) -> None:
    runtime = await start(Hearing(error))

    runtime.offer(followed.make(text(), text()))
    await settle()

    assert followed.fates == [(0, Fate.HAD), (1, Fate.HAD)]
    assert sum(counters.snapshot().values()) == 2


async def test_a_handler_that_is_cut_off_has_not_returned(start: Start, followed: Followed) -> None:
    runtime = await start(Hearing(waits=True))
    runtime.offer(followed.make(text(), text()))
    await settle()

    runtime.quarantine("for the test")
    await settle()

    assert sorted(followed.fates) == [(0, Fate.DROPPED), (1, Fate.DROPPED)]


async def test_what_a_plugin_that_does_not_run_is_offered_is_dropped(
    start: Start, followed: Followed, counters: Counters
) -> None:
    runtime = await start(Hearing())
    runtime.stop()
    await settle()
    assert runtime.state is State.STOPPED

    runtime.offer(followed.make(text()))

    assert followed.fates == [(0, Fate.DROPPED)]
    assert counters.get("messages_dropped", reason="plugin_not_running") == 1


async def test_what_has_no_room_is_dropped(followed: Followed) -> None:
    inbox = Inbox()
    inbox.put([text()] * (MOST_ITEMS - 1))

    assert inbox.put(followed.make(text(), text())) == 1

    assert followed.fates == [(1, Fate.DROPPED)]


async def test_the_bytes_of_a_tracked_message_count(followed: Followed) -> None:
    inbox = Inbox()

    assert inbox.put(followed.make(text(16 * 1024 * 1024), text(1))) == 1

    assert followed.fates == [(1, Fate.DROPPED)]


async def test_bytes_of_tracked_messages_are_freed(start: Start, followed: Followed) -> None:
    plugin = Hearing()
    runtime = await start(plugin)
    big = 9 * 1024 * 1024

    for _ in range(3):
        runtime.offer(followed.make(text(big)))
        await settle()

    assert followed.fates == [(0, Fate.HAD)] * 3


async def test_what_an_emptied_inbox_held_is_dropped(followed: Followed) -> None:
    inbox = Inbox()
    inbox.put([text(), *followed.make(text(), text())])

    assert inbox.clear() == 3

    assert followed.fates == [(0, Fate.DROPPED), (1, Fate.DROPPED)]


@pytest.mark.parametrize(
    ("fates", "all_in_all"),
    [
        ([Fate.HAD, Fate.HAD], Fate.HAD),
        ([Fate.DROPPED, Fate.HAD], Fate.HAD),
        ([Fate.HAD, Fate.DROPPED], Fate.HAD),
        ([Fate.DROPPED, Fate.DROPPED], Fate.DROPPED),
    ],
)
def test_of_several_plugins_one_has_to_have_had_it(
    fates: Sequence[Fate], all_in_all: Fate, followed: Followed
) -> None:
    (tracked,) = followed.make(text())
    first, second = share(tracked, 2)

    first.end(fates[0])
    assert followed.fates == []
    second.end(fates[1])

    assert followed.fates == [(0, all_in_all)]


def test_only_the_first_end_counts(followed: Followed) -> None:
    (tracked,) = followed.make(text())

    tracked.end(Fate.HAD)
    tracked.end(Fate.DROPPED)

    assert followed.fates == [(0, Fate.HAD)]


async def test_a_message_for_nobody_is_said_to_be(
    host: PluginHost, followed: Followed, counters: Counters, services: Services, tmp_path: Path
) -> None:
    host.load_embedded({"my": Hearing()})
    host.prepare(services, {}, lambda name: tmp_path)

    host.deliver_tracked(followed.make(Message(Extension("other.kind"), None, "b")))

    assert followed.fates == [(0, Fate.UNCLAIMED)]
    assert counters.get("messages_dropped", reason="unclaimed_kind") == 1


async def test_an_answer_that_nobody_asked_for_is_for_nobody(
    host: PluginHost, followed: Followed, counters: Counters, services: Services, tmp_path: Path
) -> None:
    host.prepare(services, {}, lambda name: tmp_path)
    answer = Message(Extension("my.reply", reply_to="unknown"), None, "b")

    host.deliver_tracked(followed.make(answer))

    assert followed.fates == [(0, Fate.UNCLAIMED)]
    assert counters.get("messages_dropped", reason="unexpected_reply") == 1


async def test_an_answer_that_somebody_asked_for_was_had(
    host: PluginHost, followed: Followed, services: Services, tmp_path: Path
) -> None:
    host.prepare(services, {}, lambda name: tmp_path)
    request_id, asked = services.questions.ask("my", "b")
    answer = Message(Extension("my.reply", reply_to=request_id), None, "b")

    host.deliver_tracked(followed.make(answer))

    assert followed.fates == [(0, Fate.HAD)]
    assert asked.result() is answer


async def test_a_message_for_all_is_had_when_each_has_returned(
    host: PluginHost, followed: Followed, services: Services, tmp_path: Path
) -> None:
    first, second = Hearing(), Hearing(waits=True)
    host.load_embedded({"first": first, "second": second})
    host.prepare(services, {}, lambda name: tmp_path)
    host.run(asyncio.ensure_future)
    await host.wait_started()

    host.deliver_tracked(followed.make(text()))
    await settle()
    assert (len(first.had), len(second.had), followed.fates) == (1, 1, [])
    second.go_on.set()
    await settle()

    assert followed.fates == [(0, Fate.HAD)]
    host.stop()
    await settle()


class Deaf(Plugin):
    """Does nothing with messages."""

    abi = 1


async def test_a_plugin_that_does_nothing_with_messages_has_had_none(
    host: PluginHost, followed: Followed, services: Services, tmp_path: Path
) -> None:
    hearing = Hearing(waits=True)
    host.load_embedded({"deaf": Deaf(), "hearing": hearing})
    host.prepare(services, {}, lambda name: tmp_path)
    host.run(asyncio.ensure_future)
    await host.wait_started()

    host.deliver_tracked(followed.make(text()))
    await settle()
    assert followed.fates == []
    host.roster.find("hearing").runtime.quarantine("for the test")
    await settle()

    assert followed.fates == [(0, Fate.DROPPED)]
    host.stop()
    await settle()


async def test_where_no_plugin_does_anything_with_messages_one_is_for_nobody(
    host: PluginHost, followed: Followed, services: Services, tmp_path: Path
) -> None:
    host.load_embedded({"deaf": Deaf()})
    host.prepare(services, {}, lambda name: tmp_path)

    host.deliver_tracked(followed.make(text()))

    assert followed.fates == [(0, Fate.UNCLAIMED)]


async def test_each_message_of_a_run_is_followed_that_is_to_be(
    host: PluginHost, followed: Followed, services: Services, tmp_path: Path
) -> None:
    host.load_embedded({"my": Hearing()})
    host.prepare(services, {}, lambda name: tmp_path)
    host.run(asyncio.ensure_future)
    await host.wait_started()
    host.roster.follow(lambda message: followed.make(message)[0])
    body = DataRequest()  # Of such a kind, all messages share one.
    asked = DeliveryMetadata(uuid.UUID(int=1), DeliveryClass.RELIABLE)

    host.deliver([Message(body), Message(body, delivery=asked), Message(body)])
    await settle()

    assert followed.fates == [(0, Fate.HAD)]
    host.stop()
    await settle()
