"""Texts that no plugin takes become events, escaped, cut and at a limited rate."""

from __future__ import annotations

from pathlib import Path

import pytest

from thenodes_core.clock import ManualClock, settle
from thenodes_core.events.counters import Counters
from thenodes_core.events.dispatcher import Dispatcher
from thenodes_core.plugins.context import Services
from thenodes_core.plugins.host import PluginHost
from thenodes_core.plugins.tracked import Fate, Tracked
from thenodes_core.plugins.unread import UnreadTexts
from thenodes_plugin_api import (
    Event,
    Message,
    NetworkEvent,
    Payload,
    Plugin,
    PluginContext,
    Text,
    Verified,
)


class Deaf(Plugin):
    """A service that listens to no messages."""

    abi = 1


class Hearing(Plugin):
    """Takes every message."""

    abi = 1

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        pass


@pytest.fixture
def texts(dispatcher: Dispatcher, counters: Counters, clock: ManualClock) -> UnreadTexts:
    return UnreadTexts(dispatcher, counters, clock)


def text(said: str, payload: Payload | None = None, sender: str = "b") -> Message:
    return Message(Text(said), payload, sender, verified=Verified.SESSION)


async def told(events: list[Event]) -> list[str]:
    await settle()
    return [e.detail for e in events if isinstance(e, NetworkEvent) and e.action == "text_received"]


async def test_a_text_is_told_with_who_said_it(texts: UnreadTexts, events: list[Event]) -> None:
    assert texts.take(text("good morning"))

    assert await told(events) == ["b says: good morning"]


async def test_of_no_more_than_256_peers_is_it_known_how_much_they_sent(
    texts: UnreadTexts, counters: Counters
) -> None:
    for number in range(300):
        texts.take(text("hello", sender=f"peer-{number}"))

    assert len(texts._rates) == 256
    assert counters.get("messages_dropped", reason="too_many_texts") == 200


async def test_what_a_terminal_would_obey_is_escaped(
    texts: UnreadTexts, events: list[Event]
) -> None:
    texts.take(text("a\x1b[2J\r\n\u202eb", sender="b\x07"))

    assert await told(events) == ["b\\x07 says: a\\x1b[2J\\r\\n\\u202eb"]


async def test_a_sender_who_proves_nothing_is_told_as_such(
    texts: UnreadTexts, events: list[Event]
) -> None:
    texts.take(Message(Text("hi"), None, "b"))

    assert await told(events) == ["b (not proven) says: hi"]


async def test_a_long_text_is_cut(texts: UnreadTexts, events: list[Event]) -> None:
    texts.take(text("x" * 1024))
    texts.take(text("", Payload.text("x" * 1_000_000)))

    assert await told(events) == [f"b says: {'x' * 1024}", f"b says: {'x' * 1024}…"]


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (Payload.text("hello"), "hello"),
        (Payload.json({"a": 1}), '{"a":1}'),
        (Payload.binary(bytes(3)), "(3 bytes)"),
        (None, ""),
    ],
)
async def test_an_empty_text_is_told_by_its_payload(
    payload: Payload | None, shown: str, texts: UnreadTexts, events: list[Event]
) -> None:
    texts.take(text("", payload))

    assert await told(events) == [f"b says: {shown}"]


async def test_of_one_peer_twenty_texts_are_told_at_once_and_then_one_a_second(
    texts: UnreadTexts, events: list[Event], counters: Counters, clock: ManualClock
) -> None:
    taken = [texts.take(text(str(number))) for number in range(25)]
    await clock.advance(1.0)
    texts.take(text("later"))
    texts.take(text("another", sender="c"))

    assert taken == [True] * 20 + [False] * 5
    assert (await told(events))[-2:] == [
        "b says: later (5 more were not shown)",
        "c says: another",
    ]
    assert counters.get("messages_dropped", reason="too_many_texts") == 5
    assert counters.get("texts_received") == 22


async def test_a_flood_of_one_peer_is_told_as_far_as_one_by_one_and_counted(
    texts: UnreadTexts, events: list[Event], counters: Counters, clock: ManualClock
) -> None:
    mixed = [text(str(number), sender="bc"[number % 2]) for number in range(100)]

    assert not texts.offer(mixed)
    await clock.advance(1.0)
    texts.offer([text("later")])

    said = await told(events)
    assert (len(said), said[-1]) == (41, "b says: later (30 more were not shown)")
    assert counters.get("messages_dropped", reason="too_many_texts") == 60


async def test_of_all_peers_a_hundred_texts_are_told_at_once(
    texts: UnreadTexts, events: list[Event]
) -> None:
    for number in range(600):
        texts.take(text("hi", sender=f"b{number}"))

    assert len(await told(events)) == 100


async def prepared(host: PluginHost, services: Services, path: Path, plugin: Plugin | None) -> None:
    if plugin is not None:
        host.load_embedded({"one": plugin})
    host.prepare(services, {}, lambda name: path / name)


@pytest.mark.parametrize("plugin", [None, Deaf()], ids=["no plugin", "a service"])
async def test_a_text_that_no_plugin_takes_is_told_and_counts_as_taken(
    plugin: Plugin | None,
    host: PluginHost,
    services: Services,
    tmp_path: Path,
    texts: UnreadTexts,
    events: list[Event],
) -> None:
    await prepared(host, services, tmp_path, plugin)
    host.roster.take_texts(texts)
    fates: list[Fate] = []

    host.deliver([text("one"), text("two")])
    host.deliver_tracked([Tracked(text(str(number)), fates.append) for number in range(19)])

    assert (await told(events))[:3] == ["b says: one", "b says: two", "b says: 0"]
    # Whoever sends one too many is told that nobody had it.
    assert fates == [Fate.HAD] * 18 + [Fate.UNCLAIMED]


async def test_a_text_that_a_plugin_takes_is_no_event(
    host: PluginHost, services: Services, tmp_path: Path, texts: UnreadTexts, events: list[Event]
) -> None:
    await prepared(host, services, tmp_path, Hearing())
    host.roster.take_texts(texts)

    host.deliver([text("one")])

    assert await told(events) == []
