"""The word of receivers: who waits for it, and who gives it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest

from thenodes_core.clock import ManualClock, settle
from thenodes_core.events.counters import Counters
from thenodes_core.events.dispatcher import Dispatcher
from thenodes_core.plugins.tracked import Fate
from thenodes_core.relayed import confirmations
from thenodes_core.relayed.confirmations import Confirmations, Confirmer
from thenodes_core.supervisor import Supervisor
from thenodes_plugin_api import (
    Body,
    DeliveryAck,
    DeliveryClass,
    DeliveryMetadata,
    DeliveryOutcome,
    DeliveryStatus,
    Message,
    OutboxFull,
    Text,
)

ID = uuid.UUID(int=7)
STORED = DeliveryOutcome(DeliveryStatus.STORED, "relay", ID)


@pytest.fixture
def expected(counters: Counters, clock: ManualClock) -> Confirmations:
    return Confirmations(counters, clock)


async def wait(expected: Confirmations, seconds: float = 5.0) -> DeliveryOutcome:
    with expected.expect("b", ID.bytes) as word:
        return await word.wait(STORED, seconds)


async def test_a_message_is_delivered_when_its_receiver_says_so(
    expected: Confirmations, counters: Counters
) -> None:
    waiting = asyncio.ensure_future(wait(expected))
    await settle()

    expected.arrived("b", DeliveryAck(ID, "ok"))

    assert await waiting == DeliveryOutcome(DeliveryStatus.DELIVERED, "relay", ID)
    assert counters.get("confirmations_received") == 1


async def test_a_word_that_came_before_anybody_waited_counts(expected: Confirmations) -> None:
    with expected.expect("b", ID.bytes) as word:
        expected.arrived("b", DeliveryAck(ID, "ok"))

        assert (await word.wait(STORED, 1.0)).status is DeliveryStatus.DELIVERED


async def test_without_a_word_the_outcome_is_as_it_was(
    expected: Confirmations, clock: ManualClock, counters: Counters
) -> None:
    waiting = asyncio.ensure_future(wait(expected, 5.0))
    await clock.advance(4.9)
    assert not waiting.done()
    await clock.advance(0.2)

    assert await waiting == STORED
    expected.arrived("b", DeliveryAck(ID, "ok"))
    assert counters.get("confirmations_dropped", reason="not_expected") == 1


async def test_only_the_receivers_word_counts(expected: Confirmations, counters: Counters) -> None:
    waiting = asyncio.ensure_future(wait(expected))
    await settle()

    expected.arrived("mallory", DeliveryAck(ID, "ok"))
    expected.arrived("b", DeliveryAck(uuid.UUID(int=8), "ok"))
    await settle()

    assert not waiting.done()
    assert counters.get("confirmations_dropped", reason="not_expected") == 2
    waiting.cancel()


async def test_a_word_that_comes_twice_counts_once(
    expected: Confirmations, counters: Counters
) -> None:
    with expected.expect("b", ID.bytes):
        expected.arrived("b", DeliveryAck(ID, "ok"))
        expected.arrived("b", DeliveryAck(ID, "ok"))

    assert counters.get("confirmations_received") == 1


async def test_no_more_are_waited_for_than_fit(
    expected: Confirmations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirmations, "_MOST_WAITING", 2)
    with expected.expect("b", b"1"), expected.expect("b", b"2"):
        with pytest.raises(OutboxFull, match="2 messages wait to be confirmed"):
            expected.expect("b", b"3")
    with expected.expect("b", b"3"):
        pass


class Post:
    """Sends words, but not to `full`, and to nobody while it is held."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Body]] = []
        self.held = asyncio.Event()
        self.held.set()

    async def send(self, to: str, body: Body) -> None:
        await self.held.wait()
        if to == "full":
            raise OutboxFull("full takes nothing")
        self.sent.append((to, body))


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
async def confirmer(
    post: Post, dispatcher: Dispatcher, counters: Counters, clock: ManualClock
) -> AsyncIterator[Confirmer]:
    async with Supervisor(dispatcher, counters, clock) as supervisor:
        yield Confirmer(post.send, supervisor, counters)


def asked(delivery_class: DeliveryClass) -> Message:
    return Message(Text("hi"), sender="b", delivery=DeliveryMetadata(ID, delivery_class))


@pytest.mark.parametrize(
    "message",
    [Message(Text("hi"), sender="b"), asked(DeliveryClass.FIRE_AND_FORGET)],
    ids=["without delivery data", "fire and forget"],
)
async def test_nobody_is_told_who_does_not_ask(confirmer: Confirmer, message: Message) -> None:
    assert confirmer.follow(message) is None


async def test_who_asks_is_told_when_plugins_had_it(
    confirmer: Confirmer, post: Post, counters: Counters
) -> None:
    tracked = confirmer.follow(asked(DeliveryClass.RELIABLE))
    assert tracked is not None
    await settle()
    assert post.sent == []

    tracked.end(Fate.HAD)
    await settle()

    assert post.sent == [("b", DeliveryAck(ID, "ok"))]
    assert counters.get("confirmations_sent") == 1


@pytest.mark.parametrize("fate", [Fate.DROPPED, Fate.UNCLAIMED])
async def test_nobody_is_told_of_what_no_plugin_had(
    confirmer: Confirmer, post: Post, fate: Fate
) -> None:
    tracked = confirmer.follow(asked(DeliveryClass.ORDERED_RELIABLE))
    assert tracked is not None

    tracked.end(fate)
    await settle()

    assert post.sent == []


async def test_words_go_out_in_order_and_one_that_cannot_is_counted(
    confirmer: Confirmer, post: Post, counters: Counters
) -> None:
    for number, to in enumerate(("b", "full", "c")):
        confirmer.confirm(to, uuid.UUID(int=number))
    await settle()

    assert [to for to, _ in post.sent] == ["b", "c"]
    assert counters.get("confirmations_dropped", reason="not_sent") == 1

    confirmer.confirm("d", ID)
    await settle()
    assert post.sent[-1] == ("d", DeliveryAck(ID, "ok"))


async def test_many_words_do_not_hold_up_the_others(confirmer: Confirmer, post: Post) -> None:
    seen: list[int] = []
    for number in range(1000):
        confirmer.confirm("b", uuid.UUID(int=number))

    async def look() -> None:
        while len(post.sent) < 1000:
            seen.append(len(post.sent))
            await asyncio.sleep(0)

    await look()

    assert len([count for count in seen if 0 < count < 1000]) >= 3


async def test_words_that_have_no_room_are_dropped_and_counted(
    confirmer: Confirmer, post: Post, counters: Counters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirmations, "_MOST_UNSENT", 2)
    post.held.clear()

    for number in range(3):
        confirmer.confirm("b", uuid.UUID(int=number))
    post.held.set()
    await settle()

    assert len(post.sent) == 2
    assert counters.get("confirmations_dropped", reason="overload") == 1
