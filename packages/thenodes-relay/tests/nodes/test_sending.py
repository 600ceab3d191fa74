"""What plugins and programs get of sending where no session leads."""

from __future__ import annotations

from pathlib import Path

import pytest

from thenodes_core import Node
from thenodes_plugin_api import (
    DeliveryOptions,
    DeliveryStatus,
    Extension,
    Message,
    NoRoute,
    Payload,
    PluginContext,
    QoS,
    Reason,
    RelayBindBuilder,
    RelayForwardBuilder,
    Text,
    Verified,
)

from .town import Town, User, town

CONFIRM = DeliveryOptions(qos=QoS.RELIABLE, confirm=True)


async def pair(made: Town) -> tuple[Node, User, User]:
    """A relay that stores, and alice and bob with their mailboxes."""
    relay = await made.relay(stores=True)
    alice, bob = await made.user("alice"), await made.user("bob")
    await made.until(lambda: relay.counters.get("relay_bound") >= 2)
    return relay, alice, bob


def answering(user: User, reply: str) -> None:
    """Let a user answer every question."""

    async def on_message(message: Message, ctx: PluginContext) -> None:
        user.inbox.messages.append(message)
        await ctx.reply(message, Payload.text(reply))

    user.inbox.on_message = on_message  # type: ignore[method-assign]


async def test_a_question_is_answered_through_the_relay(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        relay, alice, bob = await pair(made)
        answering(bob, "yes")

        answer = await made.result(
            alice.inbox.ctx.request(bob.node.id, "inbox.ask", Payload.text("?"))
        )

        assert answer.payload == Payload.text("yes")
        assert (answer.sender, answer.verified) == (bob.node.id, Verified.SEAL)
        assert relay.counters.get("relay_forwarded") == 2


async def test_a_confirmed_message_is_delivered_through_the_relay(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        relay, alice, bob = await pair(made)

        outcome = await made.result(alice.inbox.ctx.send(bob.node.id, Text("hi"), options=CONFIRM))

        assert (outcome.status, outcome.relay) == (DeliveryStatus.DELIVERED, relay.id)
        assert [message.body for message in bob.inbox.messages] == [Text("hi")]
        assert bob.node.counters.get("confirmations_sent") == 1
        await made.until(lambda: relay.counters.get("relay_acked") == 1)


async def test_a_message_that_is_confirmed_too_late_is_stored(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        relay, alice, bob = await pair(made)
        await made.stop("bob")

        outcome = await made.result(
            alice.inbox.ctx.send(bob.node.id, Text("hi"), options=CONFIRM, timeout_seconds=3.0)
        )

        assert outcome.status is DeliveryStatus.STORED
        assert relay.counters.get("relay_stored") == 1


async def test_a_program_sends_through_the_relay_as_its_plugins_do(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        relay, alice, bob = await pair(made)

        outcome = await made.result(alice.node.send(bob.node.id, Extension("inbox.x")))
        await made.until(lambda: bob.inbox.messages)
        confirmed = await made.result(alice.node.send(bob.node.id, Text("hi"), options=CONFIRM))

        assert (outcome.status, outcome.relay) == (DeliveryStatus.SENT, relay.id)
        assert confirmed.status is DeliveryStatus.DELIVERED
        assert relay.counters.get("relay_forwarded") >= 1


async def test_the_builders_bind_and_send(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        relay, alice, bob = await pair(made)
        ctx, to = alice.inbox.ctx, bob.node.id

        ack = await made.result(
            RelayBindBuilder(ctx.node_id, to).store_forward(True).qos("bulk").send(ctx, relay.id)
        )
        sent = await made.result(
            RelayForwardBuilder(ctx.node_id, to).sequence(42).payload_text("hi").send(ctx, relay.id)
        )
        await made.until(lambda: bob.inbox.messages)

        assert ack.ok
        assert (sent.status, sent.relay) == (DeliveryStatus.SENT, relay.id)
        assert bob.inbox.texts() == ["hi"]
        assert relay.counters.get("relay_forwarded") == 1


async def test_a_node_that_no_relay_knows_is_not_reached(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        relay, alice, _ = await pair(made)

        with pytest.raises(NoRoute) as caught:
            await made.result(alice.inbox.ctx.send("nobody", Text("hi")), 20)
        forwarded = await made.result(
            RelayForwardBuilder(alice.node.id, "nobody")
            .payload_text("hi")
            .send(alice.inbox.ctx, relay.id),
            20,
        )

        assert caught.value.reason is Reason.UNKNOWN_TARGET
        assert (forwarded.status, forwarded.reason) == (
            DeliveryStatus.REFUSED,
            Reason.UNKNOWN_TARGET,
        )
        assert relay.counters.get("relay_refused_binds", reason="unknown_target") >= 1
