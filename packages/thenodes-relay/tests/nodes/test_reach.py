"""How soon a node is reachable again when its relay is not."""

from __future__ import annotations

from pathlib import Path

from thenodes_core import Node
from thenodes_plugin_api import DeliveryOptions, DeliveryOutcome, DeliveryStatus, Payload, QoS, Text

from .town import Town, User, town


async def two_users(made: Town, *relays: str) -> tuple[User, User]:
    """Alice and bob, who can reach each other."""
    alice, bob = await made.user("alice", *relays), await made.user("bob", *relays)
    await made.until(lambda: bob.node.counters.get("relay_client_mailboxes") >= len(relays))
    await made.reach(alice, bob)
    return alice, bob


def carrying(relays: dict[str, Node], before: dict[str, int]) -> list[str]:
    """The relays that carried something since."""
    return [
        name for name, node in relays.items() if node.counters.get("relay_forwarded") > before[name]
    ]


async def two_relays(made: Town) -> dict[str, Node]:
    return {name: await made.relay(name) for name in ("relay-a", "relay-b")}


def counts(relays: dict[str, Node]) -> dict[str, int]:
    return {name: node.counters.get("relay_forwarded") for name, node in relays.items()}


async def test_with_two_relays_a_node_is_reachable_within_5_s_of_the_death_of_one(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as made:
        relays = await two_relays(made)
        nothing = dict.fromkeys(relays, 0)
        alice, bob = await two_users(made, *relays)
        (used,) = carrying(relays, nothing)
        before = counts(relays)
        made.kill(used)

        assert await made.reach(alice, bob) < 5
        (other,) = carrying(relays, before)
        assert other != used


async def test_with_two_relays_a_node_is_reachable_within_10_s_of_one_falling_silent(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as made:
        relays = await two_relays(made)
        nothing = dict.fromkeys(relays, 0)
        alice, bob = await two_users(made, *relays)
        (used,) = carrying(relays, nothing)
        before = counts(relays)
        made.silence(used)

        assert await made.reach(alice, bob) < 10
        assert used not in carrying(relays, before)


async def test_a_reliable_message_at_a_relay_that_fell_silent_is_at_another_within_8_s(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as made:
        relays = {name: await made.relay(name, stores=True) for name in ("relay-a", "relay-b")}
        alice, bob = await two_users(made, *relays)
        options = DeliveryOptions(qos=QoS.RELIABLE)

        async def send() -> DeliveryOutcome:
            send = alice.inbox.ctx.send
            return await made.result(
                send(bob.node.id, Text(""), Payload.text("1"), options=options), 20
            )

        had = len(bob.inbox.messages)
        before = await send()
        (used,) = [name for name, node in relays.items() if node.id == before.relay]
        made.silence(used)
        begun = made.clock.time()
        await send()
        await made.until(lambda: len(bob.inbox.messages) == had + 2)

        assert before.status is DeliveryStatus.STORED
        assert made.clock.time() - begun < 8


async def test_with_one_relay_nodes_are_reachable_within_15_s_of_its_restart(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as made:
        await made.relay()
        alice, bob = await two_users(made, "relay-a")
        await made.stop("relay-a")
        await made.clock.advance(30)
        relay = await made.relay()

        assert await made.reach(alice, bob) < 15
        assert relay.counters.get("relay_forwarded") == 1


async def test_a_relay_that_was_down_at_start_is_used_when_it_comes(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        alice, bob = await made.user("alice"), await made.user("bob")
        await made.clock.advance(60)
        relay = await made.relay()

        assert await made.reach(alice, bob) < 15
        assert relay.counters.get("relay_bound") >= 3


async def test_with_one_relay_nodes_are_reachable_after_every_link_was_cut(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        relay = await made.relay()
        alice, bob = await two_users(made, "relay-a")
        for _ in range(5):
            before = relay.counters.get("relay_forwarded")
            made.network.cut()
            assert await made.reach(alice, bob) < 15
            assert relay.counters.get("relay_forwarded") > before


async def test_with_one_relay_nodes_are_reachable_within_25_s_of_its_links_falling_silent(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as made:
        relay = await made.relay()
        alice, bob = await two_users(made, "relay-a")
        before = relay.counters.get("relay_forwarded")
        made.silence("relay-a", for_good=False)

        assert await made.reach(alice, bob) < 25
        assert relay.counters.get("relay_forwarded") > before
