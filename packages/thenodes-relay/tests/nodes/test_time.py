"""Clocks that are set otherwise, and frames whose time is over while they are stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from thenodes_core import Node
from thenodes_plugin_api import DeliveryOptions, DeliveryStatus, Payload, QoS, Reason, Text

from .town import Town, User, town

_HOUR = 3600.0


async def pair(made: Town) -> tuple[Node, User, User]:
    """A relay that stores, and alice and bob with their mailboxes."""
    relay = await made.relay(stores=True)
    alice, bob = await made.user("alice"), await made.user("bob")
    await made.until(lambda: relay.counters.get("relay_bound") >= 2)
    return relay, alice, bob


async def send(
    made: Town,
    user: User,
    to: str,
    text: str,
    *,
    ttl_seconds: float | None = None,
    qos: QoS = QoS.RELIABLE,
) -> DeliveryStatus:
    """Send a message."""
    options = DeliveryOptions(qos=qos, ttl_seconds=ttl_seconds)
    sending = user.inbox.ctx.send(to, Text(""), Payload.text(text), options=options)
    return (await made.result(sending, 30.0)).status


def expired(relay: Node) -> int:
    return relay.counters.get("relay_expired")


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("who", ["relay-a", "bob", "alice"])
async def test_a_clock_that_is_set_back_an_hour_loses_nothing_and_doubles_nothing(
    tmp_path: Path, who: str, restarts: bool
) -> None:
    async with town(tmp_path) as made:
        relay, alice, bob = await pair(made)
        name = bob.node.id
        seen = await send(made, alice, name, "seen")
        await made.until(lambda: bob.inbox.messages)
        await made.until(lambda: relay.counters.get("relay_acked") == 1)
        await made.stop("bob")
        before = [
            await send(made, alice, name, f"{qos} before", qos=qos, ttl_seconds=2 * _HOUR)
            for qos in (QoS.RELIABLE, QoS.HIGH_THROUGHPUT)
        ]
        await made.until(lambda: relay.counters.get("relay_stored") == 3)

        made.clocks[who].ahead_seconds -= _HOUR
        if restarts:
            await made.stop("relay-a")
            relay = await made.relay(stores=True)
            await made.until(lambda: relay.counters.get("relay_bound") >= 1)
        after = await send(made, alice, name, "after")
        bob = await made.user("bob")
        await made.until(lambda: len(bob.inbox.messages) >= 3)
        await made.until(lambda: relay.counters.get("relay_acked") >= 2)
        await made.clock.advance(60)

        assert [seen, *before, after] == [DeliveryStatus.STORED] * 2 + [
            DeliveryStatus.SENT,
            DeliveryStatus.STORED,
        ]
        texts = bob.inbox.texts()
        assert sorted(texts) == ["after", "high_throughput before", "reliable before"]
        assert texts.index("reliable before") < texts.index("after")
        assert expired(relay) == 0


async def test_a_relay_whose_clock_is_set_ahead_delivers_nothing_late_and_tells_the_origin(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as made:
        relay, alice, bob = await pair(made)
        await made.stop("bob")
        for ttl in (_HOUR, 3 * _HOUR):
            await send(made, alice, bob.node.id, f"{ttl:.0f}", ttl_seconds=ttl)

        made.clocks["relay-a"].ahead_seconds += 2 * _HOUR
        again = await made.user("bob")
        await made.until(lambda: expired(relay) == 1)
        await made.until(lambda: again.inbox.messages)
        await made.clock.advance(60)

        assert again.inbox.texts() == [f"{3 * _HOUR:.0f}"]
        assert [notice.notif_type for notice in alice.inbox.notices] == [Reason.TIMEOUT]
        assert relay.counters.get("relay_dropped", reason="timeout") == 1


async def test_a_receiver_whose_clock_is_ahead_takes_nothing_late_and_the_origin_is_told(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as made:
        relay, alice, bob = await pair(made)
        made.clocks["bob"].ahead_seconds += 2 * _HOUR

        late = await send(made, alice, bob.node.id, "late", ttl_seconds=_HOUR)
        await made.until(lambda: relay.counters.get("relay_dropped", reason="declined") == 1)
        await made.until(lambda: alice.inbox.notices)

        assert late is DeliveryStatus.STORED
        assert bob.inbox.messages == []
        assert bob.node.counters.get("relayed_dropped", reason="expired") == 1
        assert [notice.notif_type for notice in alice.inbox.notices] == [Reason.DECLINED]


async def test_a_frame_that_expires_while_it_is_stored_is_told_to_its_origin(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as made:
        relay, alice, bob = await pair(made)
        await made.stop("bob")
        sent = [
            await send(made, alice, bob.node.id, f"{qos}", qos=qos, ttl_seconds=20)
            for qos in (QoS.RELIABLE, QoS.HIGH_THROUGHPUT, QoS.BULK)
        ]
        await made.until(lambda: relay.counters.get("relay_stored") == 3)

        await made.until(lambda: expired(relay) == 3, 30)
        await made.until(lambda: len(alice.inbox.notices) == 3)
        again = await made.user("bob")
        await made.clock.advance(30)

        assert sent[0] is DeliveryStatus.STORED
        assert {notice.notif_type for notice in alice.inbox.notices} == {Reason.TIMEOUT}
        assert len({notice.message_id for notice in alice.inbox.notices}) == 3
        assert relay.counters.get("relay_dropped", reason="timeout") == 3
        assert again.inbox.messages == []


@pytest.mark.parametrize("restarts", [False, True])
async def test_an_origin_that_is_away_is_told_when_it_returns(
    tmp_path: Path, restarts: bool
) -> None:
    async with town(tmp_path) as made:
        relay, alice, bob = await pair(made)
        await made.stop("bob")
        for number in range(3):
            await send(made, alice, bob.node.id, f"{number}", ttl_seconds=20)
        await made.stop("alice")
        await made.until(lambda: expired(relay) == 3, 40)
        assert relay.counters.get("relay_dropped", reason="timeout") == 3
        if restarts:
            await made.stop("relay-a")
            relay = await made.relay(stores=True)

        alice = await made.user("alice")
        await made.until(lambda: len(alice.inbox.notices) == 3)
        await made.clock.advance(5)

        assert [notice.notif_type for notice in alice.inbox.notices] == [Reason.TIMEOUT] * 3
        assert len({notice.message_id for notice in alice.inbox.notices}) == 3
        assert relay.counters.get("relay_notified", reason="timeout") == 3


async def test_a_mailbox_that_is_given_up_ends_its_frames_and_their_origin_is_told(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as made:
        relay = await made.relay(stores=True, retention_secs=60)
        alice, bob = await made.user("alice"), await made.user("bob")
        await made.until(lambda: relay.counters.get("relay_bound") >= 2)
        await made.stop("bob")
        await send(made, alice, bob.node.id, "never read")

        await made.until(lambda: alice.inbox.notices, 90)

        (notice,) = [notice for notice in alice.inbox.notices if notice.message_id]
        assert notice.notif_type is Reason.PEER_LEFT
        assert relay.counters.get("relay_dropped", reason="peer_left") == 1


async def test_frames_that_expire_as_their_mailbox_ends_are_told_once(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        relay, alice, bob = await pair(made)
        await made.stop("bob")
        for number in range(20):
            await send(made, alice, bob.node.id, f"{number}")

        # Both the frames and the mailbox of who is away last for a week.
        made.clocks["relay-a"].ahead_seconds += 8 * 24 * _HOUR
        await made.until(lambda: len(alice.inbox.notices) >= 20)
        await made.clock.advance(10)

        told = [notice.message_id for notice in alice.inbox.notices if notice.message_id]
        assert len(told) == len(set(told)) == 20
        reasons = [relay.counters.get("relay_dropped", reason=r) for r in ("timeout", "peer_left")]
        assert sum(reasons) == 20
