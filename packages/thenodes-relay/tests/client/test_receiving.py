"""Frames for this node: handed on, and acknowledged over the session that brought them."""

from __future__ import annotations

import uuid

from thenodes_plugin_api import Ack, Frame, Reason, Settled
from thenodes_plugin_api.testing import settle

from .rig import Rig, Wire, make_frame, read_header, rig


def bring(made: Rig, wire: Wire, *numbers: int) -> None:
    """Let a relay bring frames of bob's."""
    frames = []
    for number in numbers:
        data = make_frame(number, "here", sender="bob")
        frames.append(Frame(read_header(data), data))
    made.client.take_frames(wire, frames)


async def test_a_frame_is_acknowledged_when_it_is_settled_and_not_before() -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        bring(made, relay.join(), 1)
        await settle()
        assert relay.acks == []
        ((frame, settled),) = made.door.delivered
        settled(frame, Settled("ok"))
        await settle()

        assert relay.acks == [Ack("bob", "here", 1, "ok", uuid.UUID(int=1))]
        assert made.door.counters["relay_client_acked.ok"] == 1


async def test_what_is_settled_after_the_session_ended_is_not_acknowledged() -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        bring(made, relay.join(), 1)
        relay.leave()
        relay.join()
        ((frame, settled),) = made.door.delivered
        settled(frame, Settled("ok"))
        await settle()

        assert relay.acks == []
        assert made.door.counters["relay_client_acked.ok"] == 0


async def test_acks_wait_for_room_in_their_order() -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        wire = relay.join()
        bring(made, wire, 1, 2)
        relay.is_deaf = True
        for frame, settled in made.door.delivered:
            settled(frame, Settled("error", Reason.UNAUTHENTICATED))
        await settle()
        assert relay.acks == []
        relay.is_deaf = False
        wire.give_room(1)
        await settle()

        assert [(ack.sequence, ack.status) for ack in relay.acks] == [(1, "error"), (2, "error")]
