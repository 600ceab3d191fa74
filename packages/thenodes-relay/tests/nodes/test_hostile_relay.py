"""Relays that say what is not so: nothing is believed, lost without a word, or a fault."""

from __future__ import annotations

import asyncio
import json
import math
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from thenodes_core import Node
from thenodes_core.limits import Limits
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_plugin_api import (
    Ack,
    Body,
    DeliveryOptions,
    DeliveryOutcome,
    DeliveryStatus,
    ForwardHeader,
    Message,
    PayloadForm,
    QoS,
    Reason,
    RelayBind,
    RelayBindAck,
    RelayNotify,
    Text,
)

from .false_relay import FalseRelay, Far
from .town import Town, User, town
from .wire import delivery, forward, raw, send_raw

RELIABLE = DeliveryOptions(qos=QoS.RELIABLE)
CODEC = BinaryCodec(Limits())

_FORWARD = 7
_PORTS = {"relay-a": 1001, "relay-b": 1002}


def no_faults(*nodes: Node) -> bool:
    """Whether no plugin of these failed."""
    names = [name for node in nodes for name in node.counters.snapshot()]
    return not any(name.startswith("plugin_faults") for name in names)


async def deceived(made: Town, *names: str) -> tuple[list[FalseRelay], User, Far]:
    """Relays that a test moves; alice, who uses them; and bob, whose card they hand out."""
    relays = [FalseRelay(await made.outsider(name, port=_PORTS[name])) for name in names]
    alice = await made.user("alice", *names)
    await made.until(lambda: all(relay.binds for relay in relays))
    bob = Far(alice.node.realm, int(made.clock.time() * 1000))
    for relay in relays:
        relay.cards[bob.node_id] = bob.card()
    return relays, alice, bob


def begin(alice: User, to: str, options: DeliveryOptions) -> asyncio.Future[DeliveryOutcome]:
    """Begin to send."""
    return asyncio.ensure_future(alice.inbox.ctx.send(to, Text("secret"), options=options))


async def reconnect(made: Town, user: User, relay: FalseRelay) -> None:
    """Cut every link, and wait until the user has another session with the relay."""
    before = user.node.peers.service_session(relay.id)
    made.network.cut()
    await made.until(lambda: user.node.peers.service_session(relay.id) not in (None, before))


async def pair(made: Town) -> tuple[Node, User, User]:
    """A relay, and alice and bob with their mailboxes."""
    relay = await made.relay(stores=True)
    alice, bob = await made.user("alice"), await made.user("bob")
    await made.until(lambda: relay.counters.get("relay_bound") >= 2)
    return relay, alice, bob


async def test_answers_that_nobody_asked_for_change_nothing_and_are_counted(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as made:
        relay, alice, bob = await pair(made)
        session = relay.peers.service_session(alice.node.id)
        assert session is not None
        before = alice.node.counters.get("relay_client_ignored")
        unknown = uuid.UUID(int=7)
        for nonce in (None, -1, 0, 1 << 63):
            session.send(RelayBindAck(True, None, "bind:x:y:0", True, nonce))
        for status in ("stored", "ok", "dup", "error", "?", None):
            session.send(Ack(alice.node.id, bob.node.id, 0, status, unknown))
            session.send(Ack(alice.node.id, bob.node.id, 0, status))
        await made.clock.advance(1)

        ignored = alice.node.counters
        assert before == 0
        assert ignored.get("relay_client_ignored", reason="bind_ack") == 4
        assert ignored.get("relay_client_ignored", reason="ack") == 12
        outcome = await made.result(alice.inbox.ctx.send(bob.node.id, Text(""), options=RELIABLE))
        await made.until(lambda: bob.inbox.messages)
        assert outcome.status is DeliveryStatus.STORED
        assert relay.counters.get("relay_stored") == 1
        assert no_faults(relay, alice.node, bob.node)


async def test_an_answer_counts_from_the_relay_alone_that_was_asked(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        relays, alice, bob = await deceived(made, "relay-a", "relay-b")
        for relay in relays:
            relay.answer = lambda bind: None
        sending = begin(alice, bob.node_id, RELIABLE)
        await made.until(lambda: any(relay.binds[-1].target == bob.node_id for relay in relays))
        asked, other = sorted(relays, key=lambda relay: relay.binds[-1].target != bob.node_id)

        other.session(alice.node.id).send(asked.grant(asked.binds[-1]))
        await made.clock.advance(0.5)

        assert alice.node.counters.get("relay_client_ignored", reason="bind_ack") == 1
        assert asked.frames + other.frames == []
        asked.session(alice.node.id).send(asked.grant(asked.binds[-1]))
        await made.until(sending.done)
        assert (await sending).relay == asked.id


WORDS: dict[str, Callable[[str, str, uuid.UUID], Body]] = {
    "stored": lambda me, to, known_as: Ack(me, to, 0, "stored", known_as),
    "dup": lambda me, to, known_as: Ack(me, to, 0, "dup", known_as),
    "error": lambda me, to, known_as: Ack(me, to, 0, "error", known_as),
    "quota": lambda me, to, known_as: RelayNotify(Reason.QUOTA, message_id=known_as),
    "timeout": lambda me, to, known_as: RelayNotify(Reason.TIMEOUT, message_id=known_as),
    "not_bound": lambda me, to, known_as: RelayNotify(Reason.NOT_BOUND, message_id=known_as),
}


@pytest.mark.parametrize("word", WORDS)
async def test_the_word_of_another_relay_than_the_one_that_has_a_frame_does_not_count(
    tmp_path: Path, word: str
) -> None:
    async with town(tmp_path) as made:
        relays, alice, bob = await deceived(made, "relay-a", "relay-b")
        for relay in relays:
            relay.confirms = False
        sending = begin(alice, bob.node_id, RELIABLE)
        await made.until(lambda: any(relay.frames for relay in relays))
        used, other = sorted(relays, key=lambda relay: not relay.frames)
        header = used.frames[0].header
        assert header.delivery is not None
        known_as = uuid.UUID(bytes=header.delivery.message_id)

        said = WORDS[word](alice.node.id, bob.node_id, known_as)
        other.session(alice.node.id).send(said)
        await made.clock.advance(1)
        assert not sending.done()
        assert other.frames == []
        assert len(used.frames) == 1
        assert alice.inbox.notices == []

        stored = Ack(alice.node.id, bob.node_id, 0, "stored", known_as)
        used.session(alice.node.id).send(stored)
        await made.until(sending.done)
        assert (await sending).relay == used.id
        assert (await sending).status is DeliveryStatus.STORED
        assert alice.node.counters.get("relay_client_ignored", reason=_kind(said)) == 1


def _kind(body: Body) -> str:
    return "ack" if isinstance(body, Ack) else "notify"


async def test_what_a_relay_makes_up_reaches_no_plugin(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        relay, alice, bob = await pair(made)
        now = int(made.clock.time() * 1000)
        me, friend = bob.node.id, alice.node.id
        noise = partial(forward, created_at=now, expires_at=now + 60_000)
        enclosed = CODEC.encode(Message(Text("made up")))
        header = ForwardHeader(
            None,
            None,
            delivery(1, created_at=now, expires_at=now + 60_000),
            me,
            friend,
            1,
            "high_throughput",
        )
        made_up = [
            raw(_FORWARD, header, enclosed, flags=PayloadForm.FRAME),
            raw(_FORWARD, header, b"made up", flags=PayloadForm.TEXT),
            raw(_FORWARD, header),
            noise(me, friend, 2),
            noise(me, "stranger", 3),
            noise(me, me, 4, "reliable"),
            noise(me, "", 5),
            noise(friend, me, 6),
            noise("*", friend, 7),
        ]

        send_raw(relay, me, made_up)
        await made.clock.advance(1)

        counters = bob.node.counters
        assert bob.inbox.messages == []
        assert counters.get("relayed_dropped", reason="unsealed") == 3
        assert counters.get("relayed_dropped", reason="bad_frame") == 4
        assert counters.get("relay_dropped", reason="capability_missing") == 2
        assert made.logs["bob"].details("relayed_dropped")
        assert no_faults(relay, alice.node, bob.node)


_NUMBERS = (-(1 << 63), -1, 0, 1, (1 << 31), (1 << 63) - 1, (1 << 64) - 1)


def granted(**limits: object) -> Callable[[RelayBind], bytes]:
    """Answers with these limits, as they are."""

    def answer(bind: RelayBind) -> bytes:
        header = [None, None, None, True, None, "bind:1", True, bind.nonce, limits]
        return raw(RelayBindAck.code, header)

    return answer


# That a relay takes frames of one byte is possible, and keeps anybody from sending.
SENSELESS = [
    (limit, number)
    for limit in ("ttl_seconds", "frame_bytes", "frames_per_second", "queue_frames")
    for number in _NUMBERS
    if (limit, number) != ("frame_bytes", 1)
]


@pytest.mark.parametrize(("limit", "number"), SENSELESS)
async def test_limits_that_make_no_sense_keep_nobody_from_sending(
    tmp_path: Path, limit: str, number: int
) -> None:
    async with town(tmp_path) as made:
        (relay,), alice, bob = await deceived(made, "relay-a")
        await made.result(alice.inbox.ctx.send(bob.node_id, Text("the card is learnt")))
        relay.answer = granted(**{limit: number})
        await reconnect(made, alice, relay)

        for options in (RELIABLE, DeliveryOptions()):
            outcome = await made.result(
                alice.inbox.ctx.send(bob.node_id, Text("again"), options=options)
            )
            assert outcome.ok

        now = made.clock.time() * 1000
        for frame in relay.frames[1:]:
            assert frame.header.delivery is not None
            expires_at = frame.header.delivery.expires_at
            assert expires_at is not None
            assert now - 10_000 < expires_at <= now + 30 * 86_400_000
        assert alice.node.counters.get("relay_client_bound") >= 2
        assert no_faults(alice.node)


@pytest.mark.parametrize("number", ["1" + "0" * 400, "-1" + "0" * 400, "1" + "0" * 19])
async def test_numbers_of_any_length_in_json_are_no_fault(tmp_path: Path, number: str) -> None:
    async with town(tmp_path) as made:
        made.network.subprotocol = "thenodes.v1.json"
        (relay,), alice, bob = await deceived(made, "relay-a")
        await made.result(alice.inbox.ctx.send(bob.node_id, Text("the card is learnt")))

        def answer(bind: RelayBind) -> bytes:
            limits = {"ttl_seconds": "N", "frame_bytes": "N", "frames_per_second": "N"}
            fields = {"ok": True, "binding_id": "b", "peer_present": True, "nonce": bind.nonce}
            envelope = {
                "from": relay.id,
                "to": alice.node.id,
                "msg_type": {"RELAY_BIND_ACK": fields | {"limits": limits}},
                "payload": None,
                "realm": {"name": "default", "code": "default", "version": "1.0"},
            }
            return json.dumps(envelope).replace('"N"', number).encode()

        relay.answer = answer
        await reconnect(made, alice, relay)
        outcome = await made.result(alice.inbox.ctx.send(bob.node_id, Text(""), options=RELIABLE))

        assert outcome.status is DeliveryStatus.STORED
        assert alice.node.counters.get("relay_client_bound") >= 2
        assert no_faults(alice.node)


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf, -1.0, 0.0, 1e308])
async def test_a_relay_that_ends_the_mailbox_is_asked_again_within_an_hour(
    tmp_path: Path, seconds: float
) -> None:
    async with town(tmp_path) as made:
        (relay,), alice, _ = await deceived(made, "relay-a")
        asked = len(relay.binds)
        session = relay.session(alice.node.id)
        session.send(RelayNotify(Reason.OVERLOAD, "bind:*", None, None, seconds))
        await made.clock.advance(3700)

        assert [bind.target for bind in relay.binds[asked:]] == ["*"]
        assert alice.node.counters.get("relay_client_notified", reason="overload") == 1
        assert no_faults(alice.node)
