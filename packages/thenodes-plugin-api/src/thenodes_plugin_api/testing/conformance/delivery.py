"""What reaches whom, and what may be sent."""

from __future__ import annotations

import asyncio
import uuid

from ...context import PluginContext
from ...errors import KindNotAllowed, NotConnected, PayloadTooLarge
from ...messages import (
    Body,
    DataRequest,
    DataResponse,
    DeliveryAck,
    Disconnect,
    Extension,
    Heartbeat,
    Message,
    PeerRequest,
    Reason,
    RelayNotify,
    Text,
    Verified,
)
from ...payload import Payload
from .rig import Behaviour, Rig, Spec, raises

__all__ = ["DELIVERY"]

ASK = "one.ask"


async def text_and_data_reach_every_plugin(rig: Rig) -> None:
    """Every kind that a plugin may send, but EXTENSION, is for all."""
    one, other = await rig.start("a", Spec("one"), Spec("other"))
    (far,) = await rig.start("b", Spec("far"))
    bodies: list[Body] = [Text("hi"), DataRequest(), DataResponse()]

    for body in bodies:
        await far.ctx.send("a", body, Payload.text("data"))
    await rig.settle()

    assert one.bodies == bodies
    assert other.bodies == bodies
    assert far.messages == []


async def text_reaches_who_reads_it(rig: Rig) -> None:
    """A plugin whose manifest says `text = false` gets the other kinds for all, but no TEXT."""
    reads, other = await rig.start("a", Spec("reads"), Spec("other", text=False))
    (far,) = await rig.start("b", Spec("far"))

    await far.ctx.send("a", Text("hi"))
    await far.ctx.send("a", DataRequest(b"one"))
    await rig.settle()

    assert reads.bodies == [Text("hi"), DataRequest(b"one")]
    assert other.bodies == [DataRequest(b"one")]


async def a_relays_word_reaches_every_plugin(rig: Rig) -> None:
    """RELAY_NOTIFY is for all, though no plugin may send it."""
    one, other = await rig.start("a", Spec("one"), Spec("other"))
    await rig.start("b", Spec("far"))

    await rig.send("b", "a", RelayNotify(Reason.OVERLOAD, detail="full"))

    assert one.bodies == other.bodies == [RelayNotify(Reason.OVERLOAD, detail="full")]


async def a_claimed_kind_reaches_its_plugin_alone(rig: Rig) -> None:
    """An exact claim, and one that ends in `.*`."""
    one, other = await rig.start(
        "a", Spec("one", handles=("one.*",)), Spec("other", handles=("single",))
    )
    (far,) = await rig.start("b", Spec("far"))

    for kind in ("one.x", "one.x.y", "single"):
        await far.ctx.send("a", Extension(kind))
    await rig.settle()

    assert one.bodies == [Extension("one.x"), Extension("one.x.y")]
    assert other.bodies == [Extension("single")]


async def a_kind_that_nobody_claims_is_dropped_and_counted(rig: Rig) -> None:
    """`one.*` claims neither `one` nor `ones.x`."""
    (one,) = await rig.start("a", Spec("one", handles=("one.*",)))
    (far,) = await rig.start("b", Spec("far"))

    for kind in ("one", "ones.x", "elsewhere"):
        await far.ctx.send("a", Extension(kind))
    await rig.settle()

    assert one.messages == []
    assert rig.dropped("a", "unclaimed_kind") == 3


async def what_is_for_the_node_reaches_no_plugin(rig: Rig) -> None:
    """Heartbeats and acknowledgements are not for plugins."""
    (one,) = await rig.start("a", Spec("one"))
    await rig.start("b", Spec("far"))

    await rig.send("b", "a", DeliveryAck(uuid.UUID(int=1)))
    await rig.send("b", "a", Heartbeat())

    assert one.messages == []


async def a_message_says_who_sent_it_and_how_that_was_proven(rig: Rig) -> None:
    """The sender is the session's peer; a direct message names no receiver."""
    (one,) = await rig.start("a", Spec("one"))
    (far,) = await rig.start("b", Spec("far"))

    await far.ctx.send("a", Text("hi"), Payload.json({"n": 1}))
    await far.ctx.broadcast(Text("all"))
    await rig.settle()

    assert one.messages == [
        Message(Text("hi"), Payload.json({"n": 1}), sender="b", verified=Verified.SESSION),
        Message(Text("all"), sender="b", verified=Verified.SESSION),
    ]


async def messages_keep_their_order(rig: Rig) -> None:
    """Of one sender to one plugin."""
    (one,) = await rig.start("a", Spec("one"))
    (far,) = await rig.start("b", Spec("far"))

    for number in range(200):
        await far.ctx.send("a", Text(str(number)))
    await rig.settle()

    assert one.bodies == [Text(str(number)) for number in range(200)]


async def a_broadcast_reaches_every_peer_and_not_its_sender(rig: Rig) -> None:
    """It says how many peers there are."""
    (one,) = await rig.start("a", Spec("one"))
    (two,) = await rig.start("b", Spec("two"))
    (three,) = await rig.start("c", Spec("three"))

    count = await one.ctx.broadcast(Text("hi"))
    await rig.settle()

    assert count == 2
    assert (one.bodies, two.bodies, three.bodies) == ([], [Text("hi")], [Text("hi")])


async def a_broadcast_to_nobody_reaches_nobody(rig: Rig) -> None:
    """And is no error."""
    (one,) = await rig.start("a", Spec("one"))

    assert await one.ctx.broadcast(Text("hi")) == 0


async def a_peer_that_is_not_connected_cannot_be_sent_to(rig: Rig) -> None:
    """Neither can the node itself."""
    (one,) = await rig.start("a", Spec("one"))

    for peer in ("nobody", "a"):
        await raises(NotConnected, one.ctx.send(peer, Text("hi")))
        await raises(NotConnected, one.ctx.request(peer, ASK))


async def a_kind_of_the_node_may_not_be_sent(rig: Rig) -> None:
    """Neither with `send` nor with `broadcast`, and whether or not anybody is connected."""
    (one,) = await rig.start("a", Spec("one"))
    await rig.start("b", Spec("far"))
    bodies: list[Body] = [Heartbeat(), Disconnect(), PeerRequest(1), RelayNotify(Reason.QUOTA)]

    for body in bodies:
        await raises(KindNotAllowed, one.ctx.send("b", body))
        await raises(KindNotAllowed, one.ctx.send("nobody", body))
        await raises(KindNotAllowed, one.ctx.broadcast(body))


async def a_frame_holds_256_kib_and_not_a_byte_more(rig: Rig) -> None:
    """Four bytes of length, four of head, the header, and the payload."""
    (one,) = await rig.start("a", Spec("one"))
    (far,) = await rig.start("b", Spec("far"))
    most = 256 * 1024 - 8 - len(b"\x94\xc0\xc0\xc0\xa2hi")

    await far.ctx.send("a", Text("hi"), Payload.binary(bytes(most)))
    too_large = Payload.binary(bytes(most + 1))
    await raises(PayloadTooLarge, far.ctx.send("a", Text("hi"), too_large))
    await raises(PayloadTooLarge, far.ctx.broadcast(Text("hi"), too_large))
    await rig.settle()

    assert [len(m.payload.data) for m in one.messages if m.payload is not None] == [most]


async def a_header_holds_4_kib_and_not_a_byte_more(rig: Rig) -> None:
    """A long text belongs into the payload."""
    (one,) = await rig.start("a", Spec("one"))
    (far,) = await rig.start("b", Spec("far"))
    most = 4 * 1024 - len(b"\x94\xc0\xc0\xc0\xda\x0f\xf9")

    await far.ctx.send("a", Text("x" * most))
    await raises(PayloadTooLarge, far.ctx.send("a", Text("x" * (most + 1))))
    await rig.settle()

    assert len(one.messages) == 1


async def what_a_slow_plugin_has_no_room_for_is_dropped_and_harms_no_other(rig: Rig) -> None:
    """8192 messages wait for it, beside the one that it is busy with."""
    slow, other = await rig.start("a", Spec("slow"), Spec("other"))
    (far,) = await rig.start("b", Spec("far"))
    gate = asyncio.Event()

    async def wait(message: Message, ctx: PluginContext) -> None:
        await gate.wait()

    slow.then = wait
    for number in range(8200):
        await far.ctx.send("a", Text(str(number)))
        if number % 1000 == 0:
            await rig.settle()
    await rig.settle()
    assert len(other.messages) == 8200
    assert rig.dropped("a", "plugin_inbox_full") == 8200 - 1 - 8192
    gate.set()
    for _ in range(10):
        await rig.settle()

    assert slow.bodies == [Text(str(number)) for number in range(8193)]


DELIVERY: tuple[Behaviour, ...] = (
    text_and_data_reach_every_plugin,
    a_relays_word_reaches_every_plugin,
    a_claimed_kind_reaches_its_plugin_alone,
    a_kind_that_nobody_claims_is_dropped_and_counted,
    what_is_for_the_node_reaches_no_plugin,
    a_message_says_who_sent_it_and_how_that_was_proven,
    messages_keep_their_order,
    a_broadcast_reaches_every_peer_and_not_its_sender,
    a_broadcast_to_nobody_reaches_nobody,
    a_peer_that_is_not_connected_cannot_be_sent_to,
    a_kind_of_the_node_may_not_be_sent,
    a_frame_holds_256_kib_and_not_a_byte_more,
    a_header_holds_4_kib_and_not_a_byte_more,
    what_a_slow_plugin_has_no_room_for_is_dropped_and_harms_no_other,
)
