"""What relays bring: which of it reaches plugins, and why the rest does not."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from thenodes_core.clock import settle
from thenodes_core.errors import CredentialError
from thenodes_core.events.counters import Counters
from thenodes_core.limits import Limits
from thenodes_core.protocol.card import open_card
from thenodes_core.protocol.forward import pack_forward
from thenodes_core.protocol.frame import make_head, pack
from thenodes_core.relayed import turns
from thenodes_plugin_api import (
    DeliveryAck,
    Disconnect,
    Event,
    Extension,
    Heartbeat,
    Message,
    NetworkEvent,
    Payload,
    PayloadForm,
    QoS,
    Realm,
    Reason,
    RelayForward,
    Text,
    TrustDecisionEvent,
    Verified,
)
from thenodes_plugin_api.service import DeliveryHeader, Frame

DAY = 86_400
DAY_MS = DAY * 1000


def unpacked(frame: Frame) -> list[Any]:
    """What the seal of a frame is made of."""
    body_at = 8 + int.from_bytes(frame.data[6:8], "big")
    fields = msgspec.msgpack.decode(frame.data[body_at:])
    assert isinstance(fields, list)
    return fields


def resealed(frame: Frame, place: int, value: object) -> Frame:
    """The frame with another field in its seal."""
    fields = unpacked(frame)
    fields[place] = value
    body = msgspec.msgpack.encode(fields)
    return Frame(frame.header, pack_forward(frame.header, PayloadForm.SEALED, body, Limits()))


async def test_a_sealed_message_reaches_plugins_with_its_sender_proven(
    bob: Any, alice: Any
) -> None:
    (message,) = bob.deliver(bob.seal(alice, Message(Text("hello"), Payload.binary(b"data"))))

    assert message == Message(
        Text("hello"),
        Payload.binary(b"data"),
        alice.node_id,
        verified=Verified.SEAL,
    )
    assert bob.counters.get("relayed_received") == 1
    assert bob.dropped() == {}


async def test_messages_of_a_batch_reach_plugins_in_order(bob: Any, alice: Any) -> None:
    frames = [bob.seal(alice, Message(Text(str(n))), number=n) for n in range(5)]

    had = bob.deliver(*frames)

    assert [message.body.text for message in had] == ["0", "1", "2", "3", "4"]


async def test_messages_with_equal_heads_have_payloads_of_their_own(bob: Any, alice: Any) -> None:
    say = Extension("chat.say")
    payloads = [Payload.binary(bytes((n,)) * n) for n in range(4)]
    frames = [bob.seal(alice, Message(say, p), number=n) for n, p in enumerate(payloads)]

    assert [message.payload for message in bob.deliver(*frames)] == payloads


async def test_a_bad_frame_does_not_harm_those_around_it(bob: Any, alice: Any) -> None:
    good = [bob.seal(alice, number=number) for number in (1, 2)]
    bad = resealed(bob.seal(alice, number=3), 7, bytes(40))

    assert len(bob.deliver(good[0], bad, good[1])) == 2
    assert bob.dropped() == {"tampered": 1}


async def test_a_frame_that_a_relay_sent_before_is_marked(bob: Any, alice: Any) -> None:
    (message,) = bob.deliver(bob.seal(alice, redelivered=True))

    assert message.redelivered


async def test_a_crowded_inbox_is_told(bob: Any, alice: Any) -> None:
    bob.deliver(bob.seal(alice, number=0))
    assert not bob.inbound.take_crowded()

    bob.deliver(*(bob.seal(alice, number=number) for number in range(1, 102)))

    assert bob.inbound.take_crowded()


async def test_an_unsealed_frame_is_refused_where_seals_are_required(bob: Any, alice: Any) -> None:
    assert bob.deliver(bob.unsealed(alice.node_id)) == []
    assert bob.deliver(bob.unsealed(alice.node_id, b"x", form=PayloadForm.TEXT)) == []

    assert bob.dropped() == {"unsealed": 2}


async def test_a_frame_for_another_is_refused(bob: Any, alice: Any) -> None:
    sent = bob.seal(alice).header
    frame = bob.seal(alice, sent=structs.replace(sent, to="carol"))

    assert bob.deliver(frame) == []
    assert bob.dropped() == {"misaddressed": 1}


async def test_a_frame_that_was_sealed_for_another_is_refused(bob: Any, alice: Any) -> None:
    frame = bob.seal(alice, sent=structs.replace(bob.seal(alice).header, to="carol"))
    misled = structs.replace(frame.header, to=bob.node_id)

    assert bob.deliver(Frame(misled, frame.data)) == []
    assert bob.dropped() == {"bad_wrap": 1}


async def test_a_frame_for_a_sealing_key_that_is_gone_is_refused(bob: Any, alice: Any) -> None:
    assert bob.deliver(resealed(bob.seal(alice), 1, bytes(8))) == []
    assert bob.dropped() == {"unknown_key": 1}


async def test_a_frame_of_another_realm_is_refused(bob: Any, alice: Any) -> None:
    alice.realm = Realm("Home", "home", "2")
    alice.card = alice.make_card()

    assert bob.deliver(bob.seal(alice)) == []
    assert bob.dropped() == {"other_realm": 1}


@pytest.mark.parametrize("change", [{"sequence": 9}, {"qos": "bulk"}, {"qos": None}], ids=str)
@pytest.mark.parametrize("is_known", [False, True], ids=["first", "later"])
async def test_a_changed_header_is_refused(
    change: dict[str, Any], is_known: bool, bob: Any, alice: Any
) -> None:
    if is_known:
        bob.deliver(bob.seal(alice, number=2))
    frame = bob.seal(alice)

    assert bob.deliver(Frame(structs.replace(frame.header, **change), frame.data)) == []
    assert bob.dropped() == {"tampered": 1}


@pytest.mark.parametrize(
    "change", [{"message_id": bytes(16)}, {"created_at": 1}, {"expires_at": 1}], ids=str
)
async def test_changed_delivery_data_is_refused(
    change: dict[str, Any], bob: Any, alice: Any
) -> None:
    frame = bob.seal(alice)
    delivery = frame.header.delivery
    shifted = {
        name: value if isinstance(value, bytes) else getattr(delivery, name) + value
        for name, value in change.items()
    }
    changed = structs.replace(frame.header, delivery=structs.replace(delivery, **shifted))

    assert bob.deliver(Frame(changed, frame.data)) == []
    assert bob.dropped() == {"tampered": 1}


async def test_a_forged_sender_is_refused(bob: Any, alice: Any, party: Callable[[], Any]) -> None:
    mallory = party()
    frame = bob.seal(mallory)

    forged = structs.replace(frame.header, sender=alice.node_id)
    assert bob.deliver(Frame(forged, frame.data)) == []
    assert bob.dropped() == {"other_sender": 1}


async def test_a_forged_card_is_refused(bob: Any, alice: Any, party: Callable[[], Any]) -> None:
    content, _ = msgspec.msgpack.decode(alice.card)
    signature = party().identity.sign("card", content)
    forged = msgspec.msgpack.encode([content, signature])

    assert bob.deliver(resealed(bob.seal(alice), 6, forged)) == []
    assert bob.dropped() == {"bad_card": 1}


async def test_a_forged_wrap_is_refused(bob: Any, alice: Any) -> None:
    assert bob.deliver(resealed(bob.seal(alice), 5, bytes(64))) == []
    assert bob.dropped() == {"bad_wrap": 1}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=64))
async def test_noise_in_a_seal_is_refused(bob: Any, alice: Any, body: bytes) -> None:
    frame = bob.seal(alice)
    data = pack_forward(frame.header, PayloadForm.SEALED, body, Limits())

    assert bob.deliver(Frame(frame.header, data)) == []
    assert set(bob.dropped()) == {"bad_frame"}


async def test_an_expired_frame_is_refused(bob: Any, alice: Any) -> None:
    frame = bob.seal(alice, life_ms=1000)
    await bob.clock.advance(1)
    assert len(bob.deliver(frame)) == 1

    late = bob.seal(alice, number=2, life_ms=1000)
    await bob.clock.advance(1.001)

    assert bob.deliver(late) == []
    assert bob.dropped() == {"expired": 1}


@pytest.mark.parametrize(
    ("made_days_ago", "lives_days", "reason"),
    [
        (29, 30, None),
        (30.1, 31, "over_age"),
        (0, 30, None),
        (0, 30.1, "over_age"),
        (-0.9, 10, None),
        (-1.1, 10, "ahead"),
    ],
)
async def test_a_frame_is_of_these_days(
    made_days_ago: float, lives_days: float, reason: str | None, bob: Any, alice: Any
) -> None:
    created_at = bob.now_ms - int(made_days_ago * DAY_MS)
    alice.card = alice.make_card(issued_at=created_at, not_after=created_at + 30 * DAY_MS)
    frame = bob.seal(alice, created_at=created_at, expires_at=created_at + int(lives_days * DAY_MS))

    assert len(bob.deliver(frame)) == (reason is None)
    assert bob.dropped() == ({} if reason is None else {reason: 1})


async def test_a_sealed_frame_without_times_is_refused(bob: Any, alice: Any) -> None:
    frame = bob.seal(alice)
    for delivery in (None, DeliveryHeader(bytes(16)), DeliveryHeader(bytes(16), created_at=1)):
        assert (
            bob.deliver(Frame(structs.replace(frame.header, delivery=delivery), frame.data)) == []
        )

    assert bob.dropped() == {"bad_frame": 3}


async def test_a_card_is_judged_when_its_frame_was_made(bob: Any, alice: Any) -> None:
    frame = bob.seal(alice, life_ms=10 * DAY_MS)
    expired = bob.now_ms + DAY_MS
    alice.card = alice.make_card(not_after=expired)
    with_short_card = bob.seal(alice, number=2, life_ms=10 * DAY_MS)
    await bob.clock.advance(2 * DAY)
    with pytest.raises(CredentialError):
        open_card(alice.card, now_ms=bob.now_ms)

    assert len(bob.deliver(frame, with_short_card)) == 2
    # Made after that, under the same card.
    assert bob.deliver(bob.seal(alice, number=3)) == []
    assert bob.dropped() == {"bad_card": 1}


async def test_a_sender_passes_the_trust_policy_before_it_is_heard(
    bob: Any, alice: Any, events: list[Event]
) -> None:
    bob.use(mode="allowlist")

    assert bob.deliver(bob.seal(alice), bob.seal(alice, number=2)) == []
    await settle()

    assert bob.dropped() == {"untrusted": 2}
    # Judged once; what was decided is remembered.
    assert bob.counters.get("trust_decisions", reason="not-in-trusted") == 1
    decisions = [event for event in events if isinstance(event, TrustDecisionEvent)]
    assert [(event.decision, event.reason) for event in decisions] == [("reject", "not-in-trusted")]


async def test_a_sender_is_heard_once_it_is_trusted(bob: Any, alice: Any) -> None:
    bob.use(mode="allowlist", store_new_certs="observed")
    bob.deliver(bob.seal(alice))

    bob.keeper.promote(alice.identity.fingerprint)

    assert len(bob.deliver(bob.seal(alice, number=2))) == 1


async def test_a_revocation_counts_at_once(bob: Any, alice: Any) -> None:
    frames = [bob.seal(alice, number=number) for number in (1, 2)]
    assert len(bob.deliver(frames[0])) == 1

    bob.keeper.revoke(alice.identity.fingerprint)

    assert bob.deliver(frames[1]) == []
    assert bob.dropped() == {"untrusted": 1}
    assert bob.counters.get("trust_decisions", reason="revoked") == 1


async def test_a_pin_holds_for_relayed_senders(bob: Any, alice: Any) -> None:
    bob.use(pin_fingerprints=("0" * 64,))
    assert bob.deliver(bob.seal(alice)) == []

    bob.use(pin_fingerprints=(alice.identity.fingerprint,))
    assert len(bob.deliver(bob.seal(alice, number=2))) == 1
    assert bob.dropped() == {"untrusted": 1}


async def test_a_decision_holds_for_an_hour_at_most(bob: Any, alice: Any) -> None:
    for _ in range(2):
        bob.deliver(bob.seal(alice))
    await bob.clock.advance(3601)
    bob.deliver(bob.seal(alice))

    assert bob.counters.get("trust_decisions", reason="open-policy") == 2


async def test_a_chosen_id_that_nobody_knows_is_refused(
    bob: Any, party: Callable[[str], Any]
) -> None:
    assert bob.deliver(bob.seal(party("alice"))) == []
    assert bob.dropped() == {"unknown_id": 1}
    assert bob.admission.ids.fingerprint_of("alice") is None


async def test_a_chosen_id_that_was_met_with_its_key_is_heard(
    bob: Any, party: Callable[[str], Any]
) -> None:
    alice = party("alice")
    bob.admission.bind("alice", alice.identity.fingerprint)

    (message,) = bob.deliver(bob.seal(alice))

    assert message.sender == "alice"


async def test_a_chosen_id_that_is_known_with_another_key_is_refused(
    bob: Any, party: Callable[[str], Any]
) -> None:
    alice, mallory = party("alice"), party("alice")
    bob.admission.bind("alice", alice.identity.fingerprint)
    # Even where the operator trusts that key.
    bob.keeper.store.observe(mallory.identity.fingerprint, mallory.pem)
    bob.keeper.promote(mallory.identity.fingerprint)

    assert bob.deliver(bob.seal(mallory)) == []
    assert bob.dropped() == {"other_key": 1}
    assert len(bob.deliver(bob.seal(alice))) == 1


async def test_a_chosen_id_of_a_trusted_key_is_heard_and_bound(
    bob: Any, party: Callable[[str], Any]
) -> None:
    alice = party("alice")
    bob.keeper.store.observe(alice.identity.fingerprint, alice.pem)
    bob.keeper.promote(alice.identity.fingerprint)

    assert len(bob.deliver(bob.seal(alice))) == 1
    assert bob.admission.ids.fingerprint_of("alice") == alice.identity.fingerprint


async def test_a_forgotten_id_is_judged_anew(bob: Any, party: Callable[[str], Any]) -> None:
    alice = party("alice")
    bob.admission.bind("alice", alice.identity.fingerprint)
    bob.deliver(bob.seal(alice))

    bob.keeper.forget("alice")

    assert bob.deliver(bob.seal(alice, number=2)) == []
    assert bob.dropped() == {"unknown_id": 1}


async def test_nobody_sends_as_this_node(bob: Any, party: Callable[[str], Any]) -> None:
    bob.inbound._node_id = bob.inbound._senders._node_id = "here"
    bob.inbound._opener._node_id = "here"
    mallory = party("here")
    bob.keeper.store.observe(mallory.identity.fingerprint, mallory.pem)
    bob.keeper.promote(mallory.identity.fingerprint)
    sent = structs.replace(bob.seal(mallory).header, to="here")

    assert bob.deliver(bob.seal(mallory, sent=sent)) == []
    assert bob.dropped() == {"other_key": 1}


async def test_the_card_of_a_sender_that_is_heard_is_learned(bob: Any, alice: Any) -> None:
    assert bob.admission.cards.get(alice.node_id) is None

    bob.deliver(bob.seal(alice))

    assert bob.admission.cards.get(alice.node_id) is not None


async def test_the_card_of_a_sender_that_is_not_heard_is_not_learned(bob: Any, alice: Any) -> None:
    bob.use(mode="allowlist")

    bob.deliver(bob.seal(alice))

    assert bob.admission.cards.get(alice.node_id) is None


async def test_a_frame_that_was_stored_before_its_sender_had_a_newer_card_is_heard(
    bob: Any, alice: Any
) -> None:
    stored = bob.seal(alice)
    alice.card = alice.make_card(issued_at=bob.now_ms + 1, relays=("relay-1",))
    bob.deliver(bob.seal(alice, number=2))

    assert len(bob.deliver(stored)) == 1
    assert bob.admission.cards.get(alice.node_id).relays == ("relay-1",)


@pytest.mark.parametrize("body", [Heartbeat(), Disconnect(Reason.POLICY_DENIED)], ids=repr)
async def test_session_control_does_not_travel_inside(body: Any, bob: Any, alice: Any) -> None:
    assert bob.deliver(bob.seal(alice, Message(body))) == []
    assert bob.dropped() == {"not_allowed": 1}


async def test_nothing_nests(bob: Any, alice: Any) -> None:
    nested = Message(RelayForward(bob.node_id, alice.node_id), Payload.binary(b""))
    sealed_text = Message(Text("x"), Payload(PayloadForm.SEALED, b"x"))
    framed_text = Message(Text("x"), Payload(PayloadForm.FRAME, b"x"))

    for number, inner in enumerate((nested, sealed_text, framed_text)):
        assert bob.deliver(bob.seal(alice, inner, number=number)) == []
    assert bob.dropped() == {"not_allowed": 3}


async def test_a_mark_of_relays_does_not_travel_inside(bob: Any, alice: Any) -> None:
    assert bob.deliver(bob.seal(alice, Message(Text("x"), redelivered=True))) == []
    assert bob.dropped() == {"not_allowed": 1}


async def test_one_frame_is_enclosed_and_no_more(bob: Any, alice: Any) -> None:
    one = pack(make_head(2, 0, msgspec.msgpack.encode([None, None, None, "x"])), b"")
    say = pack(
        make_head(16, 3, msgspec.msgpack.encode([None, None, None, "a.b", None, None])), b"x"
    )
    assert len(bob.deliver(bob.seal(alice, one), bob.seal(alice, say, number=2))) == 2

    bad = [one + one, say + say, one[:-1], say + b"x", say[:-1], b"", one[:7], b"\0" * 8]
    for number, inner in enumerate(bad, 3):
        assert bob.deliver(bob.seal(alice, inner, number=number)) == []
    dropped = bob.dropped()
    assert dropped.pop("not_allowed") == 1
    assert dropped == {"bad_frame": len(bad) - 1}


async def test_a_word_of_delivery_is_not_for_plugins(bob: Any, alice: Any) -> None:
    word = DeliveryAck(uuid.UUID(int=5), "ok")

    assert bob.deliver(bob.seal(alice, Message(word))) == []
    assert [(m.sender, m.body) for m in bob.confirmed] == [(alice.node_id, word)]


async def test_a_sender_comes_with_so_many_new_session_keys(bob: Any, alice: Any) -> None:
    good = bob.seal(alice, number=1)
    bad = resealed(bob.seal(alice, number=2, qos=str(QoS.RELIABLE)), 5, bytes(64))
    for _ in range(16):
        bob.deliver(*[bad] * 64)
    assert bob.dropped() == {"bad_wrap": 1024}
    settled = len(bob.settled)

    assert bob.deliver(bad, good) == []

    assert bob.dropped() == {"bad_wrap": 1024, "too_many_keys": 2}
    # Without a word, it comes again.
    assert len(bob.settled) == settled
    await bob.clock.advance(0.2)
    assert len(bob.deliver(good, bob.seal(alice, number=3))) == 2


async def test_one_senders_session_keys_keep_nobody_else_out(
    bob: Any, alice: Any, party: Callable[[], Any]
) -> None:
    bad = resealed(bob.seal(alice), 5, bytes(64))
    for _ in range(17):
        bob.deliver(*[bad] * 64)
    assert bob.dropped() == {"bad_wrap": 1024, "too_many_keys": 64}

    assert len(bob.deliver(bob.seal(party()))) == 1


async def test_who_is_no_relay_brings_few_new_session_keys_under_whatever_names(
    bob: Any, alice: Any, party: Callable[[], Any]
) -> None:
    one = party()
    bad = [
        Frame(structs.replace(frame.header, sender=f"made-up-{number}"), frame.data)
        for number, frame in enumerate([bob.seal(one)] * 300)
    ]
    for at in range(0, 300, 50):
        bob.deliver(*bad[at : at + 50], by="mallory" if at % 100 else "eve")

    assert bob.dropped() == {"other_sender": 256, "too_many_keys": 44}
    assert len(bob.deliver(bob.seal(alice))) == 1


async def test_many_new_session_keys_leave_turns_to_others(
    bob: Any, alice: Any, party: Callable[[], Any]
) -> None:
    frames = [bob.seal(party(), number=number) for number in range(200)]
    seen: list[int] = []
    asyncio.get_running_loop().call_soon(lambda: seen.append(len(bob.plugins.had)))

    bob.deliver(*frames, bob.seal(alice, number=200))
    first = len(bob.plugins.had)
    bob.deliver(bob.seal(alice, number=201))
    await settle()

    assert first < 200
    assert seen == [first]
    numbers = [frame.header.sender for frame in frames]
    assert [had.sender for had in bob.plugins.had] == [*numbers, alice.node_id, alice.node_id]
    assert bob.dropped() == {}


async def test_so_much_waits_for_its_turn_and_no_more(
    bob: Any, alice: Any, party: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [bob.seal(party(), number=number) for number in range(130)]
    big = bob.seal(alice, Message(Text("hello"), Payload.binary(bytes(200_000))), number=200)
    bob.deliver(*frames)
    assert bob.inbound.take_crowded()
    waiting = len(frames[0].data) * 2
    monkeypatch.setattr(turns, "_MOST_BYTES", len(big.data) + waiting + 10)

    bob.deliver(big)
    bob.deliver(bob.seal(alice, number=201))
    await settle()

    assert len(bob.plugins.had) == 131
    assert bob.dropped() == {"too_many_keys": 1}
    assert [bob.inbound.take_crowded() for _ in range(2)] == [True, False]


async def test_a_replayed_frame_reaches_plugins_once(bob: Any, alice: Any) -> None:
    frame = bob.seal(alice)

    assert len(bob.deliver(frame, frame)) == 1
    assert bob.deliver(frame) == []
    assert bob.dropped() == {"duplicate": 2}


async def test_a_replayed_frame_reaches_plugins_once_whatever_became_of_trust(
    bob: Any, alice: Any
) -> None:
    frame = bob.seal(alice)
    bob.deliver(frame)
    bob.use(mode="tofu")
    alice.card = alice.make_card(issued_at=bob.now_ms + 5)
    bob.deliver(bob.seal(alice, number=2))

    assert bob.deliver(frame) == []
    assert bob.dropped() == {"duplicate": 1}


async def test_two_senders_may_use_the_same_id(
    bob: Any, alice: Any, party: Callable[[], Any]
) -> None:
    assert len(bob.deliver(bob.seal(alice), bob.seal(party()))) == 2


async def test_an_unsealed_frame_is_heard_where_the_operator_said_so(open_bob: Any) -> None:
    say = Message(Extension("chat.say"), Payload.binary(b"x"))

    (message,) = open_bob.deliver(open_bob.unsealed("alice", say))

    assert message == structs.replace(say, sender="alice", verified=Verified.NONE)


async def test_a_sealed_frame_is_heard_there_too(
    open_bob: Any, make_alice: Callable[[Any], Any]
) -> None:
    (message,) = open_bob.deliver(open_bob.seal(make_alice(open_bob)))

    assert message.verified is Verified.SEAL


@pytest.mark.parametrize("form", [PayloadForm.TEXT, PayloadForm.JSON, PayloadForm.BINARY])
async def test_a_payload_of_the_reference_reaches_plugins(form: PayloadForm, open_bob: Any) -> None:
    (message,) = open_bob.deliver(open_bob.unsealed("alice", b"{}", form=form))

    assert message == Message(Text(""), Payload(form, b"{}"), "alice")


async def test_a_frame_of_the_reference_has_no_delivery_data(open_bob: Any) -> None:
    frame = open_bob.unsealed("alice", delivery=None, sequence=None, qos=None)

    assert len(open_bob.deliver(frame, frame)) == 2


async def test_an_unsealed_frame_is_not_replayed(open_bob: Any) -> None:
    frame = open_bob.unsealed("alice")

    assert len(open_bob.deliver(frame, frame)) == 1
    assert open_bob.dropped() == {"duplicate": 1}


async def test_times_hold_for_unsealed_frames(open_bob: Any) -> None:
    now_ms = open_bob.now_ms
    frames = [
        open_bob.unsealed("alice", number=1, expires_at=now_ms - 1, created_at=None),
        open_bob.unsealed("alice", number=2, created_at=now_ms - 31 * DAY_MS, expires_at=None),
        open_bob.unsealed("alice", number=3, created_at=now_ms + 2 * DAY_MS, expires_at=None),
        open_bob.unsealed("alice", number=4, created_at=None, expires_at=None),
    ]

    assert len(open_bob.deliver(*frames)) == 1
    assert open_bob.dropped() == {"expired": 2, "ahead": 1}


async def test_nothing_that_a_terminal_would_obey_is_told(
    bob: Any, alice: Any, events: list[Event]
) -> None:
    name = "\x1b[31m\u202e"

    bob.deliver(
        bob.unsealed(name),
        bob.seal(alice, sent=structs.replace(bob.seal(alice).header, to=bob.node_id + name)),
    )
    await settle()

    told = [event for event in events if isinstance(event, NetworkEvent)]
    assert [event.action for event in told] == ["relayed_dropped"] * 2
    assert all(event.detail.isprintable() for event in told)
    assert all((event.node_id or "").isprintable() for event in told)


async def test_who_is_heard_is_told_at_a_limited_rate(
    open_bob: Any, events: list[Event], counters: Counters
) -> None:
    frames = [open_bob.unsealed(f"somebody-{number}", number=number) for number in range(100)]

    assert len(open_bob.deliver(*frames)) == 100
    await settle()

    told = [event for event in events if isinstance(event, TrustDecisionEvent)]
    assert len(told) == 20
    assert sum(v for k, v in counters.snapshot().items() if k.startswith("trust_dec")) == 100


async def test_names_that_nobody_proves_push_nobodys_ids_out(
    open_bob: Any, make_alice: Callable[[Any], Any]
) -> None:
    frame = open_bob.seal(make_alice(open_bob))
    assert len(open_bob.deliver(frame)) == 1

    for number in range(4096):
        open_bob.deliver(open_bob.unsealed(f"somebody-{number}", number=number))

    assert open_bob.deliver(frame) == []
    assert open_bob.dropped() == {"duplicate": 1}


async def test_an_id_that_is_known_with_a_key_is_not_used_without(open_bob: Any) -> None:
    open_bob.admission.bind("alice", "0" * 64)

    assert open_bob.deliver(open_bob.unsealed("alice")) == []
    assert open_bob.dropped() == {"other_key": 1}


async def test_an_id_of_a_revoked_key_is_not_used_without_it(
    open_bob: Any, make_alice: Callable[[Any], Any]
) -> None:
    alice = make_alice(open_bob)
    assert len(open_bob.deliver(open_bob.unsealed(alice.node_id))) == 1

    open_bob.keeper.revoke(alice.identity.fingerprint)

    assert open_bob.deliver(open_bob.unsealed(alice.node_id, number=2)) == []
    assert open_bob.dropped() == {"untrusted": 1}


async def test_the_trust_policy_holds_for_unsealed_frames(open_bob: Any) -> None:
    open_bob.use(mode="allowlist")

    assert open_bob.deliver(open_bob.unsealed("alice")) == []
    assert open_bob.dropped() == {"untrusted": 1}


async def test_nobody_claims_to_be_this_node_or_what_is_no_name(open_bob: Any) -> None:
    assert open_bob.deliver(open_bob.unsealed(open_bob.node_id)) == []
    assert open_bob.deliver(open_bob.unsealed("no name")) == []
    assert open_bob.dropped() == {"other_key": 1, "bad_frame": 1}


async def test_unsealed_frames_push_nobodys_ids_out(
    open_bob: Any, make_alice: Callable[[Any], Any]
) -> None:
    alice = make_alice(open_bob)
    frame = open_bob.seal(alice)
    open_bob.deliver(frame)

    (message,) = open_bob.deliver(open_bob.unsealed(alice.node_id))

    assert message.verified is Verified.NONE
    assert open_bob.deliver(frame) == []


async def test_what_is_dropped_is_told_at_a_limited_rate(
    bob: Any, alice: Any, events: list[Event]
) -> None:
    bob.use(mode="allowlist")
    bob.deliver(*(bob.seal(alice, number=number) for number in range(30)))
    await settle()
    told = [e for e in events if isinstance(e, NetworkEvent) and e.action == "relayed_dropped"]

    assert len(told) == 20
    assert told[0].node_id == alice.node_id
    assert "through relay relay: not trusted here: not-in-trusted" in told[0].detail
    await bob.clock.advance(1)
    bob.deliver(bob.seal(alice, number=99))
    await settle()
    (last,) = [e for e in events if isinstance(e, NetworkEvent)][20:]
    assert "(10 more were not reported)" in last.detail


async def test_the_word_on_a_refused_reliable_frame_is_an_error(bob: Any, alice: Any) -> None:
    frame = bob.seal(alice, qos=str(QoS.RELIABLE), life_ms=1)
    await bob.clock.advance(1)

    bob.deliver(frame)

    ((message_id, settled),) = bob.settled
    assert message_id == frame.header.delivery.message_id
    assert (settled.status, settled.reason) == ("error", Reason.TIMEOUT)
    assert settled.detail.startswith("expired")


async def test_there_is_no_word_on_other_frames(bob: Any, alice: Any) -> None:
    frame = bob.seal(alice)
    bob.deliver(frame, frame, bob.unsealed("alice", number=2))

    assert bob.settled == []


async def test_senders_that_are_not_heard_push_nobodys_ids_out(bob: Any, alice: Any) -> None:
    frame = bob.seal(alice)
    assert len(bob.deliver(frame)) == 1

    made_up = [bob.unsealed(f"stranger-{number}", number=number) for number in range(4096)]
    assert bob.deliver(*made_up) == []

    assert bob.deliver(frame) == []
    assert bob.dropped() == {"unsealed": 4096, "duplicate": 1}


async def test_a_name_that_no_node_can_have_is_not_kept(bob: Any, alice: Any) -> None:
    sent = structs.replace(bob.seal(alice).header, sender="a" * 129)

    assert bob.deliver(Frame(sent, bob.seal(alice).data)) == []
    assert bob.deliver(bob.unsealed("a" * 129)) == []

    assert bob.dropped() == {"bad_frame": 2}
