"""Cards that are not what they should be, and senders who are not trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from thenodes_core import EncryptionTable, Node, TrustPolicyTable
from thenodes_core.security.identity import Identity, load_identity
from thenodes_plugin_api import (
    DeliveryOptions,
    DeliveryStatus,
    NoRoute,
    Payload,
    QoS,
    Realm,
    Reason,
    RelayBind,
    Text,
)

from .false_relay import FalseRelay, Far, rewritten
from .town import Town, User, town
from .wire import Heard, raw, send_raw

_DAY_MS = 86_400_000
_ELSEWHERE = Realm("Elsewhere", "elsewhere", "1.0")

RELIABLE = DeliveryOptions(qos=QoS.RELIABLE)


def broken(card: bytes) -> bytes:
    """A card with one bit of its signature changed."""
    return card[:-1] + bytes((card[-1] ^ 1,))


def now_ms(made: Town) -> int:
    return int(made.clock.time() * 1000)


BOUND: dict[str, Callable[[bytes, Identity, bytes, int], bytes]] = {
    "noise": lambda own, key, other, now: b"\x92\xc4\x01",
    "too long": lambda own, key, other, now: own + bytes(20_000),
    "another's": lambda own, key, other, now: other,
    "another's, signed anew": lambda own, key, other, now: rewritten(other, key),
    "of another key": lambda own, key, other, now: rewritten(own, Identity.generate()),
    "broken": lambda own, key, other, now: broken(own),
    "older": lambda own, key, other, now: rewritten(
        own, key, issued_at=now - _DAY_MS, not_after=now + _DAY_MS
    ),
    "of another realm": lambda own, key, other, now: rewritten(
        own, key, realm=["Elsewhere", "elsewhere", "1.0"], issued_at=now + 1000
    ),
    "expired": lambda own, key, other, now: rewritten(
        own, key, issued_at=now - 2 * _DAY_MS, not_after=now - 1
    ),
    "far ahead": lambda own, key, other, now: rewritten(
        own, key, issued_at=now + 2 * _DAY_MS, not_after=now + 3 * _DAY_MS
    ),
}


@pytest.mark.parametrize("what", BOUND)
async def test_no_mailbox_is_opened_with_a_card_that_is_forged(tmp_path: Path, what: str) -> None:
    async with town(tmp_path) as made:
        relay = await made.relay(stores=True)
        bob = await made.user("bob")
        mallory = await made.outsider("mallory", "relay-a")
        heard = Heard(mallory)
        await made.until(lambda: mallory.peers.service_session(relay.id))
        await made.until(lambda: relay.counters.get("relay_bound") == 1)
        own, others = mallory.peers.local.card, bob.node.peers.local.card
        assert own is not None
        assert others is not None
        key = Identity(load_identity(made.state("mallory") / "identity.pem").key)
        card = BOUND[what](own, key, others, now_ms(made))

        asked = raw(RelayBind.code, [None, None, None, "*", True, None, 1, None, card])
        send_raw(mallory, relay.id, [asked])
        await made.clock.advance(1)

        assert [answer.reason for answer in heard.answers()] == [Reason.UNAUTHENTICATED]
        assert relay.counters.get("relay_refused_binds", reason="unauthenticated") == 1
        assert relay.counters.get("relay_bound") == 1


HANDED_OUT: dict[str, Callable[[Far, Far, int], bytes]] = {
    "noise": lambda bob, mallory, now: b"no card",
    "another node's": lambda bob, mallory, now: mallory.card(),
    "of another key": lambda bob, mallory, now: rewritten(bob.card(), mallory.identity),
    "of another key that it names": lambda bob, mallory, now: rewritten(
        mallory.card(), mallory.identity, node_id=bob.node_id
    ),
    "broken": lambda bob, mallory, now: broken(bob.card()),
    "of another realm": lambda bob, mallory, now: bob.card(realm=_ELSEWHERE),
    "expired": lambda bob, mallory, now: bob.card(issued_at=now - 2 * _DAY_MS, not_after=now - 1),
    "far ahead": lambda bob, mallory, now: bob.card(
        issued_at=now + 2 * _DAY_MS, not_after=now + 3 * _DAY_MS
    ),
}


async def deceived(made: Town) -> tuple[FalseRelay, User]:
    """A relay that lies, and alice, who uses it."""
    relay = FalseRelay(await made.outsider("relay-a", port=1001))
    alice = await made.user("alice")
    await made.until(lambda: relay.binds)
    return relay, alice


@pytest.mark.parametrize("what", HANDED_OUT)
@pytest.mark.parametrize("qos", [QoS.HIGH_THROUGHPUT, QoS.RELIABLE])
async def test_nothing_is_sealed_for_a_card_that_a_relay_forged(
    tmp_path: Path, what: str, qos: QoS
) -> None:
    async with town(tmp_path) as made:
        relay, alice = await deceived(made)
        bob, mallory = (Far(alice.node.realm, now_ms(made)) for _ in range(2))
        relay.cards[bob.node_id] = HANDED_OUT[what](bob, mallory, now_ms(made))

        options = DeliveryOptions(qos=qos)
        with pytest.raises(NoRoute) as caught:
            await made.result(alice.inbox.ctx.send(bob.node_id, Text("secret"), options=options))

        assert caught.value.reason is Reason.NO_CARD
        assert relay.frames == []
        assert alice.node.counters.get("relay_client_cards_refused") >= 1
        assert alice.node.counters.get("relayed_refused", reason="no_card") == 1


async def test_nothing_is_sealed_for_a_chosen_id_whose_key_is_not_known(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        relay, alice = await deceived(made)
        relay.cards["bob"] = Far(alice.node.realm, now_ms(made), "bob").card()

        with pytest.raises(NoRoute) as caught:
            await made.result(alice.inbox.ctx.send("bob", Text("secret")))

        assert caught.value.reason is Reason.NO_CARD
        assert relay.frames == []
        assert alice.node.counters.get("relay_client_cards_refused") >= 1


async def test_an_older_card_than_one_that_is_known_is_not_used(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        relay, alice = await deceived(made)
        now = now_ms(made)
        bob = Far(alice.node.realm, now)
        old, new = bytes(reversed(range(32))), bytes(range(32))
        for key, issued_at in ((new, now), (old, now - 1000)):
            relay.cards[bob.node_id] = bob.card(sealing_key=key, issued_at=issued_at)
            await made.result(alice.inbox.ctx.send(bob.node_id, Text("secret")))
            made.network.cut()
            await made.until(lambda: alice.node.peers.service_session(relay.id))
            await made.clock.advance(2)

        sealed_for = {msgspec.msgpack.decode(body(frame.data))[1] for frame in relay.frames}
        assert len(relay.frames) == 2
        assert sealed_for == {hashlib.sha256(new).digest()[:8]}
        assert alice.node.counters.get("relay_client_cards_refused") >= 1


def body(data: bytes) -> bytes:
    """What stands behind a frame's header."""
    return data[8 + int.from_bytes(data[6:8], "big") :]


def fingerprint_of(of: str, known_to: Node) -> str:
    """Of the key of a node, as a peer of it saw it."""
    peer = known_to.peers.get(of)
    assert peer is not None
    assert peer.fingerprint is not None
    return peer.fingerprint


async def sends(made: Town, user: User, to: str, qos: QoS) -> DeliveryStatus:
    options = DeliveryOptions(qos=qos)
    sending = user.inbox.ctx.send(to, Text(""), Payload.text(qos), options=options)
    return (await made.result(sending, 30.0)).status


async def test_a_sender_whom_the_trust_policy_refuses_reaches_no_plugin_through_a_relay(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as made:
        relay = await made.relay(stores=True)
        alice = await made.user("alice")
        await made.until(lambda: relay.counters.get("relay_bound") == 1)
        pins = (fingerprint_of(relay.id, alice.node),)
        policy = EncryptionTable(trust_policy=TrustPolicyTable(pin_fingerprints=pins))
        bob = await made.user("bob", encryption=policy)
        await made.until(lambda: relay.counters.get("relay_bound") == 2)

        for qos in QoS:
            await sends(made, alice, bob.node.id, qos)
        await made.until(lambda: alice.inbox.notices)

        assert bob.inbox.messages == []
        assert bob.node.counters.get("relayed_dropped", reason="untrusted") == len(QoS)
        assert [notice.notif_type for notice in alice.inbox.notices] == [Reason.DECLINED]
        assert relay.counters.get("relay_dropped", reason="declined") == 1
        assert made.logs["bob"].details("relayed_dropped")


@pytest.mark.parametrize("is_away", [False, True])
async def test_a_sender_whose_key_was_revoked_meanwhile_reaches_no_plugin(
    tmp_path: Path, is_away: bool
) -> None:
    async with town(tmp_path) as made:
        relay = await made.relay(stores=True)
        alice, bob = await made.user("alice"), await made.user("bob")
        await made.until(lambda: relay.counters.get("relay_bound") >= 2)
        await sends(made, alice, bob.node.id, QoS.HIGH_THROUGHPUT)
        await made.until(lambda: bob.inbox.messages)
        key = fingerprint_of(alice.node.id, relay)
        if is_away:
            await made.stop("bob")
        else:
            bob.node.trust.revoke(key)

        told = [await sends(made, alice, bob.node.id, QoS.RELIABLE) for _ in range(2)]
        inboxes = {bob.inbox}
        if is_away:
            rejected = made.state("bob") / "pki" / "rejected"
            rejected.mkdir(parents=True, exist_ok=True)
            (rejected / f"{key}.pem").touch()
            bob = await made.user("bob")
            inboxes.add(bob.inbox)
        await made.until(lambda: len(alice.inbox.notices) == 2)

        assert told == [DeliveryStatus.STORED] * 2
        assert sum(len(inbox.messages) for inbox in inboxes) == 1
        assert bob.node.counters.get("relayed_dropped", reason="untrusted") == 2
        assert relay.counters.get("relay_dropped", reason="declined") == 2
