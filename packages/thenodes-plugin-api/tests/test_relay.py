"""The builders, as plugin authors write them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from thenodes_plugin_api import (
    DeliveryOptions,
    DeliveryOutcome,
    DeliveryStatus,
    Extension,
    Heartbeat,
    KindNotAllowed,
    Payload,
    QoS,
    Reason,
    RelayBindAck,
    RelayBindBuilder,
    RelayForwardBuilder,
    Text,
)
from thenodes_plugin_api.testing import Bound, Forwarded, RecordingContext, make_peer

GRANTED = RelayBindAck(ok=True, binding_id="bind:me:target:1", peer_present=False)
STORED = DeliveryOutcome(DeliveryStatus.STORED, relay="relay")


@pytest.fixture
def ctx() -> RecordingContext:
    context = RecordingContext(node_id="me")
    context.relay.answer_bind(GRANTED)
    context.relay.answer_forward(STORED)
    return context


async def test_a_bind_asks_for_what_was_said_and_gets_the_ack(ctx: RecordingContext) -> None:
    relay = "relay"

    ack = (
        await RelayBindBuilder("me", "target")
        .store_forward(True)
        .qos("reliable")
        .ttl(3600)
        .send(ctx, relay)
    )

    assert ack == GRANTED
    assert ctx.relay.binds == [Bound("relay", "target", True, QoS.RELIABLE, 3600)]


async def test_a_bind_of_which_nothing_is_said_asks_for_little(ctx: RecordingContext) -> None:
    await RelayBindBuilder("me", "*").send(ctx, "relay")

    assert ctx.relay.binds == [Bound("relay", "*", False, QoS.HIGH_THROUGHPUT, None)]


async def test_a_relay_may_be_given_as_the_connected_peer(ctx: RecordingContext) -> None:
    peer = make_peer("relay", capabilities=("relay",))

    await RelayBindBuilder("me", "target").send(ctx, peer)
    await RelayForwardBuilder("me", "to").payload_text("hi").send(ctx, peer)

    assert [bound.relay for bound in ctx.relay.binds] == ["relay"]
    assert [forwarded.relay for forwarded in ctx.relay.forwards] == ["relay"]


async def test_a_refusal_is_an_answer_and_no_error(ctx: RecordingContext) -> None:
    ctx.relay.answer_bind(RelayBindAck(ok=False, reason=Reason.POLICY_DENIED), relay="strict")

    ack = await RelayBindBuilder("me", "target").send(ctx, "strict")

    assert (ack.ok, ack.reason) == (False, Reason.POLICY_DENIED)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (lambda builder: builder.payload_text("hi"), Payload.text("hi")),
        (lambda builder: builder.payload_json({"n": 1}), Payload.json({"n": 1})),
        (lambda builder: builder.payload_binary(b"\x00"), Payload.binary(b"\x00")),
    ],
    ids=["text", "json", "binary"],
)
async def test_a_forward_carries_its_payload_and_number(
    ctx: RecordingContext,
    payload: Callable[[RelayForwardBuilder], RelayForwardBuilder],
    expected: Payload,
) -> None:
    outcome = await payload(RelayForwardBuilder("me", "to").sequence(42)).send(ctx, "relay")

    assert outcome == STORED
    assert ctx.relay.forwards == [
        Forwarded("relay", "to", Text(""), expected, 42, DeliveryOptions())
    ]


async def test_a_forward_asks_for_the_delivery_that_was_said(ctx: RecordingContext) -> None:
    await (
        RelayForwardBuilder("me", "to")
        .body(Extension("my.x"))
        .qos("bulk")
        .store_forward(False)
        .ttl(5)
        .send(ctx, "relay")
    )
    await RelayForwardBuilder("me", "to").confirm().send(ctx, "relay")

    bulk, confirmed = ctx.relay.forwards
    assert bulk.body == Extension("my.x")
    assert bulk.options == DeliveryOptions(qos=QoS.BULK, store=False, ttl_seconds=5)
    assert confirmed.options == DeliveryOptions(qos=QoS.RELIABLE, confirm=True)


async def test_a_kind_of_the_node_is_not_forwarded(ctx: RecordingContext) -> None:
    with pytest.raises(KindNotAllowed, match="HEARTBEAT"):
        await RelayForwardBuilder("me", "to").body(Heartbeat()).send(ctx, "relay")

    assert ctx.refused == [Heartbeat()]
    assert ctx.relay.forwards == []


async def test_nobody_speaks_for_another_node(ctx: RecordingContext) -> None:
    with pytest.raises(ValueError, match="'you' is not this node's id"):
        await RelayBindBuilder("you", "target").send(ctx, "relay")
    with pytest.raises(ValueError, match=r"begin with ctx\.node_id"):
        await RelayForwardBuilder("you", "to").send(ctx, "relay")

    assert (ctx.relay.binds, ctx.relay.forwards) == ([], [])


@pytest.mark.parametrize("number", [-1, 1 << 63])
def test_a_sequence_fits_into_63_bits(number: int) -> None:
    RelayForwardBuilder("me", "to").sequence((1 << 63) - 1)

    with pytest.raises(ValueError, match="sequence"):
        RelayForwardBuilder("me", "to").sequence(number)


@pytest.mark.parametrize("builder", [RelayBindBuilder("me", "x"), RelayForwardBuilder("me", "x")])
def test_a_mistake_shows_where_it_is_made(
    builder: RelayBindBuilder | RelayForwardBuilder,
) -> None:
    with pytest.raises(ValueError, match="'fast' is not a valid QoS"):
        builder.qos("fast")
    with pytest.raises(ValueError, match="ttl of 0 seconds"):
        builder.ttl(0)


def test_what_has_no_json_form_is_refused_at_once() -> None:
    with pytest.raises(TypeError):
        RelayForwardBuilder("me", "to").payload_json(object())
