"""Relays that come, go, forget and are slow: every reliable frame is stored, in order."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from thenodes_plugin_api import DeliveryOutcome, DeliveryStatus, NoRoute, OutboxFull, QoS, Reason
from thenodes_plugin_api.testing import settle
from thenodes_relay.client.outstanding import InFlightLimits

from .rig import RELIABLE, Rig, TestRelay, make_frame, rig

_STEPS = 150
LIMITS = InFlightLimits(frames=12, lane_frames=8)


async def send(made: Rig, number: int, begun: list[int]) -> DeliveryOutcome:
    """Send as a node does: over a route that is ready, else one that is opened."""
    route = made.carrier.ready("bob", RELIABLE) or await made.open(
        options=RELIABLE, timeout_seconds=600.0
    )
    begun.append(number)
    message_id = number.to_bytes(16, "big")
    return await route.send(make_frame(number), message_id, QoS.RELIABLE, timeout_seconds=600.0)


def disturb(relay: TestRelay, chance: random.Random) -> None:
    """Let a relay do something that relays do."""
    what = chance.choice(["join", "leave", "restart", "pause", "go on", "forget", "narrow", "wide"])
    wire = relay.wire
    if what == "join":
        relay.join()
    elif wire is None:
        return
    elif what in ("leave", "restart"):
        relay.leave(Reason.RESTARTING if what == "restart" else Reason.PEER_LEFT)
    elif what == "pause":
        relay.confirms = False
    elif what == "go on":
        go_on(relay)
    elif what == "forget" and relay.frames:
        relay.notify(relay.frames[-1], Reason.NOT_BOUND)
    elif what == "narrow":
        wire.room = 0
    elif what == "wide":
        wire.give_room(1000)


def go_on(relay: TestRelay) -> None:
    """Let a relay confirm everything that it has."""
    relay.confirms = True
    for number in relay.frames:
        relay.confirm(number)


@pytest.mark.parametrize("seed", range(25))
async def test_every_reliable_frame_is_stored_and_a_relay_gets_them_in_order(seed: int) -> None:
    chance = random.Random(seed)
    async with rig(limits=LIMITS, use=("relay-a", "relay-b")) as made:
        relays = [made.relay(name) for name in ("relay-a", "relay-b")]
        for relay in relays:
            relay.know("bob")
        sending: list[asyncio.Task[DeliveryOutcome]] = []
        begun: list[int] = []
        for _ in range(_STEPS):
            if chance.random() < 0.5:
                sending.append(asyncio.ensure_future(send(made, len(sending) + 1, begun)))
            else:
                disturb(chance.choice(relays), chance)
            if chance.random() < 0.5:
                await made.clock.advance(chance.random() * 3)
            else:
                await settle(chance.randrange(4))
        for relay in relays:
            relay.join()
            go_on(relay)
        await made.clock.advance(60)

        assert {(await task).status for task in sending} == {DeliveryStatus.STORED}
        for relay in relays:
            assert list(dict.fromkeys(relay.frames)) == sorted(set(relay.frames), key=begun.index)
        assert made.client.status().in_flight_frames == 0


@pytest.mark.parametrize("seed", range(10))
async def test_every_reliable_frame_ends_in_time_whatever_relays_do(seed: int) -> None:
    chance = random.Random(seed)
    async with rig(limits=LIMITS, use=("relay-a",)) as made:
        relay = made.relay("relay-a")
        relay.know("bob")
        relay.confirms = False
        relay.join()
        sending = []
        for number in range(1, 40):
            with contextlib.suppress(NoRoute):
                route = await made.open(options=RELIABLE, timeout_seconds=0.0)
                sending.append(made.begin(route, number, timeout_seconds=chance.random() * 9))
            disturb(relay, chance)
            await made.clock.advance(chance.random())
        await made.clock.advance(10)

        ends = await asyncio.gather(*sending, return_exceptions=True)
        assert ends
        assert all(isinstance(end, DeliveryOutcome | OutboxFull) for end in ends)
