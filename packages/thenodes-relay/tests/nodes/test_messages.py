"""Messages between nodes that share nothing but a relay."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from thenodes_plugin_api import (
    DeliveryOptions,
    DeliveryStatus,
    NoRoute,
    Payload,
    QoS,
    Reason,
    Text,
    Verified,
)

from .town import User, town


async def test_a_message_goes_through_a_relay_sealed_and_with_its_sender_proven(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as made:
        relay = await made.relay()
        alice, bob = await made.user("alice"), await made.user("bob")
        await made.clock.advance(1)
        sent = await made.result(
            alice.inbox.ctx.send(bob.node.id, Text("hello"), Payload.text("hello"))
        )
        await made.until(lambda: bob.inbox.messages)

        (message,) = bob.inbox.messages
        assert (sent.status, sent.relay) == (DeliveryStatus.SENT, relay.id)
        assert (message.sender, message.verified) == (alice.node.id, Verified.SEAL)
        assert relay.counters.snapshot()["relay_forwarded"] == 1


async def test_a_reliable_message_is_stored_for_a_node_that_is_away_and_arrives_later(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as made:
        relay = await made.relay(stores=True)
        alice, bob = await made.user("alice"), await made.user("bob")
        await made.until(lambda: mailboxes(relay.counters.snapshot()) >= 2)
        name = bob.node.id
        await made.stop("bob")
        sending = [await made.result(reliable(alice, name, f"{number}")) for number in range(3)]
        bob = await made.user("bob")
        await made.until(lambda: len(bob.inbox.messages) == 3)

        assert sending == [DeliveryStatus.STORED] * 3
        assert bob.inbox.texts() == ["0", "1", "2"]
        await made.until(lambda: relay.counters.snapshot().get("relay_acked") == 3)


def mailboxes(counters: object) -> int:
    assert isinstance(counters, dict)
    return int(counters.get("relay_bound", 0))


async def reliable(user: User, to: str, text: str) -> DeliveryStatus:
    """Send a reliable message."""
    options = DeliveryOptions(qos=QoS.RELIABLE)
    outcome = await user.inbox.ctx.send(
        to, Text(text), Payload.text(text), options=options, timeout_seconds=30.0
    )
    return outcome.status


async def test_reliable_messages_come_once_and_in_order_while_links_are_cut(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        relay = await made.relay(stores=True)
        alice, bob = await made.user("alice"), await made.user("bob")
        await made.until(lambda: mailboxes(relay.counters.snapshot()) >= 2)
        texts = [f"{number}" for number in range(60)]
        told: list[DeliveryStatus] = []

        async def send_all() -> None:
            for text in texts:
                told.append(await reliable(alice, bob.node.id, text))
                await made.clock.sleep(0.2)

        async def cut() -> None:
            while True:
                await made.clock.sleep(2)
                made.network.cut_in_message()

        cutting = asyncio.ensure_future(cut())
        await made.result(send_all(), 300)
        cutting.cancel()
        await made.until(lambda: len(bob.inbox.messages) >= len(texts), 60)
        await made.clock.advance(5)

        assert bob.inbox.texts() == texts
        assert set(told) == {DeliveryStatus.STORED}
        assert relay.counters.get("relay_stored") >= len(texts)


async def test_reliable_messages_come_once_also_where_their_relay_dies(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        relays = {name: await made.relay(name, stores=True) for name in ("relay-a", "relay-b")}
        alice = await made.user("alice", *relays)
        bob = await made.user("bob", *relays)
        await made.until(
            lambda: all(mailboxes(relay.counters.snapshot()) >= 2 for relay in relays.values())
        )
        told: list[DeliveryStatus] = []

        async def send_all() -> None:
            for number in range(30):
                told.append(await reliable(alice, bob.node.id, f"{number}"))
                await made.clock.sleep(0.1)

        sending = asyncio.ensure_future(send_all())
        await made.until(lambda: len(bob.inbox.messages) >= 10, 30)
        used = max(relays, key=lambda name: relays[name].counters.get("relay_stored"))
        made.kill(used)
        await made.until(sending.done, 60)
        await made.until(lambda: len(bob.inbox.messages) >= 29, 30)
        await made.clock.advance(5)

        texts = bob.inbox.texts()
        assert len(set(texts)) == len(texts)
        # One may be stored at the relay that is dead.
        assert len(texts) >= 29
        assert set(told) == {DeliveryStatus.STORED}
        (other,) = (relay for name, relay in relays.items() if name != used)
        assert other.counters.get("relay_stored") >= 10


async def test_a_sender_finds_the_relay_that_its_receiver_uses(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        relays = {name: await made.relay(name) for name in ("relay-a", "relay-b")}
        alice, bob = await made.user("alice", *relays), await made.user("bob", "relay-b")
        await made.until(lambda: mailboxes(relays["relay-b"].counters.snapshot()) >= 2)
        sent = await made.result(
            alice.inbox.ctx.send(bob.node.id, Text("hello"), Payload.text("hello"))
        )
        await made.until(lambda: bob.inbox.messages)

        assert sent.relay == relays["relay-b"].id
        assert relays["relay-a"].counters.get("relay_forwarded") == 0
        assert relays["relay-b"].counters.get("relay_forwarded") == 1


async def test_a_question_is_answered_through_the_relay(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        relay = await made.relay()
        alice, bob = await made.user("alice"), await made.user("bob")
        await made.until(lambda: mailboxes(relay.counters.snapshot()) >= 2)
        answer = await made.result(
            alice.inbox.ctx.request(bob.node.id, "inbox.ask", Payload.text("how are you"))
        )

        assert answer.payload is not None
        assert answer.payload.as_text() == "how are you"
        assert (answer.sender, answer.verified) == (bob.node.id, Verified.SEAL)
        assert relay.counters.get("relay_forwarded") == 2


async def test_a_receiver_s_word_comes_back_through_the_relay(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        relay = await made.relay(stores=True)
        alice, bob = await made.user("alice"), await made.user("bob")
        await made.until(lambda: mailboxes(relay.counters.snapshot()) >= 2)
        options = DeliveryOptions(qos=QoS.RELIABLE, confirm=True)
        outcome = await made.result(
            alice.inbox.ctx.send(bob.node.id, Text(""), options=options, timeout_seconds=20.0), 30.0
        )

        assert outcome.status is DeliveryStatus.DELIVERED
        assert len(bob.inbox.messages) == 1
        assert relay.counters.get("relay_acked") == 1


async def test_what_a_relay_refuses_is_told_to_the_sender(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        relay = await made.relay()
        alice = await made.user("alice")
        await made.clock.advance(10)
        with pytest.raises(NoRoute) as error:
            await made.result(alice.inbox.ctx.send("nobody", Text("hello")))

        assert error.value.reason is Reason.UNKNOWN_TARGET
        assert relay.counters.get("relay_forwarded") == 0
