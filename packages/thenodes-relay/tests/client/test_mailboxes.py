"""A node's mailboxes: where they are, and that the card says so."""

from __future__ import annotations

import logging

from thenodes_plugin_api import Message, QoS, Reason, RelayNotify, Verified
from thenodes_plugin_api.testing import settle
from thenodes_relay.selection import rank

from .rig import STORING, TestRelay, rig

# In the order in which a node `here` prefers them.
FIRST, SECOND, THIRD = rank("here", ["relay-a", "relay-b", "relay-c"])


def cards(relay: TestRelay) -> list[bytes | None]:
    """The cards that a relay was shown, with the node's mailbox."""
    return [bind.card for bind in relay.binds if bind.target == "*"]


async def test_a_node_opens_its_mailbox_at_its_first_two_relays_and_says_so_in_its_card() -> None:
    async with rig() as made:
        relays = {name: made.relay(name) for name in (THIRD, SECOND, FIRST)}
        for relay in relays.values():
            relay.join()
        await settle()

        expected = f"here:{FIRST} {SECOND}".encode()
        assert cards(relays[FIRST])[-1] == cards(relays[SECOND])[-1] == expected
        assert made.door.signed[-1] == (FIRST, SECOND)
        assert made.door.counters["relay_client_mailboxes"] >= 2
        states = {use.relay: use.mailbox for use in made.client.status().relays}
        assert states[FIRST] == states[SECOND] == "open"


async def test_a_mailbox_asks_for_storing_where_the_relay_stores() -> None:
    async with rig() as made:
        storing, other = made.relay(FIRST), made.relay(SECOND, capabilities=("relay",))
        storing.join()
        other.join()
        await settle()

        assert storing.binds[0].want_store_forward is True
        assert other.binds[0].want_store_forward is False


async def test_a_stranger_that_advertises_a_relay_gets_no_mailbox() -> None:
    async with rig() as made:
        stranger = made.relay(FIRST)
        stranger.is_configured = False
        stranger.join()
        await settle()

        assert stranger.binds == []


async def test_a_relay_of_a_trusted_key_gets_a_mailbox() -> None:
    async with rig() as made:
        relay = made.relay(FIRST)
        relay.is_configured = False
        wire = relay.join()
        relay.leave()
        assert wire.peer.fingerprint is not None
        made.door.trusted.add(wire.peer.fingerprint)
        relay.join()
        await settle()

        assert relay.targets() == ["*"]


async def test_a_relay_whose_id_is_not_proven_is_left_alone() -> None:
    async with rig() as made:
        relay = made.relay(FIRST)
        wire = relay.join(verified=Verified.NONE)
        await settle()

        assert (relay.binds, wire.watched) == ([], None)


async def test_a_peer_that_is_no_relay_is_left_alone() -> None:
    async with rig() as made:
        peer = made.relay(FIRST, capabilities=())
        wire = peer.join()
        await settle()

        assert (peer.binds, wire.watched) == ([], None)


async def test_a_relay_that_is_used_is_watched_closely() -> None:
    async with rig() as made:
        wire = made.relay(FIRST).join()

        assert wire.watched == 2.0


async def test_the_mailbox_is_opened_again_on_every_new_session() -> None:
    async with rig() as made:
        relay = made.relay(FIRST)
        relay.join()
        await settle()
        relay.leave()
        relay.join()
        await settle()

        assert relay.targets() == ["*", "*"]


async def test_the_mailbox_is_opened_again_where_a_session_takes_the_place_of_another() -> None:
    async with rig() as made:
        relay = made.relay(FIRST)
        relay.join()
        await settle()
        relay.join()
        await settle()

        assert relay.targets() == ["*", "*"]
        assert [use.mailbox for use in made.client.status().relays] == ["open"]


async def test_a_relay_that_was_down_at_start_gets_its_mailbox_when_it_comes() -> None:
    async with rig(use=("relay-a.test:7447",), selection="none") as made:
        await made.clock.advance(600)
        relay = made.relay("relay-a")
        relay.join()
        await settle()

        assert relay.targets() == ["*"]


async def test_a_third_relay_takes_the_place_of_one_that_went_away() -> None:
    async with rig() as made:
        first, second, third = (made.relay(name) for name in (FIRST, SECOND, THIRD))
        for relay in (first, second, third):
            relay.join()
        await settle()
        first.leave()
        await settle()

        assert made.door.signed[-1] == (SECOND, THIRD)
        assert cards(second)[-1] == cards(third)[-1] == f"here:{SECOND} {THIRD}".encode()


async def test_the_card_keeps_a_relay_that_went_away_while_there_is_no_other() -> None:
    async with rig() as made:
        first, second = made.relay(FIRST), made.relay(SECOND)
        first.join()
        second.join()
        await settle()
        signed = len(made.door.signed)
        first.leave()
        await settle()
        first.join()
        await settle()

        assert len(made.door.signed) == signed


async def test_a_relay_that_comes_back_has_its_mailbox_at_once_and_its_place_when_it_held() -> None:
    async with rig() as made:
        first, second, third = (made.relay(name) for name in (FIRST, SECOND, THIRD))
        for relay in (first, second, third):
            relay.join()
        await settle()
        first.leave()
        await settle()
        first.join()
        await settle()

        assert first.targets()[-1] == "*"
        assert made.door.signed[-1] == (SECOND, THIRD)

        await made.clock.advance(21)

        assert made.door.signed[-1] == (FIRST, SECOND)
        assert cards(first)[-1] == f"here:{FIRST} {SECOND}".encode()


async def test_a_relay_that_refuses_is_passed_over_and_asked_again_in_its_time() -> None:
    async with rig() as made:
        first, second, third = (made.relay(name) for name in (FIRST, SECOND, THIRD))
        first.refuses["*"] = Reason.POLICY_DENIED
        for relay in (first, second, third):
            relay.join()
        await settle()

        assert made.door.signed[-1] == (SECOND, THIRD)
        assert made.door.counters["relay_client_refused_binds.policy_denied"] == 1
        states = {use.relay: use.mailbox for use in made.client.status().relays}
        assert states[FIRST] == "refused: policy_denied"

        await made.clock.advance(20)
        assert first.targets() == ["*"]
        first.refuses.clear()
        await made.clock.advance(10)

        assert first.targets()[:2] == ["*", "*"]
        assert made.door.signed[-1] == (FIRST, SECOND)


async def test_a_relay_that_has_no_room_is_asked_again_sooner_and_then_later() -> None:
    async with rig() as made:
        relay = made.relay(FIRST)
        relay.refuses["*"] = Reason.OVERLOAD
        relay.join()
        await made.clock.advance(1.6)
        assert relay.targets() == ["*", "*"]
        await made.clock.advance(1.6)
        assert relay.targets() == ["*", "*"]
        await made.clock.advance(1.6)

        assert relay.targets() == ["*", "*", "*"]


async def test_what_a_relay_says_of_its_own_waiting_time_is_honoured() -> None:
    async with rig() as made:
        relay = made.relay(FIRST)
        relay.join()
        await settle()
        binding_id = f"bind:here:*:{relay.binds[0].nonce}"
        relay.say(RelayNotify(Reason.OVERLOAD, binding_id, retry_after=100.0))
        await made.clock.advance(99)
        assert relay.targets() == ["*"]
        await made.clock.advance(2)

        assert relay.targets() == ["*", "*"]


async def test_a_mailbox_that_is_not_answered_is_asked_for_again() -> None:
    async with rig() as made:
        relay = made.relay(FIRST)
        relay.is_silent = True
        relay.join()
        await made.clock.advance(5.1)
        relay.is_silent = False
        await made.clock.advance(1)

        assert [use.mailbox for use in made.client.status().relays] == ["open"]


async def test_a_relay_that_restarts_loses_its_place_before_it_is_gone() -> None:
    async with rig() as made:
        first, second, third = (made.relay(name) for name in (FIRST, SECOND, THIRD))
        for relay in (first, second, third):
            relay.join()
        await settle()
        first.say(RelayNotify(Reason.RESTARTING))
        await settle()

        assert made.door.signed[-1] == (SECOND, THIRD)


async def test_without_rendezvous_the_first_two_of_the_list_have_the_mailboxes() -> None:
    use = (f"{THIRD}.test:7447", f"{FIRST}.test:7447", f"{SECOND}.test:7447")
    async with rig(use=use, selection="none") as made:
        for name in (FIRST, SECOND, THIRD):
            made.relay(name).join()
        await settle()

        assert made.door.signed[-1] == (THIRD, FIRST)


async def test_a_node_that_uses_no_relays_asks_none() -> None:
    async with rig(selection="none") as made:
        relay = made.relay(FIRST)
        relay.join()
        await settle()

        assert (relay.binds, made.door.carrier) == ([], None)
        assert made.client.status().active is False


async def test_a_card_that_the_node_renewed_is_shown_to_the_relays() -> None:
    async with rig() as made:
        relay = made.relay(FIRST)
        relay.join()
        await settle()
        made.door.sign_card = lambda relays: b"here: renewed"  # type: ignore[method-assign]
        await made.clock.advance(3601)

        assert cards(relay) == [f"here:{FIRST}".encode(), b"here: renewed"]


async def test_a_plugin_gets_a_mailbox_at_a_relay_of_its_own_choice() -> None:
    async with rig() as made:
        stranger = made.relay("stranger", capabilities=STORING)
        stranger.is_configured = False
        stranger.join()
        await settle()
        ack = await made.carrier.bind(
            "stranger",
            "*",
            store_forward=True,
            qos=QoS.HIGH_THROUGHPUT,
            ttl_seconds=None,
            timeout_seconds=1.0,
        )
        stranger.leave()
        stranger.join()
        await settle()

        assert ack.ok
        assert stranger.targets() == ["*", "*"]


async def test_the_log_tells_once_that_a_relay_refuses_and_that_it_then_does_not() -> None:
    async with rig() as made:
        relay = made.relay(FIRST)
        relay.refuses["*"] = Reason.POLICY_DENIED
        relay.join()
        await made.clock.advance(300)
        asked = len(relay.binds)
        relay.refuses.clear()
        await made.clock.advance(300)

        told = [line for line in made.context.log_lines if line.level >= logging.INFO]
        assert asked > 1
        assert [line.level for line in told] == [logging.WARNING, logging.INFO]
        assert f"{FIRST} opens no mailbox for this node: policy_denied" in told[0].text
        assert "network.relay.allow" in told[0].text
        assert told[1].text == (
            f"{FIRST} has a mailbox of this node, and keeps what comes while it is away"
        )


async def test_a_relay_that_is_about_to_stop_is_told_once_and_shown_so() -> None:
    async with rig() as made:
        relay = made.relay(FIRST)
        wire = relay.join()
        await settle()
        for _ in range(2):
            made.client.take_notify(
                wire,
                Message(RelayNotify(Reason.RESTARTING, detail="the relay is about to stop")),
            )

        assert [line for line in made.context.log_lines if line.level >= logging.WARNING] == []
        assert [line.text for line in made.context.log_lines if "nothing more" in line.text] == [
            f"{FIRST} takes nothing more: the relay is about to stop"
        ]
        (use,) = made.client.status().relays
        assert (use.connected, use.leaving, use.stores) == (True, True, True)


async def test_a_relay_whose_plugin_stopped_is_left_at_once_and_asked_again_in_a_moment() -> None:
    async with rig() as made:
        first, second = made.relay(FIRST), made.relay(SECOND)
        for relay in (first, second):
            relay.know("bob")
            relay.join()
        route = await made.open()
        ids = [f"bind:here:{bind.target}:{bind.nonce}" for bind in first.binds]
        for binding_id in ids:
            first.say(RelayNotify(Reason.RESTARTING, binding_id, "the relay was stopped"))
        other = await made.open()
        before = first.targets()
        await made.clock.advance(2)

        assert (route.relay, other.relay) == (FIRST, SECOND)
        assert first.targets() == [*before, "*"]
        assert [line for line in made.context.log_lines if line.level >= logging.WARNING] == []
        uses = made.client.status().relays
        assert {use.mailbox for use in uses} == {"open"}
        assert not any(use.leaving for use in uses)


async def test_a_relay_that_refuses_since_it_is_about_to_stop_is_no_warning() -> None:
    async with rig() as made:
        relay = made.relay(FIRST)
        relay.refuses["*"] = Reason.RESTARTING
        relay.join()
        await settle()

        (told,) = [line for line in made.context.log_lines if "opens no mailbox" in line.text]
        assert told.level == logging.INFO


async def test_a_relay_that_is_drained_and_then_loaded_anew_is_asked_again() -> None:
    async with rig() as made:
        relay = made.relay(FIRST)
        relay.join()
        await settle()
        relay.say(RelayNotify(Reason.RESTARTING))
        await made.clock.advance(60)
        drained = len(relay.binds)
        relay.say(RelayNotify(Reason.RESTARTING, "bind:here:*:1"))
        await made.clock.advance(2)

        assert (drained, len(relay.binds)) == (1, 2)


async def test_what_use_names_and_is_not_connected_is_shown() -> None:
    async with rig(use=("far.example.org:50000", FIRST, SECOND), selection="none") as made:
        made.relay(FIRST).join()
        await settle()
        assert made.client.status().missing == ("far.example.org:50000", SECOND)

        made.relay(SECOND).join()
        await settle()
        assert made.client.status().missing == ("far.example.org:50000",)
