"""Reliable frames: kept until a relay has them, sent again in order, and never lost silently."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from thenodes_plugin_api import (
    DeliveryOptions,
    DeliveryStatus,
    NoRoute,
    OutboxFull,
    PluginEvent,
    QoS,
    Reason,
    RelayNotify,
    Route,
)
from thenodes_plugin_api.testing import settle
from thenodes_relay.client.outstanding import InFlightLimits
from thenodes_relay.plugin import Carrying
from thenodes_relay.selection import rank

from .rig import RELIABLE, Rig, TestRelay, make_frame, rig

UNKEPT = DeliveryOptions(store=False)

# In the order in which relays suit a target `bob`.
FIRST, SECOND = rank("bob", ["relay-a", "relay-b"])


async def a_relay(made: Rig, name: str = FIRST, *, confirms: bool = True) -> TestRelay:
    """A relay that knows bob and has a session."""
    relay = made.relay(name)
    relay.know("bob")
    relay.confirms = confirms
    relay.join()
    await settle()
    return relay


async def test_a_reliable_frame_s_outcome_is_that_the_relay_stored_it() -> None:
    async with rig() as made:
        relay = await a_relay(made)
        route = await made.open(options=RELIABLE)
        outcome = await made.begin(route, 1)

        assert (outcome.status, outcome.relay) == (DeliveryStatus.STORED, FIRST)
        assert outcome.message_id == uuid.UUID(int=1)
        assert relay.frames == [1]
        assert made.client.status().in_flight_frames == 0


@pytest.mark.parametrize("status", ["dup", "ok"])
async def test_what_the_relay_has_already_counts_as_stored(status: str) -> None:
    async with rig() as made:
        relay = await a_relay(made, confirms=False)
        sending = made.begin(await made.open(), 1)
        await settle()
        relay.confirm(1, status)

        assert (await sending).status is DeliveryStatus.STORED


async def test_an_error_refuses_the_frame() -> None:
    async with rig() as made:
        relay = await a_relay(made, confirms=False)
        sending = made.begin(await made.open(), 1)
        await settle()
        relay.confirm(1, "error")
        outcome = await sending

        assert (outcome.status, outcome.reason) == (DeliveryStatus.REFUSED, Reason.DECLINED)
        assert made.door.counters["relay_client_refused.declined"] == 1


async def test_a_notification_refuses_the_frame_with_its_reason_and_goes_to_its_sender() -> None:
    async with rig() as made:
        relay = await a_relay(made, confirms=False)
        sending = made.begin(await made.open(), 1)
        await settle()
        relay.notify(1, Reason.QUOTA, "queue_max_per_target = 1024 is reached")
        outcome = await sending

        assert (outcome.status, outcome.reason) == (DeliveryStatus.REFUSED, Reason.QUOTA)
        assert outcome.detail == "queue_max_per_target = 1024 is reached"
        assert made.door.dispatched == []


async def test_a_notification_of_a_relay_that_has_not_the_frame_is_nobodys() -> None:
    async with rig(use=(FIRST, SECOND)) as made:
        first, second = [await a_relay(made, name, confirms=False) for name in (FIRST, SECOND)]
        sending = made.begin(await made.open(options=RELIABLE), 1)
        await settle()
        other = second if first.frames else first
        for reason in (Reason.QUOTA, Reason.NOT_BOUND, Reason.TIMEOUT):
            other.notify(1, reason)
        await settle()

        assert not sending.done()
        assert made.door.dispatched == []
        assert made.door.counters["relay_client_ignored.notify"] == 3
        (first if first.frames else second).confirm(1)
        assert (await sending).status is DeliveryStatus.STORED


async def test_a_notification_whose_sender_no_longer_waits_goes_to_the_plugins() -> None:
    async with rig() as made:
        relay = await a_relay(made, confirms=False)
        sending = made.begin(await made.open(), 1, timeout_seconds=1.0)
        await made.clock.advance(1.1)
        outcome = await sending
        relay.notify(1, Reason.QUOTA)

        assert (outcome.status, outcome.reason) == (DeliveryStatus.SENT, Reason.TIMEOUT)
        (message,) = made.door.dispatched
        assert isinstance(message.body, RelayNotify)
        assert message.body.message_id == uuid.UUID(int=1)


async def test_the_word_of_another_session_counts_for_nothing() -> None:
    async with rig() as made:
        await a_relay(made, FIRST, confirms=False)
        other = await a_relay(made, SECOND)
        sending = made.begin(await made.open(), 1)
        await settle()
        other.confirm(1)
        other.notify(1, Reason.QUOTA)
        await settle()

        assert not sending.done()
        assert made.client.status().in_flight_frames == 1


async def test_after_a_reconnect_frames_are_sent_again_in_order_before_new_ones() -> None:
    async with rig() as made:
        relay = await a_relay(made, confirms=False)
        route = await made.open()
        sending = [made.begin(route, number) for number in (1, 2, 3)]
        await settle()
        relay.confirm(2)
        relay.leave()
        sending.append(made.begin(route, 4))
        await made.clock.advance(1)
        relay.confirms = True
        relay.join()
        await settle()

        assert relay.frames == [1, 2, 3, 1, 3, 4]
        assert [(await task).status for task in sending] == [DeliveryStatus.STORED] * 4


async def test_frames_go_again_also_where_a_session_takes_the_place_of_another() -> None:
    async with rig() as made:
        relay = await a_relay(made, confirms=False)
        sending = made.begin(await made.open(), 1)
        await settle()
        relay.confirms = True
        relay.join()
        await settle()

        assert relay.frames == [1, 1]
        assert (await sending).status is DeliveryStatus.STORED


async def test_frames_of_a_relay_that_died_are_moved_to_another_within_5_s() -> None:
    async with rig() as made:
        first = await a_relay(made, FIRST, confirms=False)
        second = await a_relay(made, SECOND)
        route = await made.open()
        assert route.relay == FIRST
        sending = [made.begin(route, number) for number in (1, 2, 3)]
        await settle()
        first.leave()
        await made.clock.advance(4.9)

        assert second.frames == [1, 2, 3]
        assert {(await task).relay for task in sending} == {SECOND}
        assert made.door.counters["relay_client_moved"] == 1


async def test_a_new_frame_takes_those_before_it_along_to_another_relay() -> None:
    async with rig() as made:
        first = await a_relay(made, FIRST, confirms=False)
        second = await a_relay(made, SECOND)
        route = await made.open()
        sending = [made.begin(route, number) for number in (1, 2)]
        await settle()
        first.leave()
        sending.append(made.begin(await made.open(), 3))
        await settle()

        assert second.frames == [1, 2, 3]
        assert {(await task).relay for task in sending} == {SECOND}


async def test_a_new_frame_goes_behind_those_that_its_relay_has_yet_to_confirm() -> None:
    async with rig() as made:
        first = await a_relay(made, FIRST, confirms=False)
        second = await a_relay(made, SECOND)
        sending = [made.begin(await made.open(), 1)]
        await settle()
        first.know("bob", present=False)
        (bind,) = (bind for bind in first.binds if bind.target == "bob")
        first.say(RelayNotify(Reason.PEER_LEFT, f"bind:here:bob:{bind.nonce}"))
        route = await made.open()
        sending.append(made.begin(route, 2))
        await settle()
        assert (route.relay, first.frames, second.frames) == (SECOND, [1, 2], [])
        first.confirm(1)
        first.confirm(2)
        await settle()
        sending.append(made.begin(route, 3))
        await settle()

        assert second.frames == [3]
        assert [(await task).relay for task in sending] == [FIRST, FIRST, SECOND]


async def test_frames_of_a_relay_that_restarts_are_moved_at_once() -> None:
    async with rig() as made:
        first = await a_relay(made, FIRST, confirms=False)
        second = await a_relay(made, SECOND)
        sending = made.begin(await made.open(), 1)
        await settle()
        first.leave(Reason.RESTARTING)
        await settle()

        assert second.frames == [1]
        assert (await sending).relay == SECOND


async def test_frames_of_a_relay_that_fell_silent_are_moved_at_once() -> None:
    async with rig() as made:
        first = await a_relay(made, FIRST, confirms=False)
        second = await a_relay(made, SECOND)
        sending = made.begin(await made.open(), 1)
        await settle()
        first.leave(Reason.TIMEOUT)
        await settle()

        assert second.frames == [1]
        assert (await sending).relay == SECOND


async def test_a_relay_that_is_back_within_the_grace_keeps_its_frames() -> None:
    async with rig() as made:
        first = await a_relay(made, FIRST, confirms=False)
        second = await a_relay(made, SECOND)
        sending = made.begin(await made.open(), 1)
        await settle()
        first.leave()
        await made.clock.advance(1)
        first.confirms = True
        first.join()
        await settle()

        assert (first.frames, second.frames) == ([1, 1], [])
        assert (await sending).relay == FIRST


async def test_frames_through_a_named_relay_wait_for_that_one() -> None:
    async with rig() as made:
        first = await a_relay(made, FIRST, confirms=False)
        second = await a_relay(made, SECOND)
        sending = made.begin(await made.open(relay=FIRST), 1)
        await settle()
        first.leave()
        await made.clock.advance(20)
        assert second.frames == []
        first.confirms = True
        first.join()
        await settle()

        assert (await sending).relay == FIRST


async def test_frames_wait_for_a_relay_that_does_not_know_the_target_yet() -> None:
    async with rig() as made:
        relay = await a_relay(made, confirms=False)
        sending = made.begin(await made.open(), 1, timeout_seconds=60.0)
        await settle()
        relay.leave()
        relay.mailboxes.clear()
        await made.clock.advance(2)
        relay.join()
        await made.clock.advance(3)
        assert relay.frames == [1]
        relay.confirms = True
        relay.know("bob")
        await made.clock.advance(5)

        assert (await sending).status is DeliveryStatus.STORED


async def test_frames_wait_for_the_target_also_at_a_relay_that_does_not_store() -> None:
    async with rig() as made:
        relay = made.relay("relay-a", capabilities=("relay",))
        relay.know("bob")
        relay.confirms = False
        relay.join()
        sending = made.begin(await made.open(), 1, timeout_seconds=60.0)
        await settle()
        relay.leave()
        relay.mailboxes.clear()
        relay.confirms = True
        relay.join()
        await made.clock.advance(3)
        assert relay.frames == [1]
        relay.know("bob")
        await made.clock.advance(5)

        assert (await sending).status is DeliveryStatus.STORED


async def test_a_relay_that_admits_the_node_no_more_refuses_what_it_had() -> None:
    async with rig() as made:
        relay = await a_relay(made, confirms=False)
        sending = made.begin(await made.open(), 1)
        await settle()
        relay.leave()
        relay.refuses["bob"] = Reason.POLICY_DENIED
        relay.join()
        await settle()
        outcome = await sending

        assert (outcome.status, outcome.reason) == (DeliveryStatus.REFUSED, Reason.POLICY_DENIED)


async def test_frames_of_a_forgotten_binding_are_sent_again_once_it_stands() -> None:
    async with rig() as made:
        relay = await a_relay(made, confirms=False)
        route = await made.open()
        sending = [made.begin(route, number) for number in (1, 2)]
        await settle()
        relay.confirms = True
        relay.notify(1, Reason.NOT_BOUND)
        relay.notify(2, Reason.NOT_BOUND)
        await settle()

        assert relay.frames == [1, 2, 1, 2]
        assert relay.targets().count("bob") == 2
        assert [(await task).status for task in sending] == [DeliveryStatus.STORED] * 2
        assert made.door.dispatched == []


async def test_a_relay_that_forgets_every_binding_it_grants_is_asked_less_and_less() -> None:
    async with rig() as made:
        relay = await a_relay(made, confirms=False)
        route = await made.open()
        sending = made.begin(route, 1, timeout_seconds=600.0)
        await settle()
        relay.notify(1, Reason.NOT_BOUND)
        await settle()
        assert len(relay.frames) == 2
        for seconds in (0.5, 1, 2, 4, 8, 10, 10):
            sent = len(relay.frames)
            relay.notify(1, Reason.NOT_BOUND)
            await made.clock.advance(seconds - 0.25)
            assert len(relay.frames) == sent
            await made.clock.advance(0.5)
            assert len(relay.frames) == sent + 1
        relay.notify(1, Reason.NOT_BOUND)
        relay.confirms = True
        await made.clock.advance(10)

        assert (await sending).status is DeliveryStatus.STORED
        assert relay.targets().count("bob") == len(relay.frames)


async def test_a_sender_waits_for_room_and_goes_in_its_turn() -> None:
    async with rig(limits=InFlightLimits(lane_frames=2)) as made:
        relay = await a_relay(made, confirms=False)
        route = await made.open()
        sending = [made.begin(route, number) for number in (1, 2, 3, 4)]
        await settle()
        assert relay.frames == [1, 2]
        relay.confirm(1)
        await settle()
        assert relay.frames == [1, 2, 3]
        relay.confirms = True
        for number in (2, 3):
            relay.confirm(number)
        await settle()

        assert relay.frames == [1, 2, 3, 4]
        assert all(task.done() for task in sending)


async def test_a_sender_that_finds_no_room_in_time_is_told_and_its_frame_is_not_kept() -> None:
    async with rig(limits=InFlightLimits(frames=1)) as made:
        relay = await a_relay(made, confirms=False)
        route = await made.open()
        first = made.begin(route, 1)
        second = made.begin(route, 2, timeout_seconds=1.0)
        await made.clock.advance(1.1)
        with pytest.raises(OutboxFull, match="no room for one more to bob within 1 s"):
            await second
        relay.confirm(1)
        await first
        await settle()

        assert relay.frames == [1]


async def test_a_sender_that_gives_up_waiting_for_room_leaves_nothing_behind() -> None:
    async with rig(limits=InFlightLimits(frames=1)) as made:
        relay = await a_relay(made, confirms=False)
        route = await made.open()
        first = made.begin(route, 1)
        second = made.begin(route, 2)
        await settle()
        second.cancel()
        await settle()
        relay.confirm(1)
        await first
        await settle()

        assert relay.frames == [1]
        assert made.client.status().in_flight_frames == 0


async def test_a_full_session_gets_the_rest_when_it_has_room() -> None:
    async with rig() as made:
        relay = await a_relay(made)
        route = await made.open()
        assert relay.wire is not None
        relay.wire.room = 2
        sending = [made.begin(route, number) for number in range(1, 6)]
        await settle()
        assert relay.frames == [1, 2]
        relay.wire.give_room(2)
        await settle()
        assert relay.frames == [1, 2, 3, 4]
        relay.wire.give_room(2)
        await settle()

        assert relay.frames == [1, 2, 3, 4, 5]
        assert all(task.done() for task in sending)


async def test_a_session_that_ends_while_frames_wait_for_room_gives_them_to_the_next() -> None:
    async with rig() as made:
        relay = await a_relay(made)
        route = await made.open()
        assert relay.wire is not None
        relay.wire.room = 1
        sending = [made.begin(route, number) for number in (1, 2, 3)]
        await settle()
        relay.leave()
        relay.join()
        await settle()

        assert relay.frames == [1, 2, 3]
        assert [(await task).status for task in sending] == [DeliveryStatus.STORED] * 3


async def test_a_frame_that_expired_before_a_relay_had_it_is_told() -> None:
    async with rig() as made:
        relay = await a_relay(made, confirms=False)
        route = await made.open()
        relay.leave()
        frame = make_frame(1, expires_at=int((made.clock.time() + 3) * 1000))
        sending = asyncio.ensure_future(
            route.send(frame, (1).to_bytes(16, "big"), QoS.RELIABLE, timeout_seconds=60.0)
        )
        await made.clock.advance(6)
        outcome = await sending

        assert (outcome.status, outcome.reason) == (DeliveryStatus.REFUSED, Reason.TIMEOUT)
        assert made.client.status().in_flight_frames == 0


async def test_a_node_that_drains_waits_for_what_no_relay_has_confirmed() -> None:
    async with rig() as made:
        relay = await a_relay(made, confirms=False)
        route = await made.open()
        sending = made.begin(route, 1)
        await settle()
        carrying = Carrying(made.context, made.client, None)
        before = carrying.is_drained
        relay.leave()
        relay = await a_relay(made)
        await made.clock.advance(5)
        await sending

        assert (before, carrying.is_drained) == (False, True)


async def test_what_is_unsaved_when_the_node_stops_is_told() -> None:
    async with rig() as made:
        await a_relay(made, confirms=False)
        route = await made.open()
        sending = made.begin(route, 1)
        late = made.begin(route, 2, timeout_seconds=1.0)
        await made.clock.advance(1.1)
        await late
        made.client.stop()
        outcome = await sending

        assert (outcome.status, outcome.reason) == (DeliveryStatus.REFUSED, Reason.RESTARTING)
        assert made.door.counters["relay_client_unsaved"] == 2
        (event,) = (
            event for event in made.context.event_log.events if isinstance(event, PluginEvent)
        )
        assert "2 to bob" in event.detail


async def test_a_message_id_is_used_once() -> None:
    async with rig() as made:
        await a_relay(made, confirms=False)
        route = await made.open()
        made.begin(route, 1)
        await settle()

        with pytest.raises(ValueError, match="is on its way already"):
            await made.begin(route, 1)


def offer(route: Route, number: int) -> bool:
    """Offer a frame that is not reliable."""
    frame = make_frame(number, qos="high_throughput")
    return route.offer(frame, number.to_bytes(16, "big"), QoS.HIGH_THROUGHPUT)


def send(route: Route, number: int, timeout_seconds: float = 5.0) -> asyncio.Task[object]:
    """Send a frame that is not reliable, in the background."""
    frame = make_frame(number, qos="high_throughput")
    return asyncio.ensure_future(
        route.send(
            frame,
            number.to_bytes(16, "big"),
            QoS.HIGH_THROUGHPUT,
            timeout_seconds=timeout_seconds,
        )
    )


async def test_a_frame_that_is_not_reliable_goes_at_once_where_there_is_room() -> None:
    async with rig() as made:
        relay = await a_relay(made)
        route = await made.open()
        assert offer(route, 1)
        await settle()

        assert relay.frames == [1]


async def test_frames_that_are_not_reliable_wait_for_room_in_their_order() -> None:
    async with rig() as made:
        relay = await a_relay(made)
        route = await made.open()
        assert relay.wire is not None
        relay.wire.room = 0
        sending = [send(route, number) for number in (1, 2)]
        await settle()
        relay.wire.room = 1
        assert not offer(route, 3)
        relay.wire.give_room(2)
        await settle()

        assert relay.frames == [1, 2]
        assert all(task.done() for task in sending)


async def test_a_frame_that_is_not_reliable_finds_no_room_in_time() -> None:
    async with rig() as made:
        relay = await a_relay(made)
        route = await made.open()
        assert relay.wire is not None
        relay.wire.room = 0
        sending = send(route, 1, 1.0)
        await made.clock.advance(1.1)

        with pytest.raises(OutboxFull):
            await sending
        relay.wire.give_room(5)
        await settle()
        assert relay.frames == []


async def test_a_route_whose_session_is_gone_refuses() -> None:
    async with rig() as made:
        relay = await a_relay(made)
        route = await made.open()
        relay.leave()
        assert not offer(route, 1)
        outcome = await send(route, 1)

        assert getattr(outcome, "reason", None) is Reason.PEER_LEFT


async def test_who_wants_nothing_kept_does_not_stand_in_the_way_of_reliable_frames() -> None:
    async with rig() as made:
        relay = await a_relay(made)
        route = await made.open(options=RELIABLE)
        unkept = asyncio.ensure_future(made.open(options=UNKEPT))
        await asyncio.sleep(0)
        sending = [made.begin(route, number) for number in (1, 2)]
        await unkept
        outcomes = await asyncio.gather(*sending)

        assert {outcome.status for outcome in outcomes} == {DeliveryStatus.STORED}
        assert (relay.frames, relay.refused) == ([1, 2], [])
        assert [bind.want_store_forward for bind in relay.binds[-3:]] == [True, False, True]


async def test_both_kinds_of_messages_may_go_to_a_target_at_the_same_time() -> None:
    async with rig() as made:
        relay = await a_relay(made)

        async def reliably() -> None:
            for number in range(1, 20):
                route = await made.open(options=RELIABLE)
                assert (await made.begin(route, number)).status is DeliveryStatus.STORED

        async def unkept() -> None:
            for number in range(100, 120):
                route = await made.open(options=UNKEPT)
                await route.send(
                    make_frame(number, qos="high_throughput"),
                    number.to_bytes(16, "big"),
                    QoS.HIGH_THROUGHPUT,
                    timeout_seconds=1.0,
                )

        await asyncio.gather(reliably(), unkept())

        assert (len(relay.frames), relay.refused) == (39, [])


async def test_reliable_frames_go_on_where_a_relay_does_not_say_that_it_keeps_nothing() -> None:
    async with rig() as made:
        relay = await a_relay(made)
        route = await made.open(options=RELIABLE)
        relay.is_silent = True
        unkept = asyncio.ensure_future(made.open(options=UNKEPT, timeout_seconds=2.0))
        await settle()
        sending = made.begin(route, 1)
        await made.clock.advance(3)
        relay.is_silent = False
        await made.clock.advance(10)

        with pytest.raises(NoRoute):
            await unkept
        assert (await sending).status is DeliveryStatus.STORED
