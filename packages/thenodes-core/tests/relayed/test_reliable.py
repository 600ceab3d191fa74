"""Reliable messages from relays: once to plugins, and the word on each."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from thenodes_core.clock import settle
from thenodes_core.events.counters import Counters
from thenodes_core.events.dispatcher import Dispatcher
from thenodes_core.plugins.tracked import Fate
from thenodes_plugin_api import (
    DeliveryAck,
    DeliveryClass,
    DeliveryMetadata,
    Extension,
    Message,
    QoS,
    Reason,
    Settled,
    Text,
)
from thenodes_plugin_api.service import DeliveryHeader, Frame

RELIABLE = str(QoS.RELIABLE)
OK, DUP = Settled("ok"), Settled("dup")


def name(number: int) -> bytes:
    return number.to_bytes(16, "big")


def asking(number: int = 1, delivery_class: DeliveryClass = DeliveryClass.RELIABLE) -> Message:
    """A message whose sender asks for the receiver's own word."""
    return Message(
        Text("hello"),
        delivery=DeliveryMetadata(uuid.UUID(bytes=name(number)), delivery_class),
    )


async def written(receiver: Any, count: int) -> None:
    """Wait until that much is settled; the writer is a thread."""
    async with asyncio.timeout(10):
        while len(receiver.settled) < count:
            await asyncio.sleep(0)


async def had(receiver: Any, *fates: Fate) -> None:
    """Let plugins be done with what they got, in order."""
    before = len(receiver.settled)
    for item, fate in zip(receiver.plugins.tracked[: len(fates)], fates, strict=True):
        item.end(fate)
    del receiver.plugins.tracked[: len(fates)]
    await written(receiver, before + fates.count(Fate.HAD))


async def test_a_reliable_message_is_acknowledged_when_plugins_had_it_and_that_is_on_disk(
    bob: Any, alice: Any
) -> None:
    assert len(bob.deliver(bob.seal(alice, qos=RELIABLE))) == 1
    assert bob.settled == []
    bob.plugins.tracked[0].end(Fate.HAD)
    assert bob.settled == []

    await written(bob, 1)

    assert bob.settled == [(name(1), OK)]
    assert bob.dropped() == {}


async def test_what_comes_again_while_plugins_have_it_waits_for_the_same_word(
    bob: Any, alice: Any
) -> None:
    frame = bob.seal(alice, qos=RELIABLE)

    assert len(bob.deliver(frame, frame)) == 1
    assert bob.deliver(frame) == []
    assert bob.settled == []
    await had(bob, Fate.HAD)

    assert bob.settled == [(name(1), OK), (name(1), DUP), (name(1), DUP)]
    assert bob.dropped() == {"duplicate": 2}


async def test_of_those_that_wait_for_a_word_the_last_few_are_kept(bob: Any, alice: Any) -> None:
    frame = bob.seal(alice, qos=RELIABLE)

    bob.deliver(*[frame] * 100)
    await had(bob, Fate.HAD)

    assert [settled.status for _, settled in bob.settled] == ["ok", "dup", "dup", "dup"]


async def test_what_comes_again_after_that_is_acknowledged_and_not_given_to_plugins(
    bob: Any, alice: Any
) -> None:
    frame = bob.seal(alice, qos=RELIABLE)
    bob.deliver(frame)
    await had(bob, Fate.HAD)

    assert bob.deliver(frame) == []

    assert bob.settled == [(name(1), OK), (name(1), DUP)]


async def test_a_restarted_node_knows_what_its_plugins_had(
    bob: Any, alice: Any, tmp_path: Path, dispatcher: Dispatcher
) -> None:
    frames = [bob.seal(alice, qos=RELIABLE, number=number) for number in (1, 2)]
    bob.deliver(*frames)
    await had(bob, Fate.HAD)
    bob.received.__exit__(None, None, None)

    again = type(bob)(tmp_path, dispatcher, Counters())
    with again.received:
        # The second one was sent, and nobody said that plugins had it.
        assert len(again.deliver(*frames)) == 1
        await had(again, Fate.HAD)

    assert again.settled == [(name(1), DUP), (name(2), OK)]


async def test_what_no_plugin_had_room_for_is_not_acknowledged_and_may_come_again(
    bob: Any, alice: Any
) -> None:
    frame = bob.seal(alice, qos=RELIABLE)
    bob.deliver(frame)
    await had(bob, Fate.DROPPED)
    await settle()

    assert bob.settled == []
    assert bob.dropped() == {"not_taken": 1}
    assert len(bob.deliver(frame)) == 1


async def test_what_is_for_no_plugin_is_told_to_its_origin(bob: Any, alice: Any) -> None:
    bob.deliver(bob.seal(alice, Message(Extension("chat.say")), qos=RELIABLE))

    await had(bob, Fate.UNCLAIMED)

    ((_, settled),) = bob.settled
    assert (settled.status, settled.reason) == ("error", Reason.CAPABILITY_MISSING)
    assert bob.dropped() == {"not_taken": 1}


async def test_beyond_what_can_be_remembered_frames_stay_unacknowledged(
    tmp_path: Path,
    dispatcher: Dispatcher,
    counters: Counters,
    bob: Any,
    make_alice: Callable[[Any], Any],
) -> None:
    small = type(bob)(tmp_path, dispatcher, counters, most_ids=8)
    alice, carol = make_alice(small), make_alice(small)
    frames = [small.seal(alice, qos=RELIABLE, number=number) for number in range(1, 4)]

    assert len(small.deliver(*frames)) == 2
    assert len(small.deliver(small.seal(carol, qos=RELIABLE))) == 1
    assert small.settled == []
    assert small.dropped() == {"received_full": 1}
    # Once plugins let go of another, it has room.
    await had(small, Fate.DROPPED)
    assert len(small.deliver(frames[2])) == 1


async def test_an_id_that_cannot_be_written_is_not_acknowledged_and_not_handed_on_twice(
    bob: Any, alice: Any, tmp_path: Path
) -> None:
    path = tmp_path / "received.sqlite3"
    path.mkdir()
    frame = bob.seal(alice, qos=RELIABLE)
    bob.deliver(frame)
    bob.plugins.tracked.pop().end(Fate.HAD)
    async with asyncio.timeout(10):
        while bob.inbound._reliable._handled:
            await asyncio.sleep(0)
    assert bob.settled == []

    path.rmdir()
    assert bob.deliver(frame) == []
    await written(bob, 1)

    assert bob.settled == [(name(1), OK)]
    bob.received.__exit__(None, None, None)


async def test_one_message_of_two_qualities_is_two(bob: Any, alice: Any) -> None:
    # The quality is sealed in, so only its own sender can do that.
    frames = [bob.seal(alice), bob.seal(alice, qos=RELIABLE)]

    assert len(bob.deliver(*frames)) == 2


async def test_a_sender_that_asks_hears_from_this_node(bob: Any, alice: Any) -> None:
    frame = bob.seal(alice, asking(), qos=RELIABLE)

    (message,) = bob.deliver(frame)
    assert bob.to_confirm == []
    await had(bob, Fate.HAD)

    assert bob.to_confirm == [message]
    assert message.delivery == DeliveryMetadata(
        uuid.UUID(bytes=name(1)),
        DeliveryClass.RELIABLE,
        created_at=frame.header.delivery.created_at,
        expires_at=frame.header.delivery.expires_at,
    )
    # Its word may have been lost.
    bob.deliver(frame)
    assert len(bob.to_confirm) == 2


async def test_nobody_hears_of_what_plugins_had_not(bob: Any, alice: Any) -> None:
    bob.deliver(bob.seal(alice, asking(), qos=RELIABLE))
    await had(bob, Fate.DROPPED)
    bob.deliver(bob.seal(alice, qos=RELIABLE, number=2))
    await had(bob, Fate.HAD)

    assert bob.to_confirm == []


async def test_who_asks_for_a_word_sends_reliably(bob: Any, alice: Any) -> None:
    assert bob.deliver(bob.seal(alice, asking())) == []
    assert bob.deliver(bob.seal(alice, asking(number=3), number=2, qos=RELIABLE)) == []
    assert bob.dropped() == {"bad_frame": 2}


async def test_delivery_data_that_asks_for_nothing_may_be_enclosed(bob: Any, alice: Any) -> None:
    plain = asking(delivery_class=DeliveryClass.FIRE_AND_FORGET)

    assert len(bob.deliver(bob.seal(alice, plain))) == 1


async def test_a_word_of_delivery_may_come_reliably(bob: Any, alice: Any) -> None:
    word = Message(DeliveryAck(uuid.UUID(int=5), "ok"))
    frame = bob.seal(alice, word, qos=RELIABLE)

    assert bob.deliver(frame) == []
    await written(bob, 1)
    bob.deliver(frame)

    assert bob.settled == [(name(1), OK), (name(1), DUP)]
    assert [message.body for message in bob.confirmed] == [word.body]


async def test_a_frame_that_names_no_qos_is_answered_as_a_reliable_one(
    bob: Any, alice: Any
) -> None:
    frames = bob.seal(alice, qos=None), bob.seal(alice, number=2, qos=None, life_ms=0)
    await bob.clock.advance(0.001)

    assert len(bob.deliver(*frames, frames[0])) == 1
    await had(bob, Fate.HAD)
    bob.deliver(frames[0])

    (number, refused), *others = bob.settled
    assert (number, refused.status, refused.reason) == (name(2), "error", Reason.TIMEOUT)
    assert others == [(name(1), OK), (name(1), DUP), (name(1), DUP)]


async def test_a_word_of_delivery_is_not_confirmed_itself(bob: Any, alice: Any) -> None:
    word = structs.replace(asking(), body=DeliveryAck(uuid.UUID(int=5), "ok"))

    bob.deliver(bob.seal(alice, word, qos=RELIABLE))
    await written(bob, 1)

    assert (len(bob.confirmed), bob.to_confirm) == (1, [])


async def test_a_reliable_frame_without_delivery_data_is_handed_on_each_time(
    open_bob: Any,
) -> None:
    frame = open_bob.unsealed("alice", qos=RELIABLE, delivery=None)

    assert len(open_bob.deliver(frame, frame)) == 2
    await had(open_bob, Fate.HAD, Fate.DROPPED)

    assert open_bob.settled == [(b"", OK)]


def uuid7(at_ms: int) -> bytes:
    return at_ms.to_bytes(6, "big") + bytes(10)


@pytest.mark.parametrize("with_date", [True, False])
async def test_a_reliable_frame_without_an_end_is_known_again(
    with_date: bool, open_bob: Any
) -> None:
    def again() -> Frame:
        made_at = open_bob.now_ms if with_date else None
        delivery = DeliveryHeader(uuid7(MADE_AT), created_at=made_at and MADE_AT)
        frame: Frame = open_bob.unsealed("alice", qos=RELIABLE, delivery=delivery)
        return frame

    assert len(open_bob.deliver(again())) == 1
    await had(open_bob, Fate.HAD)
    await open_bob.clock.advance(86_400)

    assert open_bob.deliver(again()) == []


MADE_AT = 1_800_000_000_000


async def test_a_reliable_frame_that_says_nothing_of_its_time_is_refused(open_bob: Any) -> None:
    frame = open_bob.unsealed("alice", qos=RELIABLE, delivery=DeliveryHeader(bytes(16)))

    assert open_bob.deliver(frame) == []
    assert open_bob.dropped() == {"over_age": 1}


async def test_an_unsealed_frame_takes_nobodys_id(
    open_bob: Any, make_alice: Callable[[Any], Any]
) -> None:
    alice = make_alice(open_bob)
    assert len(open_bob.deliver(open_bob.unsealed(alice.node_id, qos=RELIABLE))) == 1

    assert len(open_bob.deliver(open_bob.seal(alice, qos=RELIABLE))) == 1
