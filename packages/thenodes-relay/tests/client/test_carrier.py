"""Routes: which relay is asked, what is remembered, and what is tried again."""

from __future__ import annotations

import asyncio

import pytest

from thenodes_plugin_api import DeliveryOptions, Message, NoRoute, QoS, Reason, RelayNotify
from thenodes_plugin_api.testing import settle
from thenodes_relay.selection import rank

from .rig import RELIABLE, make_frame, rig

# In the order in which relays suit a target `bob`.
FIRST, SECOND, THIRD = rank("bob", ["relay-a", "relay-b", "relay-c"])
OPTIONS = DeliveryOptions()


async def test_a_route_is_asked_for_once_and_then_ready() -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        relay.know("bob")
        relay.join()
        assert made.carrier.ready("bob", OPTIONS) is None
        opened = await made.open()
        again = await made.open()

        assert (opened.relay, again.relay) == ("relay-a", "relay-a")
        assert relay.targets().count("bob") == 1
        assert made.carrier.ready("bob", OPTIONS) is not None
        assert (opened.ttl_seconds, opened.frame_bytes) == (600.0, 65536)
        assert made.door.counters["relay_client_bound"] == 1


async def test_the_target_s_card_comes_with_the_route() -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        relay.know("bob", relays=("relay-a",))
        relay.join()
        await made.open()

        assert made.door.cards["bob"].relays == ("relay-a",)


@pytest.mark.parametrize("card", [b"forged:", b"carol:"])
async def test_a_forged_card_is_not_learnt(card: bytes) -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        relay.mailboxes["bob"] = (card, True)
        relay.join()
        await made.open()

        assert made.door.cards == {}
        assert made.door.counters["relay_client_cards_refused"] == 1


async def test_senders_that_come_at_once_ask_once() -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        relay.know("bob")
        relay.join()
        await asyncio.gather(*(made.open() for _ in range(10)))

        assert relay.targets().count("bob") == 1


async def test_relays_are_asked_in_the_order_of_the_target_s_hash() -> None:
    async with rig() as made:
        relays = [made.relay(name) for name in (THIRD, FIRST, SECOND)]
        for relay in relays:
            relay.join()
        relays[0].know("bob")
        opened = await made.open()

        assert opened.relay == THIRD
        assert all("bob" in relay.targets() for relay in relays)


async def test_the_relays_of_the_target_s_card_are_asked_first() -> None:
    async with rig() as made:
        first, third = made.relay(FIRST), made.relay(THIRD)
        for relay in (first, third):
            relay.know("bob")
            relay.join()
        made.door.learn_card(f"bob:{THIRD}".encode())
        opened = await made.open()

        assert (opened.relay, first.targets().count("bob")) == (THIRD, 0)


async def test_a_card_that_came_with_an_answer_leads_on_to_its_relays() -> None:
    async with rig() as made:
        relays = {name: made.relay(name) for name in (FIRST, SECOND, THIRD)}
        relays[FIRST].know("bob", relays=(THIRD,), present=False)
        relays[THIRD].know("bob", relays=(THIRD,))
        for relay in relays.values():
            relay.join()
        opened = await made.open()

        assert opened.relay == THIRD
        assert "bob" not in relays[SECOND].targets()


async def test_a_relay_that_keeps_frames_is_taken_where_the_target_is_nowhere() -> None:
    async with rig() as made:
        first, second = made.relay(FIRST), made.relay(SECOND)
        first.know("bob", present=False)
        first.join()
        second.join()
        opened = await made.open()

        assert opened.relay == FIRST
        assert second.targets().count("bob") == 1


async def test_an_unknown_target_has_no_route_and_is_asked_for_again_on_demand() -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        relay.join()
        await made.clock.advance(6)
        with pytest.raises(NoRoute) as error:
            await made.open()
        assert error.value.reason is Reason.UNKNOWN_TARGET
        assert made.carrier.ready("bob", OPTIONS) is None
        relay.know("bob")

        assert (await made.open()).relay == "relay-a"


async def test_where_nothing_is_to_be_kept_an_unknown_target_has_no_route_either() -> None:
    async with rig() as made:
        made.relay("relay-a").join()
        await made.clock.advance(6)
        with pytest.raises(NoRoute) as error:
            await made.open(options=DeliveryOptions(store=False))

        assert error.value.reason is Reason.UNKNOWN_TARGET


async def test_where_nothing_is_to_be_kept_an_unknown_target_is_asked_for_again_at_once() -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        relay.join()
        await made.clock.advance(6)
        unkept = DeliveryOptions(store=False)
        for named in (None, "relay-a"):
            with pytest.raises(NoRoute):
                await made.open(options=unkept, relay=named)
        relay.know("bob")

        assert (await made.open(options=unkept)).relay == "relay-a"


async def test_a_target_that_is_not_there_yet_is_waited_for_when_relays_just_came() -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        relay.join()
        opening = asyncio.ensure_future(made.open())
        await made.clock.advance(1)
        relay.know("bob")
        await made.clock.advance(1)

        assert (await opening).relay == "relay-a"


async def test_a_relay_that_refuses_is_not_asked_again_at_once() -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        relay.refuses["bob"] = Reason.QUOTA
        relay.join()
        for _ in range(3):
            with pytest.raises(NoRoute) as error:
                await made.open()
            assert error.value.reason is Reason.QUOTA
        assert relay.targets().count("bob") == 1
        assert made.door.counters["relay_client_refused_binds.quota"] == 1
        relay.refuses.clear()
        relay.know("bob")
        await made.clock.advance(3)

        assert (await made.open()).relay == "relay-a"


async def test_a_relay_that_does_not_answer_is_passed_over() -> None:
    async with rig() as made:
        first, second = made.relay(FIRST), made.relay(SECOND)
        for relay in (first, second):
            relay.know("bob")
            relay.join()
        await settle()
        first.is_silent = True
        opening = asyncio.ensure_future(made.open())
        await made.clock.advance(2.6)

        assert (await opening).relay == SECOND


async def test_a_relay_that_refused_is_asked_at_once_on_a_new_session() -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        relay.refuses["bob"] = Reason.POLICY_DENIED
        relay.join()
        with pytest.raises(NoRoute):
            await made.open()
        relay.refuses.clear()
        relay.know("bob")
        relay.join()

        assert (await made.open()).relay == "relay-a"


async def test_who_waits_for_a_route_when_the_node_stops_is_told() -> None:
    async with rig(use=("relay-a.test:7447",)) as made:
        opening = asyncio.ensure_future(made.open())
        await settle()
        made.client.stop()
        for work in (opening, made.open()):
            with pytest.raises(NoRoute) as error:
                await work
            assert error.value.reason is Reason.RESTARTING


async def test_without_any_relay_there_is_no_route_at_once() -> None:
    async with rig() as made:
        with pytest.raises(NoRoute) as error:
            await made.open()

        assert error.value.reason is Reason.PEER_LEFT


async def test_where_the_operator_named_relays_one_is_waited_for() -> None:
    async with rig(use=("relay-a.test:7447",)) as made:
        opening = asyncio.ensure_future(made.open())
        await made.clock.advance(4)
        relay = made.relay("relay-a")
        relay.know("bob")
        relay.join()
        await settle()

        assert (await opening).relay == "relay-a"


async def test_a_relay_that_never_comes_is_waited_for_until_the_deadline() -> None:
    async with rig(use=("relay-a.test:7447",)) as made:
        opening = asyncio.ensure_future(made.open(timeout_seconds=5.0))
        await made.clock.advance(4.9)
        assert not opening.done()
        await made.clock.advance(0.2)

        with pytest.raises(NoRoute):
            await opening


async def test_a_route_ends_with_its_session_and_another_relay_is_taken() -> None:
    async with rig() as made:
        first, second = made.relay(FIRST), made.relay(SECOND)
        for relay in (first, second):
            relay.know("bob")
            relay.join()
        assert (await made.open()).relay == FIRST
        first.leave()

        assert made.carrier.ready("bob", OPTIONS) is None
        assert (await made.open()).relay == SECOND


async def test_a_target_that_left_is_looked_for_elsewhere() -> None:
    async with rig() as made:
        first, second = made.relay(FIRST), made.relay(SECOND)
        for relay in (first, second):
            relay.know("bob")
            relay.join()
        await made.open()
        first.know("bob", present=False)
        (bind,) = (bind for bind in first.binds if bind.target == "bob")
        first.say(RelayNotify(Reason.PEER_LEFT, f"bind:here:bob:{bind.nonce}"))

        assert made.carrier.ready("bob", OPTIONS) is None
        assert (await made.open()).relay == SECOND
        assert made.door.dispatched == []


async def test_a_target_that_is_away_is_looked_for_anew_after_a_while() -> None:
    async with rig() as made:
        first, second = made.relay(FIRST), made.relay(SECOND)
        first.know("bob", present=False)
        first.join()
        second.join()
        await made.open()
        assert made.carrier.ready("bob", OPTIONS) is not None
        second.know("bob")
        await made.clock.advance(6)

        assert made.carrier.ready("bob", OPTIONS) is None
        assert (await made.open()).relay == SECOND


async def test_a_route_is_renewed_while_it_is_used() -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        relay.know("bob")
        relay.join()
        opened = await made.open()
        asked = relay.binds[-1]
        assert opened.offer(make_frame(1, qos="bulk"), bytes(16), QoS.BULK)
        await made.clock.advance(3000)
        renewed = relay.binds[-1]

        assert renewed.target == asked.target == "bob"
        assert renewed.nonce != asked.nonce
        assert made.carrier.ready("bob", OPTIONS) is not None


async def test_a_route_that_nobody_used_is_given_up() -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        relay.know("bob")
        relay.join()
        await made.open()
        bind = relay.binds[-1]
        await made.clock.advance(3000)

        assert relay.unbinds == [f"bind:here:bob:{bind.nonce}"]
        assert made.carrier.ready("bob", OPTIONS) is None


async def test_a_relay_without_room_for_more_routes_is_given_back_one() -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        relay.know("bob")
        relay.know("carol")
        relay.join()
        await made.open("bob")
        relay.most_routes = 1

        assert (await made.open("carol")).relay == "relay-a"
        assert len(relay.unbinds) == 1
        assert made.carrier.ready("bob", OPTIONS) is None


async def test_a_relay_that_does_not_store_is_not_asked_to() -> None:
    async with rig() as made:
        relay = made.relay("relay-a", capabilities=("relay",))
        relay.know("bob")
        relay.join()
        await made.open()

        assert relay.binds[-1].want_store_forward is False
        assert made.carrier.ready("bob", OPTIONS) is not None


async def test_who_wants_nothing_kept_has_a_route_of_that_kind() -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        relay.know("bob")
        relay.join()
        await made.open()
        unkept = DeliveryOptions(store=False)
        assert made.carrier.ready("bob", unkept) is None
        await made.open(options=unkept)

        assert relay.binds[-1].want_store_forward is False
        assert made.carrier.ready("bob", unkept) is not None
        assert made.carrier.ready("bob", OPTIONS) is None


async def test_a_named_relay_is_used_even_where_another_would_be_chosen() -> None:
    async with rig() as made:
        first, second = made.relay(FIRST), made.relay(SECOND)
        for relay in (first, second):
            relay.know("bob")
            relay.join()

        assert (await made.open(relay=SECOND)).relay == SECOND
        assert made.carrier.ready("bob", OPTIONS) is None


async def test_what_a_plugin_bound_is_bound_again_after_a_reconnect_until_it_expires() -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        relay.know("bob")
        relay.join()
        ack = await made.carrier.bind(
            "relay-a",
            "bob",
            store_forward=True,
            qos=QoS.BULK,
            ttl_seconds=60.0,
            timeout_seconds=1.0,
        )
        assert ack.ok
        relay.leave()
        await made.clock.advance(1)
        relay.join()
        await settle()
        bound = [bind for bind in relay.binds if bind.target == "bob"]
        assert [(bind.qos, bind.want_store_forward) for bind in bound] == [("bulk", True)] * 2
        relay.leave()
        await made.clock.advance(60)
        relay.join()
        await settle()

        assert relay.targets().count("bob") == 2


async def test_what_a_plugin_bound_is_bound_again_where_the_relay_s_plugin_was_loaded_anew() -> (
    None
):
    async with rig() as made:
        relay = made.relay("relay-a")
        relay.know("bob")
        relay.join()
        ack = await made.carrier.bind(
            "relay-a",
            "bob",
            store_forward=True,
            qos=QoS.BULK,
            ttl_seconds=60.0,
            timeout_seconds=1.0,
        )
        relay.say(RelayNotify(Reason.RESTARTING, ack.binding_id))
        await made.clock.advance(2)

        assert relay.targets().count("bob") == 2
        assert made.door.dispatched == []


async def test_a_plugin_is_told_where_its_binding_was_refused() -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        relay.refuses["bob"] = Reason.POLICY_DENIED
        relay.join()
        ack = await made.carrier.bind(
            "relay-a",
            "bob",
            store_forward=True,
            qos=QoS.BULK,
            ttl_seconds=None,
            timeout_seconds=1.0,
        )
        relay.leave()
        relay.join()
        await settle()

        assert (ack.ok, ack.reason) == (False, Reason.POLICY_DENIED)
        assert relay.targets().count("bob") == 1


async def test_a_relay_that_is_not_there_cannot_be_asked() -> None:
    async with rig() as made:
        ack = await made.carrier.bind(
            "relay-a",
            "bob",
            store_forward=True,
            qos=QoS.BULK,
            ttl_seconds=None,
            timeout_seconds=1.0,
        )

        assert (ack.ok, ack.reason) == (False, Reason.PEER_LEFT)


async def test_a_relay_that_restarts_is_left_for_another() -> None:
    async with rig() as made:
        first, second = made.relay(FIRST), made.relay(SECOND)
        for relay in (first, second):
            relay.know("bob")
            relay.join()
        await made.open()
        first.say(RelayNotify(Reason.RESTARTING))

        assert made.carrier.ready("bob", OPTIONS) is None
        assert (await made.open()).relay == SECOND


@pytest.mark.parametrize("reason", [Reason.NOT_BOUND, Reason.UNKNOWN_TARGET, Reason.PEER_LEFT])
async def test_a_route_that_a_frame_could_not_take_is_asked_for_again(reason: Reason) -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        relay.know("bob")
        relay.know("carol")
        relay.join()
        opened = await made.open("bob")
        await made.open("carol")
        message_id = (1).to_bytes(16, "big")
        assert opened.offer(make_frame(1, qos="bulk"), message_id, QoS.BULK)
        relay.notify(1, reason)

        assert made.carrier.ready("bob", OPTIONS) is None
        assert made.carrier.ready("carol", OPTIONS) is not None
        assert len(made.door.dispatched) == 1


async def test_a_binding_of_a_plugin_s_that_ended_is_asked_for_again() -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        relay.know("bob")
        relay.join()
        ack = await made.carrier.bind(
            "relay-a",
            "bob",
            store_forward=True,
            qos=QoS.BULK,
            ttl_seconds=None,
            timeout_seconds=1.0,
        )
        relay.say(RelayNotify(Reason.PEER_LEFT, ack.binding_id, "it expired"))
        await settle()

        assert relay.targets().count("bob") == 2


async def test_a_thousand_strangers_that_came_and_went_leave_nothing_behind() -> None:
    async with rig() as made:
        for number in range(1000):
            stranger = made.relay(f"stranger-{number}")
            stranger.is_configured = False
            stranger.join()
            stranger.leave()

        assert made.client.status().relays == ()


async def test_what_concerns_no_frame_of_this_node_goes_to_the_plugins() -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        relay.join()
        relay.notify(7, Reason.OVERLOAD, "no room")

        (message,) = made.door.dispatched
        assert message.sender == "relay-a"
        assert isinstance(message.body, RelayNotify)
        assert made.door.counters["relay_client_notified.overload"] == 1


async def test_the_word_of_a_session_that_is_over_counts_for_nothing() -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        old = relay.join()
        relay.join()
        notify = RelayNotify(Reason.OVERLOAD)
        made.client.take_notify(old, Message(notify, sender="relay-a"))

        assert made.door.dispatched == []
        assert made.door.counters["relay_client_ignored.notify"] == 1


async def test_routes_that_are_gone_are_forgotten_in_bulk() -> None:
    async with rig() as made:
        relay = made.relay("relay-a", capabilities=("relay",))
        for turn in range(5):
            relay.join()
            for number in range(300):
                target = f"target-{turn}-{number}"
                relay.know(target)
                await made.open(target, DeliveryOptions(store=False))
            relay.leave()

        assert len(made.client._carrier._ready) < 1024


async def test_an_answer_from_another_session_does_not_count() -> None:
    async with rig() as made:
        relay, other = made.relay(FIRST), made.relay(SECOND)
        relay.know("bob")
        other.know("bob")
        relay.is_silent = True
        relay.join()
        opening = asyncio.ensure_future(made.open(options=RELIABLE, timeout_seconds=1.0))
        await settle()
        other.join()
        (asked,) = (bind for bind in relay.binds if bind.target == "bob")
        other.say(other._answer(asked))
        await made.clock.advance(1.1)

        with pytest.raises(NoRoute):
            await opening
        assert made.door.counters["relay_client_ignored.bind_ack"] == 1


async def test_a_relay_that_says_nothing_is_waited_for_as_long_as_the_sender_waits() -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        relay.know("bob")
        relay.is_silent = True
        relay.join()
        opening = asyncio.ensure_future(made.open(timeout_seconds=30.0))
        await made.clock.advance(4)
        relay.leave()
        relay.is_silent = False
        relay.join()
        await made.clock.advance(5)

        assert (await opening).relay == "relay-a"
