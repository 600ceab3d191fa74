"""Nodes that take more than their share, or say that they are others."""

from __future__ import annotations

import uuid
from collections import Counter
from functools import partial
from pathlib import Path

from thenodes_core import Node
from thenodes_core.clock import settle
from thenodes_plugin_api import (
    DeliveryOptions,
    DeliveryStatus,
    Payload,
    QoS,
    Reason,
    Text,
)
from thenodes_relay.commands import NodeStatus
from thenodes_relay.report import RelayStatus

from .town import Town, User, town
from .wire import Heard, bind, forward, send_raw

RELIABLE = DeliveryOptions(qos=QoS.RELIABLE)


async def connected(made: Town, name: str, relay: Node) -> tuple[Node, Heard]:
    """A node without the plugin that has a session with a relay."""
    node = await made.outsider(name, "relay-a")
    heard = Heard(node)
    await made.until(lambda: node.peers.service_session(relay.id))
    return node, heard


async def flood(made: Town, node: Node, relay: Node, frames: list[bytes]) -> None:
    """Send all of these, as fast as the relay takes them."""
    while frames:
        del frames[: send_raw(node, relay.id, frames[:64])]
        await settle(5)
    await made.clock.advance(1)


async def stored(made: Town, user: User, to: str, text: str) -> DeliveryStatus:
    """Send a reliable message."""
    sending = user.inbox.ctx.send(to, Text(""), Payload.text(text), options=RELIABLE)
    return (await made.result(sending, 30.0)).status


async def test_who_crosses_its_quotas_is_refused_and_others_still_store(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        relay = await made.relay(stores=True, queue_max_per_target=64, queue_max_global=640)
        alice, bob = await made.user("alice"), await made.user("bob")
        mallory, heard = await connected(made, "mallory", relay)
        name = bob.node.id
        await made.until(lambda: relay.counters.get("relay_bound") >= 2)
        await made.stop("bob")
        send_raw(mallory, relay.id, [bind(name)])
        await made.until(heard.answers)

        frames = [forward(name, mallory.id, number, "reliable") for number in range(1, 501)]
        await flood(made, mallory, relay, frames)
        await made.until(lambda: relay.counters.get("relay_stored") == 16)
        others = [await stored(made, alice, name, f"{number}") for number in range(16)]

        # A quarter of the target's is the most that one sender gets; each of the rest is told.
        assert relay.counters.get("relay_dropped", reason="quota") == 500 - 16
        await made.until(lambda: len(heard.notices()) + missed(heard) >= 484)
        assert {notice.notif_type for notice in heard.notices()} <= {Reason.QUOTA, Reason.OVERLOAD}
        assert [ack.status for ack in heard.acks()] == ["stored"] * 16
        assert others == [DeliveryStatus.STORED] * 16
        bob = await made.user("bob")
        await made.until(lambda: len(bob.inbox.messages) == 16)
        assert bob.inbox.texts() == [f"{number}" for number in range(16)]


def has_all(heard: Heard, count: int) -> bool:
    """Whether a node was told of so many frames."""
    return len(heard.acks()) + len(heard.notices()) == count


def missed(heard: Heard) -> int:
    """Of how many notifications a node was told the number alone."""
    words = [(notice.detail or "").split(" more ") for notice in heard.notices()]
    return sum(int(word[0]) for word in words if len(word) > 1 and word[0].isdigit())


def trust(relay: Node, node: Node) -> None:
    """Let the relay's operator trust a node's key."""
    (peer,) = [peer for peer in relay.peers.all() if peer.node_id == node.id]
    fingerprint = peer.fingerprint
    assert fingerprint is not None
    relay.trust.store.observe(fingerprint, node.certificate)
    relay.trust.promote(fingerprint)


async def test_strangers_fill_half_of_what_is_stored_and_a_trusted_node_still_stores(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as made:
        relay = await made.relay(stores=True, queue_max_per_target=400, queue_max_global=400)
        alice, bob = await made.user("alice"), await made.user("bob")
        await made.until(lambda: relay.counters.get("relay_bound") >= 2)
        trust(relay, alice.node)
        made.network.cut()
        await made.until(lambda: relay.counters.get("relay_bound") >= 4)
        name = bob.node.id
        await made.stop("bob")

        strangers = []
        for number in range(11):
            node, heard = await connected(made, f"mallory-{number}", relay)
            strangers.append(heard)
            send_raw(node, relay.id, [bind(name)])
            await made.until(heard.answers)
            frames = [forward(name, node.id, each, "reliable") for each in range(1, 31)]
            await flood(made, node, relay, frames)
            await made.until(partial(has_all, heard, 30))
        others = [await stored(made, alice, name, f"{number}") for number in range(20)]

        # A twentieth of all for each sender, half for all strangers.
        assert relay.counters.get("relay_stored") == 200 + 20
        assert relay.counters.get("relay_dropped", reason="quota") == 11 * 30 - 200
        assert others == [DeliveryStatus.STORED] * 20
        assert [len(heard.acks()) for heard in strangers] == [20] * 10 + [0]
        assert "strangers" in (strangers[-1].notices()[0].detail or "")


async def test_strangers_open_half_of_the_mailboxes_and_a_trusted_node_another(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as made:
        relay = await made.relay(stores=True, mailboxes_max=6)
        alice = await made.user("alice")
        await made.until(lambda: relay.counters.get("relay_bound") >= 1)
        trust(relay, alice.node)
        await made.stop("alice")
        strangers = [await connected(made, f"mallory-{number}", relay) for number in range(5)]
        for node, heard in strangers:
            send_raw(node, relay.id, [bind("*")])
            await made.until(heard.answers)
        await made.user("alice")
        await made.until(lambda: relay.counters.get("relay_bound") >= 4)

        answers = [heard.answers()[0] for _, heard in strangers]
        # Alice, whose mailbox was a stranger's, has one of the three until she returns.
        assert [answer.ok for answer in answers] == [True, True, False, False, False]
        assert {answer.reason for answer in answers if not answer.ok} == {Reason.QUOTA}
        assert relay.counters.get("relay_refused_binds", reason="quota") == 3


async def test_a_forged_sender_is_refused_counted_and_told(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        relay = await made.relay(stores=True)
        alice, bob = await made.user("alice"), await made.user("bob")
        mallory, heard = await connected(made, "mallory", relay)
        await made.until(lambda: relay.counters.get("relay_bound") >= 2)
        send_raw(mallory, relay.id, [bind(bob.node.id)])
        await made.until(heard.answers)

        forged = [
            forward(bob.node.id, sender, number, qos)
            for number, (sender, qos) in enumerate(
                (sender, qos) for sender in (alice.node.id, bob.node.id, "", "*") for qos in QoS
            )
        ]
        send_raw(mallory, relay.id, forged)
        await made.until(lambda: len(heard.notices()) >= len(forged))

        assert {notice.notif_type for notice in heard.notices()} == {Reason.UNAUTHENTICATED}
        told = {notice.message_id for notice in heard.notices()}
        assert told == {uuid.UUID(int=number) for number in range(len(forged))}
        assert relay.counters.get("relay_dropped", reason="unauthenticated") == len(forged)
        assert relay.counters.get("relay_forwarded") + relay.counters.get("relay_stored") == 0
        assert bob.node.counters.get("relay_client_received") == 0
        (detail,) = made.logs["relay-a"].details("relay_refused")
        assert mallory.id in detail


async def test_ten_thousand_binds_of_one_node_stop_at_its_limit_and_others_still_bind(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as made:
        relay = await made.relay(stores=True, frames_per_second=100_000, frames_burst=100_000)
        mallory, heard = await connected(made, "mallory", relay)
        binds = [bind(f"target-{number}", store=False) for number in range(10_000)]

        await flood(made, mallory, relay, binds)
        await made.until(lambda: len(heard.answers()) == 10_000, 60)

        reasons = Counter(answer.reason for answer in heard.answers())
        assert reasons == {None: 1024, Reason.QUOTA: 10_000 - 1024}
        assert relay.counters.get("relay_refused_binds", reason="quota") == 10_000 - 1024
        assert (await status(relay)).bindings == 1024
        alice, bob = await made.user("alice"), await made.user("bob")
        await made.reach(alice, bob)
        assert relay.counters.get("relay_forwarded") == 1

        await made.stop("mallory")
        assert (await status(relay)).bindings == 1


async def test_binds_that_come_too_fast_are_refused_and_the_next_second_they_pass(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as made:
        relay = await made.relay(stores=True, frames_per_second=100, frames_burst=200)
        mallory, heard = await connected(made, "mallory", relay)

        binds = [bind(f"target-{number}", store=False) for number in range(1000)]
        send_raw(mallory, relay.id, binds)
        await made.clock.advance(1)
        send_raw(mallory, relay.id, [bind("bob", store=False)])
        await made.until(lambda: len(heard.answers()) == 1001)

        reasons = Counter(answer.reason for answer in heard.answers())
        assert reasons == {None: 201, Reason.RATE_LIMITED: 800}
        assert relay.counters.get("relay_refused_binds", reason="rate_limited") == 800


async def status(relay: Node) -> RelayStatus:
    """What its operator reads."""
    reply = (await relay.commands.run("relay status")).data
    assert isinstance(reply, NodeStatus)
    assert reply.relay is not None
    return reply.relay
