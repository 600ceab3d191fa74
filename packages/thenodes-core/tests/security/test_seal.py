"""Sealing: what is sealed opens for its recipient alone, as its sender made it."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from thenodes_core.protocol.card import Card, make_card, open_card
from thenodes_core.security.identity import Identity
from thenodes_core.security.refusal import DropReason, Refused
from thenodes_core.security.seal import Opener, Sealer, SessionKey
from thenodes_core.signatures import Purpose
from thenodes_plugin_api import Realm, Reason
from thenodes_plugin_api.service import DeliveryHeader, ForwardHeader

NOW = 1_800_000_000_000
HOUR = 3_600_000
DAY = 24 * HOUR
HOME = Realm("Home", "home", "1")
MESSAGE_ID = bytes(range(16))
FRAME = b"\0\0\0\x05\x02\x01\0\x01\x90"


class Party:
    """A node with its keys, its card, and both ends of sealing."""

    def __init__(
        self,
        *,
        node_id: str | None = None,
        realm: Realm = HOME,
        max_keys: int = 4096,
        max_messages: int = 1 << 20,
    ) -> None:
        self.identity = Identity.generate()
        self.node_id = node_id or self.identity.node_id
        self.realm = realm
        self.private = [X25519PrivateKey.generate()]
        self.card = self.make_card()
        self.sealer = Sealer(
            self.node_id,
            realm,
            self.identity.sign,
            lambda: self.card,
            max_keys=max_keys,
            max_messages=max_messages,
        )
        self.opener = Opener(self.node_id, realm, lambda: self.private, read, max_keys=max_keys)

    @property
    def sealing_key(self) -> bytes:
        return self.private[0].public_key().public_bytes_raw()

    def make_card(self, **changes: Any) -> bytes:
        card = Card(
            node_id=self.node_id,
            public_key=self.identity.public_key,
            sealing_key=self.sealing_key,
            realm=self.realm,
            relays=(),
            issued_at=NOW,
            not_after=NOW + 30 * DAY,
        )
        return make_card(msgspec.structs.replace(card, **changes), self.identity.sign)

    def open(self, header: ForwardHeader, body: bytes) -> bytes:
        return self.opener.open(header, b"before" + body, 6)[1]


def read(data: bytes, now_ms: int) -> Card:
    return open_card(data, now_ms=now_ms)


def header(sender: Party, recipient: Party, **changes: Any) -> ForwardHeader:
    delivery = DeliveryHeader(
        changes.pop("message_id", MESSAGE_ID),
        created_at=changes.pop("created_at", NOW),
        expires_at=changes.pop("expires_at", NOW + HOUR),
    )
    made = ForwardHeader(None, None, delivery, recipient.node_id, sender.node_id, 7, "bulk")
    return msgspec.structs.replace(made, **changes)


@pytest.fixture
def alice() -> Party:
    return Party()


@pytest.fixture
def bob() -> Party:
    return Party()


def reseal(body: bytes, **changes: Any) -> bytes:
    """A sealed body with other fields, by their place."""
    fields = msgspec.msgpack.decode(body)
    for place, value in changes.items():
        fields[int(place.removeprefix("at_"))] = value
    return msgspec.msgpack.encode(fields)


def refusal(bob: Party, header: ForwardHeader, body: bytes) -> DropReason:
    with pytest.raises(Refused) as refused:
        bob.open(header, body)
    return refused.value.reason


def test_what_is_sealed_opens_for_its_recipient(alice: Party, bob: Party) -> None:
    sent = header(alice, bob)

    body = alice.sealer.seal(sent, FRAME, bob.sealing_key)

    key, frame = bob.opener.open(sent, body, 0)
    assert frame == FRAME
    assert isinstance(key, SessionKey)
    assert (key.sender, key.card_data) == (alice.node_id, alice.card)
    assert FRAME not in body


def test_any_frame_opens_alone(alice: Party, bob: Party) -> None:
    sent = header(alice, bob)
    bodies = [alice.sealer.seal(sent, FRAME, bob.sealing_key) for _ in range(3)]

    for body in bodies:
        bob.opener.forget()
        assert bob.open(sent, body) == FRAME


def test_a_restarted_recipient_opens_what_was_sealed_before(alice: Party, bob: Party) -> None:
    sent = header(alice, bob)
    body = alice.sealer.seal(sent, FRAME, bob.sealing_key)
    assert bob.open(sent, body) == FRAME

    again = Opener(bob.node_id, HOME, lambda: bob.private, read)

    assert again.open(sent, body, 0)[1] == FRAME


def test_what_is_sealed_for_a_key_that_was_renewed_opens(alice: Party, bob: Party) -> None:
    sent = header(alice, bob)
    body = alice.sealer.seal(sent, FRAME, bob.sealing_key)

    bob.private.insert(0, X25519PrivateKey.generate())

    assert bob.open(sent, body) == FRAME


def test_what_is_sealed_for_a_key_that_is_gone_does_not_open(alice: Party, bob: Party) -> None:
    sent = header(alice, bob)
    body = alice.sealer.seal(sent, FRAME, bob.sealing_key)

    bob.private = [X25519PrivateKey.generate()]

    assert refusal(bob, sent, body) is DropReason.UNKNOWN_KEY


def test_every_message_has_another_nonce(alice: Party, bob: Party) -> None:
    sent = header(alice, bob)

    bodies = [alice.sealer.seal(sent, FRAME, bob.sealing_key) for _ in range(3)]

    fields = [msgspec.msgpack.decode(body) for body in bodies]
    assert [field[4] for field in fields] == [0, 1, 2]
    assert len({field[2] for field in fields}) == 1
    assert len({field[7] for field in fields}) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"qos": "reliable"},
        {"qos": None},
        {"sequence": 8},
        {"message_id": bytes(16)},
        {"created_at": NOW + 1},
        {"expires_at": NOW + DAY},
        {"expires_at": None},
    ],
    ids=str,
)
@pytest.mark.parametrize("is_known", [False, True], ids=["first", "later"])
def test_a_header_that_was_changed_does_not_open(
    change: dict[str, Any], is_known: bool, alice: Party, bob: Party
) -> None:
    body = alice.sealer.seal(header(alice, bob), FRAME, bob.sealing_key)
    if is_known:
        bob.open(header(alice, bob), body)

    assert refusal(bob, header(alice, bob, **change), body) is DropReason.TAMPERED


@pytest.mark.parametrize("is_known", [False, True], ids=["first", "later"])
def test_a_message_that_was_changed_does_not_open(is_known: bool, alice: Party, bob: Party) -> None:
    sent = header(alice, bob)
    body = alice.sealer.seal(sent, FRAME, bob.sealing_key)
    if is_known:
        bob.open(sent, body)

    assert refusal(bob, sent, body[:-1] + bytes((body[-1] ^ 1,))) is DropReason.TAMPERED
    assert refusal(bob, sent, reseal(body, at_4=5)) is DropReason.TAMPERED


def test_a_frame_to_another_does_not_open(alice: Party, bob: Party) -> None:
    body = alice.sealer.seal(header(alice, bob), FRAME, bob.sealing_key)

    assert refusal(bob, header(alice, bob, to="eve"), body) is DropReason.TAMPERED
    assert refusal(Party(), header(alice, bob), body) is DropReason.UNKNOWN_KEY


def test_nobody_seals_as_another(alice: Party, bob: Party) -> None:
    mallory = Party()
    body = mallory.sealer.seal(header(mallory, bob), FRAME, bob.sealing_key)

    assert refusal(bob, header(alice, bob), body) is DropReason.OTHER_SENDER


def test_nobody_seals_as_another_with_a_key_that_is_known_to_be_its_own(
    alice: Party, bob: Party
) -> None:
    mallory = Party()
    bob.open(header(alice, bob), alice.sealer.seal(header(alice, bob), FRAME, bob.sealing_key))
    # It has the key of its session, and so can say anything in the associated data.
    mallory.sealer.seal(header(mallory, bob), FRAME, bob.sealing_key)
    body = mallory.sealer.seal(header(alice, bob), FRAME, bob.sealing_key)
    bob.open(
        header(mallory, bob), mallory.sealer.seal(header(mallory, bob), FRAME, bob.sealing_key)
    )

    assert refusal(bob, header(alice, bob), body) is DropReason.OTHER_SENDER


def test_a_card_that_is_forged_proves_nothing(alice: Party, bob: Party) -> None:
    sent, mallory = header(alice, bob), Party()
    body = alice.sealer.seal(sent, FRAME, bob.sealing_key)
    content, _ = msgspec.msgpack.decode(alice.card)
    forged = msgspec.msgpack.encode([content, mallory.identity.sign(Purpose.CARD, content)])

    assert refusal(bob, sent, reseal(body, at_6=forged)) is DropReason.BAD_CARD
    bob.open(sent, body)
    assert refusal(bob, sent, reseal(body, at_6=forged)) is DropReason.BAD_CARD


def test_a_card_under_the_key_of_another_proves_nothing(bob: Party) -> None:
    alice, mallory = Party(node_id="alice"), Party(node_id="alice")
    sent = header(alice, bob)
    body = alice.sealer.seal(sent, FRAME, bob.sealing_key)

    assert refusal(bob, sent, reseal(body, at_6=mallory.card)) is DropReason.BAD_WRAP


def test_a_card_counts_when_the_frame_was_made(alice: Party, bob: Party) -> None:
    late = header(alice, bob, created_at=NOW + 31 * DAY)
    early = header(alice, bob, created_at=NOW - 2 * DAY)

    for sent in (late, early):
        body = alice.sealer.seal(sent, FRAME, bob.sealing_key)
        assert refusal(bob, sent, body) is DropReason.BAD_CARD


def test_no_session_key_serves_more_messages_than_it_may(alice: Party, bob: Party) -> None:
    secret = bytes(32)
    sealer = Sealer(
        alice.node_id, HOME, alice.identity.sign, lambda: alice.card, random_bytes=lambda n: secret
    )
    sent = header(alice, bob)
    body = sealer.seal(sent, FRAME, bob.sealing_key)
    bob.open(sent, body)
    *_, sealed = msgspec.msgpack.decode(body)

    def with_counter(counter: int) -> bytes:
        assert sent.delivery is not None
        data = msgspec.msgpack.encode(
            (
                ("home", "1"),
                sent.to,
                sent.sender,
                sent.qos,
                sent.sequence,
                MESSAGE_ID,
                NOW,
                NOW + HOUR,
            )
        )
        ciphertext = AESGCM(secret).encrypt(counter.to_bytes(12, "big"), FRAME, data)
        counted = b"\xce" + counter.to_bytes(4, "big")
        return body.replace(b"\xce\0\0\0\0", counted, 1).replace(sealed, ciphertext)

    last = (1 << 20) - 1
    assert bob.open(sent, with_counter(last)) == FRAME
    assert refusal(bob, sent, with_counter(last + 1)) is DropReason.BAD_FRAME


def test_a_session_key_outlives_no_card(alice: Party, bob: Party) -> None:
    alice.card = alice.make_card(not_after=NOW + 1000)
    in_time, late = (header(alice, bob, created_at=NOW + ms) for ms in (1000, 1001))
    first, second = (alice.sealer.seal(sent, FRAME, bob.sealing_key) for sent in (in_time, late))

    assert bob.open(in_time, first) == FRAME
    assert refusal(bob, late, second) is DropReason.BAD_CARD


def test_a_wrap_signature_that_is_forged_is_refused(alice: Party, bob: Party) -> None:
    sent = header(alice, bob)
    body = alice.sealer.seal(sent, FRAME, bob.sealing_key)

    assert refusal(bob, sent, reseal(body, at_5=bytes(64))) is DropReason.BAD_WRAP
    bob.open(sent, body)
    assert refusal(bob, sent, reseal(body, at_5=bytes(64))) is DropReason.BAD_WRAP
    assert refusal(bob, sent, reseal(body, at_3=NOW + 1)) is DropReason.BAD_WRAP


def test_what_proves_a_known_key_is_looked_at_in_every_message(alice: Party, bob: Party) -> None:
    sent = header(alice, bob)
    body = alice.sealer.seal(sent, FRAME, bob.sealing_key)
    bob.open(sent, body)
    fields = msgspec.msgpack.decode(body)

    for field, reason in ((fields[5], DropReason.BAD_WRAP), (alice.card, DropReason.BAD_CARD)):
        changed = field[:-1] + bytes((field[-1] ^ 1,))
        assert refusal(bob, sent, body.replace(field, changed)) is reason


def test_a_key_that_was_wrapped_for_another_is_refused(alice: Party, bob: Party) -> None:
    eve = Party()
    sent = header(alice, bob)
    for_eve = alice.sealer.seal(header(alice, eve), FRAME, bob.sealing_key)

    assert refusal(bob, sent, for_eve) is DropReason.BAD_WRAP


def test_what_is_sealed_in_another_realm_is_refused(bob: Party) -> None:
    alice = Party(realm=Realm("Work", "work", "1"))
    sent = header(alice, bob)
    body = alice.sealer.seal(sent, FRAME, bob.sealing_key)
    assert refusal(bob, sent, body) is DropReason.OTHER_REALM

    alice.realm = HOME
    alice.card = alice.make_card()
    body = alice.sealer.seal(sent, FRAME, bob.sealing_key)
    assert refusal(bob, sent, body) is DropReason.BAD_WRAP


@pytest.mark.parametrize(
    "change",
    [
        {"at_0": 2},
        {"at_1": bytes(7)},
        {"at_2": bytes(79)},
        {"at_3": -1},
        {"at_4": -1},
        {"at_4": 1 << 20},
        {"at_5": bytes(63)},
        {"at_6": None},
        {"at_7": "text"},
    ],
    ids=str,
)
def test_a_body_of_another_form_is_refused(
    change: dict[str, Any], alice: Party, bob: Party
) -> None:
    sent = header(alice, bob)
    body = alice.sealer.seal(sent, FRAME, bob.sealing_key)
    bob.open(sent, body)

    assert refusal(bob, sent, reseal(body, **change)) is DropReason.BAD_FRAME


def test_a_body_that_another_program_wrote_opens(alice: Party, bob: Party) -> None:
    sent = header(alice, bob)
    first, second = (alice.sealer.seal(sent, FRAME, bob.sealing_key) for _ in range(2))
    assert bob.open(sent, first) == FRAME

    # The same array, its numbers and lengths written otherwise.
    assert reseal(second) != second
    assert bob.open(sent, reseal(second)) == FRAME


@given(cut=st.integers(0, 800))
def test_a_body_that_is_cut_is_refused(cut: int) -> None:
    alice, bob = PAIR
    sent = header(alice, bob)
    body = alice.sealer.seal(sent, FRAME, bob.sealing_key)
    bob.open(sent, body)

    if cut < len(body):
        assert refusal(bob, sent, body[:cut]) in (DropReason.BAD_FRAME, DropReason.TAMPERED)


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    alice, bob = PAIR

    assert refusal(bob, header(alice, bob), noise) is DropReason.BAD_FRAME


PAIR = Party(), Party()


def test_a_frame_without_dates_is_neither_sealed_nor_opened(alice: Party, bob: Party) -> None:
    sent = header(alice, bob)
    body = alice.sealer.seal(sent, FRAME, bob.sealing_key)
    bare = header(alice, bob, delivery=None)

    assert refusal(bob, bare, body) is DropReason.BAD_FRAME
    bob.open(sent, body)
    assert refusal(bob, bare, body) is DropReason.BAD_FRAME
    with pytest.raises(ValueError, match="needs message_id"):
        alice.sealer.seal(bare, FRAME, bob.sealing_key)


def test_a_node_does_not_seal_for_another(alice: Party, bob: Party) -> None:
    with pytest.raises(ValueError, match="seals what it sends itself"):
        alice.sealer.seal(header(bob, alice), FRAME, bob.sealing_key)


def epochs(sealer: Sealer, bob: Party, headers: list[ForwardHeader]) -> int:
    """Under how many session keys these are sealed."""
    bodies = [sealer.seal(sent, FRAME, bob.sealing_key) for sent in headers]
    return len({msgspec.msgpack.decode(body)[2] for body in bodies})


def test_a_session_key_serves_an_hour(alice: Party, bob: Party) -> None:
    within = [header(alice, bob, created_at=NOW + ms) for ms in (0, 1, HOUR - 1)]
    after = [*within, header(alice, bob, created_at=NOW + HOUR)]

    assert epochs(alice.sealer, bob, within) == 1
    assert epochs(alice.sealer, bob, after) == 2


def test_a_clock_that_goes_back_takes_another_session_key(alice: Party, bob: Party) -> None:
    back = [header(alice, bob, created_at=NOW + ms) for ms in (0, -1)]

    assert epochs(alice.sealer, bob, back) == 2


def test_a_session_key_serves_so_many_messages(bob: Party) -> None:
    alice = Party(max_messages=3)

    assert epochs(alice.sealer, bob, [header(alice, bob)] * 3) == 1
    assert epochs(alice.sealer, bob, [header(alice, bob)]) == 1
    assert epochs(alice.sealer, bob, [header(alice, bob)] * 4) == 2


def test_a_new_card_and_a_new_sealing_key_take_another_session_key(
    alice: Party, bob: Party
) -> None:
    sent = header(alice, bob)
    first = alice.sealer.seal(sent, FRAME, bob.sealing_key)
    alice.card = alice.make_card(issued_at=NOW + 1)
    second = alice.sealer.seal(sent, FRAME, bob.sealing_key)
    bob.private.insert(0, X25519PrivateKey.generate())
    third = alice.sealer.seal(sent, FRAME, bob.sealing_key)

    keys = [msgspec.msgpack.decode(body)[2] for body in (first, second, third)]
    assert len(set(keys)) == 3
    assert [bob.open(sent, body) for body in (first, second, third)] == [FRAME] * 3


def test_session_keys_are_kept_for_so_many(bob: Party) -> None:
    alice = Party(max_keys=2)
    others = [Party(), Party()]
    sent = header(alice, bob)
    first = alice.sealer.seal(sent, FRAME, bob.sealing_key)
    for other in others:
        alice.sealer.seal(header(alice, other), FRAME, other.sealing_key)

    again = alice.sealer.seal(sent, FRAME, bob.sealing_key)

    assert msgspec.msgpack.decode(first)[2] != msgspec.msgpack.decode(again)[2]
    assert bob.open(sent, first) == bob.open(sent, again) == FRAME


def test_verified_keys_are_kept_for_so_many_and_verified_anew_after_that() -> None:
    bob = Party(max_keys=2)
    senders = [Party() for _ in range(4)]
    frames = [
        (header(s, bob), s.sealer.seal(header(s, bob), FRAME, bob.sealing_key)) for s in senders
    ]
    for sent, body in frames:
        bob.open(sent, body)

    bob.private = []

    assert refusal(bob, *frames[0]) is DropReason.UNKNOWN_KEY
    assert bob.open(*frames[3]) == FRAME


def test_what_an_origin_is_told_is_a_reason_of_the_protocol() -> None:
    for reason in DropReason:
        assert Refused(reason, "").told in Reason
    assert Refused(DropReason.TAMPERED, "").told is Reason.UNAUTHENTICATED


def test_a_recipients_key_that_is_none_is_a_fault_of_the_caller(alice: Party, bob: Party) -> None:
    with pytest.raises(ValueError, match="32"):
        alice.sealer.seal(header(alice, bob), FRAME, bytes(31))


def test_sealing_takes_its_keys_from_what_it_is_given(alice: Party, bob: Party) -> None:
    asked = []

    def zeros(size: int) -> bytes:
        asked.append(size)
        return random.Random(0).randbytes(size)

    sealer = Sealer(
        alice.node_id, HOME, alice.identity.sign, lambda: alice.card, random_bytes=zeros
    )
    sent = header(alice, bob)

    assert bob.open(sent, sealer.seal(sent, FRAME, bob.sealing_key)) == FRAME
    assert asked == [32]
