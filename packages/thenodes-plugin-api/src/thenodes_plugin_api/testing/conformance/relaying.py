"""How far a message has come, and what a plugin gets where there are no relays."""

from __future__ import annotations

import asyncio

from ...context import PluginContext
from ...delivery import DeliveryOptions, DeliveryOutcome, DeliveryStatus, QoS
from ...errors import KindNotAllowed, NoRoute, NotAService
from ...messages import Body, Disconnect, Heartbeat, Message, Reason, RelayNotify, Text
from ...relay import RelayBindBuilder, RelayForwardBuilder
from .rig import Behaviour, Rig, Spec, raises

__all__ = ["RELAYING"]

CONFIRM = DeliveryOptions(qos=QoS.RELIABLE, confirm=True)


async def send_says_that_a_message_is_on_its_way(rig: Rig) -> None:
    """On a session there is no relay and no id to name it by, whatever is asked of relays."""
    (one,) = await rig.start("a", Spec("one"))
    await rig.start("b", Spec("far"))

    for options in (None, DeliveryOptions(qos=QoS.RELIABLE, ttl_seconds=60.0)):
        outcome = await one.ctx.send("b", Text("hi"), options=options)

        assert outcome == DeliveryOutcome(DeliveryStatus.SENT)
        assert outcome.ok


async def a_confirmed_message_is_delivered_once_its_plugins_had_it(rig: Rig) -> None:
    """All of them, and not before."""
    (one,) = await rig.start("a", Spec("one"))
    far, _ = await rig.start("b", Spec("far"), Spec("other"))
    gate = asyncio.Event()

    async def wait(message: Message, ctx: PluginContext) -> None:
        await gate.wait()

    far.then = wait
    sending = asyncio.ensure_future(one.ctx.send("b", Text("hi"), options=CONFIRM))
    await rig.settle()
    assert far.bodies == [Text("hi")]
    assert not sending.done()
    gate.set()
    await rig.settle()

    assert (await sending).status is DeliveryStatus.DELIVERED


async def a_plugin_that_raises_had_the_message_all_the_same(rig: Rig) -> None:
    """It would raise again if the message came again."""
    (one,) = await rig.start("a", Spec("one"))
    (far,) = await rig.start("b", Spec("far"))

    async def fail(message: Message, ctx: PluginContext) -> None:
        raise LookupError("no such thing")

    far.then = fail
    sending = asyncio.ensure_future(one.ctx.send("b", Text("hi"), options=CONFIRM))
    await rig.settle()

    assert (await sending).status is DeliveryStatus.DELIVERED


async def a_message_whose_confirmation_is_late_was_sent(rig: Rig) -> None:
    """The plugins may well have it later."""
    (one,) = await rig.start("a", Spec("one"))
    (far,) = await rig.start("b", Spec("far"))
    gate = asyncio.Event()

    async def wait(message: Message, ctx: PluginContext) -> None:
        await gate.wait()

    far.then = wait
    sending = asyncio.ensure_future(
        one.ctx.send("b", Text("hi"), timeout_seconds=2.0, options=CONFIRM)
    )
    await rig.settle()
    await rig.advance(1.9)
    assert not sending.done()
    await rig.advance(0.2)

    assert (await sending).status is DeliveryStatus.SENT
    gate.set()


async def a_node_without_relays_says_so(rig: Rig) -> None:
    """With the builders as without them; nobody is left waiting."""
    (one,) = await rig.start("a", Spec("one"))
    await rig.start("b", Spec("far"))

    ack = await RelayBindBuilder("a", "c").store_forward(True).ttl(60).send(one.ctx, "b")
    outcome = await RelayForwardBuilder("a", "c").payload_text("hi").send(one.ctx, "b")

    assert (ack.ok, ack.reason) == (False, Reason.CAPABILITY_MISSING)
    assert (outcome.status, outcome.reason) == (
        DeliveryStatus.REFUSED,
        Reason.CAPABILITY_MISSING,
    )
    assert not outcome.ok
    assert outcome.detail


async def a_kind_of_the_node_may_not_be_forwarded(rig: Rig) -> None:
    """Nothing that a session is made of travels through a relay, and nothing nests."""
    (one,) = await rig.start("a", Spec("one"))
    bodies: list[Body] = [Heartbeat(), Disconnect(), RelayNotify(Reason.QUOTA)]

    for body in bodies:
        await raises(KindNotAllowed, one.ctx.relay.forward("b", "c", body))


async def the_number_of_a_frame_has_63_bits(rig: Rig) -> None:
    """As many as a database holds."""
    (one,) = await rig.start("a", Spec("one"))

    for number in (-1, 1 << 63):
        await raises(ValueError, one.ctx.relay.forward("b", "c", Text("hi"), sequence=number))


async def a_node_that_cannot_be_reached_is_told_with_a_reason(rig: Rig) -> None:
    """Where the node uses no relays, that there are none."""
    (one,) = await rig.start("a", Spec("one"))

    for sending in (one.ctx.send("nobody", Text("hi")), one.ctx.request("nobody", "one.ask")):
        error = await raises(NoRoute, sending)
        assert error.reason is Reason.CAPABILITY_MISSING
        assert "nobody" in str(error)


async def a_binding_holds_for_a_time_that_can_be(rig: Rig) -> None:
    """More than none, and at most thirty days."""
    (one,) = await rig.start("a", Spec("one"))

    for seconds in (0.0, -1.0, float("nan"), 30 * 24 * 3600.0 + 1):
        await raises(ValueError, one.ctx.relay.bind("b", "c", ttl_seconds=seconds))


async def a_plugin_that_is_no_service_has_no_such_door(rig: Rig) -> None:
    """Its manifest lacks the section."""
    (one,) = await rig.start("a", Spec("one"))

    await raises(NotAService, _open_door(one.ctx))


async def _open_door(ctx: PluginContext) -> object:
    return ctx.service


RELAYING: tuple[Behaviour, ...] = (
    send_says_that_a_message_is_on_its_way,
    a_confirmed_message_is_delivered_once_its_plugins_had_it,
    a_plugin_that_raises_had_the_message_all_the_same,
    a_message_whose_confirmation_is_late_was_sent,
    a_node_without_relays_says_so,
    a_node_that_cannot_be_reached_is_told_with_a_reason,
    a_kind_of_the_node_may_not_be_forwarded,
    the_number_of_a_frame_has_63_bits,
    a_binding_holds_for_a_time_that_can_be,
    a_plugin_that_is_no_service_has_no_such_door,
)
