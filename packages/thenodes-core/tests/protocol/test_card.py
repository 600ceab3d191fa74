"""Identity cards: who may say what of a node, and for how long."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from hypothesis import given, settings
from hypothesis import strategies as st

from thenodes_core.errors import CredentialError
from thenodes_core.node_id import derive_node_id
from thenodes_core.protocol.card import CARD_BYTES, Card, CardBook, make_card, open_card
from thenodes_core.signatures import PrivateKey, Purpose, sign
from thenodes_plugin_api import Realm

NOW = 1_800_000_000_000
DAY = 24 * 60 * 60 * 1000
P256 = ec.generate_private_key(ec.SECP256R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()


def public(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


CARD = Card(
    node_id=derive_node_id(public(P256)),
    public_key=public(P256),
    sealing_key=bytes(range(32)),
    realm=Realm("Müller Home", "mueller-home", "1.0"),
    relays=("wss://relay.example:50000", "r2"),
    issued_at=NOW,
    not_after=NOW + 30 * DAY,
)


def changed(**fields: Any) -> Card:
    return msgspec.structs.replace(CARD, **fields)


def signer(key: PrivateKey = P256) -> Any:
    return lambda purpose, content: sign(key, purpose, content)


def content_of(card: Card) -> list[Any]:
    realm = [card.realm.name, card.realm.code, card.realm.version]
    head = [card.node_id, card.public_key, card.sealing_key, realm, list(card.relays)]
    return [*head, card.issued_at, card.not_after]


def forged(
    content: object, *, key: PrivateKey = P256, purpose: Purpose = Purpose.CARD, after: Any = ()
) -> bytes:
    """A card of any content, signed as it is."""
    data = msgspec.msgpack.encode(content)
    return msgspec.msgpack.encode([data, sign(key, purpose, data), *after])


@pytest.mark.parametrize("key", [P256, ED25519], ids=["P-256", "Ed25519"])
def test_what_a_card_says_is_read(key: PrivateKey) -> None:
    card = changed(node_id=derive_node_id(public(key)), public_key=public(key))

    assert open_card(make_card(card, signer(key)), now_ms=NOW) == card


def test_a_card_is_the_array_of_the_wire_protocol() -> None:
    content, signature = msgspec.msgpack.decode(make_card(CARD, signer()))

    assert msgspec.msgpack.decode(content) == content_of(CARD)
    assert len(signature) == 64


def test_a_configured_id_needs_not_derive() -> None:
    card = changed(node_id="kitchen")

    assert open_card(make_card(card, signer()), now_ms=NOW) == card


def test_an_id_of_derived_look_that_does_not_derive_is_refused() -> None:
    card = changed(node_id="a" * 32)

    with pytest.raises(CredentialError, match="does not derive from the card's key"):
        open_card(forged(content_of(card)), now_ms=NOW)
    with pytest.raises(CredentialError, match="does not derive"):
        make_card(card, signer())


def test_a_card_of_another_key_is_refused() -> None:
    with pytest.raises(CredentialError, match="not signed by its own key"):
        open_card(forged(content_of(CARD), key=ED25519), now_ms=NOW)


@pytest.mark.parametrize("purpose", [one for one in Purpose if one is not Purpose.CARD])
def test_what_was_signed_for_another_purpose_is_no_card(purpose: Purpose) -> None:
    with pytest.raises(CredentialError, match="not signed by its own key"):
        open_card(forged(content_of(CARD), purpose=purpose), now_ms=NOW)


@pytest.mark.parametrize(
    "field",
    [
        {"sealing_key": bytes(32)},
        {"relays": ("wss://evil.example",)},
        {"realm": Realm("other", "other", "1.0")},
        {"issued_at": NOW + 1},
        {"not_after": NOW + 30 * DAY + 1},
        {"node_id": "kitchen"},
    ],
    ids=lambda field: next(iter(field)),
)
def test_a_card_with_one_field_changed_is_refused(field: dict[str, Any]) -> None:
    _, signature = msgspec.msgpack.decode(make_card(CARD, signer()))
    content = msgspec.msgpack.encode(content_of(changed(**field)))

    with pytest.raises(CredentialError, match="not signed by its own key"):
        open_card(msgspec.msgpack.encode([content, signature]), now_ms=NOW)


@pytest.mark.parametrize(
    "public_key",
    [b"", b"x" * 91, b"x" * 513, public(P256) + b"\0"],
    ids=["none", "no key", "too long", "with a byte after it"],
)
def test_a_card_whose_key_is_none_is_refused(public_key: bytes) -> None:
    card = changed(node_id="kitchen", public_key=public_key)

    with pytest.raises(CredentialError):
        open_card(forged(content_of(card)), now_ms=NOW)
    with pytest.raises(CredentialError):
        make_card(card, signer())


def test_a_card_is_good_to_its_last_millisecond() -> None:
    data = make_card(CARD, signer())

    assert open_card(data, now_ms=CARD.not_after) == CARD
    with pytest.raises(CredentialError, match="the card expired"):
        open_card(data, now_ms=CARD.not_after + 1)


def test_a_card_may_be_dated_a_day_ahead_and_no_more() -> None:
    data = make_card(CARD, signer())

    assert open_card(data, now_ms=NOW - DAY) == CARD
    with pytest.raises(CredentialError, match=r"dated 1\.0 days ahead"):
        open_card(data, now_ms=NOW - DAY - 1)


@pytest.mark.parametrize("life", [30 * DAY + 1001, 365 * DAY, -1])
def test_a_card_for_more_than_30_days_or_for_none_is_refused(life: int) -> None:
    card = changed(not_after=NOW + life)

    with pytest.raises(CredentialError, match="expected 0 to 30"):
        open_card(forged(content_of(card)), now_ms=NOW)
    with pytest.raises(CredentialError, match="expected 0 to 30"):
        make_card(card, signer())


def test_a_second_more_than_30_days_is_forgiven() -> None:
    card = changed(not_after=NOW + 30 * DAY + 1000)

    assert open_card(make_card(card, signer()), now_ms=NOW) == card


@pytest.mark.parametrize(
    "field",
    [
        {"node_id": ""},
        {"node_id": "a b"},
        {"node_id": "a" * 129},
        {"sealing_key": bytes(31)},
        {"sealing_key": bytes(33)},
        {"relays": ("r",) * 9},
        {"relays": ("r" * 129,)},
        {"relays": ("",)},
        {"realm": Realm("n" * 129)},
        {"issued_at": -1},
        {"not_after": 2**63},
    ],
    ids=str,
)
def test_a_field_beyond_its_bounds_is_refused_by_reader_and_writer(field: dict[str, Any]) -> None:
    card = changed(**field)

    with pytest.raises(CredentialError, match="not a card's content"):
        open_card(forged(content_of(card)), now_ms=NOW)
    with pytest.raises(CredentialError, match="not a card's content"):
        make_card(card, signer())


def test_a_card_of_over_2_kib_is_refused_by_reader_and_writer() -> None:
    # Each field is within its bounds, in characters; these have four bytes.
    card = changed(relays=("😀" * 128,) * 8)

    with pytest.raises(CredentialError, match=f"at most {CARD_BYTES}"):
        make_card(card, signer())
    with pytest.raises(CredentialError, match=f"at most {CARD_BYTES}"):
        open_card(forged(content_of(card)), now_ms=NOW)


def test_the_largest_card_of_plain_text_fits() -> None:
    realm = Realm("n" * 128, "c" * 128, "v" * 128)
    card = changed(node_id="i" * 128, realm=realm, relays=("r" * 128,) * 8)

    assert open_card(make_card(card, signer()), now_ms=NOW) == card


def test_elements_that_a_later_version_adds_are_passed_over() -> None:
    content = [*content_of(CARD), "new"]

    assert open_card(forged(content, after=["new"]), now_ms=NOW) == CARD


@pytest.mark.parametrize(
    "content", [[], {}, None, content_of(CARD)[:-1], [*content_of(CARD)[:-1], 1.5], "text"], ids=str
)
def test_content_of_another_shape_is_refused(content: object) -> None:
    with pytest.raises(CredentialError, match="not a card's content"):
        open_card(forged(content), now_ms=NOW)


@pytest.mark.parametrize("data", [b"", b"\x92", b"\x91" * 2000, b"\x92\xa1\xff\xa1\xff", b"\xc0"])
def test_bytes_of_another_shape_are_refused(data: bytes) -> None:
    with pytest.raises(CredentialError, match="not a card"):
        open_card(data, now_ms=NOW)


@given(st.binary(max_size=2100))
def test_bytes_of_chance_are_refused_with_our_error_alone(data: bytes) -> None:
    with pytest.raises(CredentialError):
        open_card(data, now_ms=NOW)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=40)
    | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.integers(0, 6), anything)
def test_a_signed_card_with_any_field_is_read_or_refused(place: int, value: object) -> None:
    content = content_of(CARD)
    content[place] = value

    try:
        card = open_card(forged(content), now_ms=NOW)
    except CredentialError:
        return
    assert card.not_after - card.issued_at <= 30 * DAY + 1000
    said = msgspec.msgpack.decode(msgspec.msgpack.encode(content))[:7]
    # Elements that a later version adds are passed over, those of the realm as well.
    said[3] = said[3][:3]
    assert content_of(card) == said


WHOLE = make_card(CARD, signer())


@settings(deadline=None)
@given(st.integers(0, len(WHOLE)), st.integers(0, 4), st.binary(max_size=4))
def test_a_damaged_card_never_says_anything_else(place: int, removed: int, inserted: bytes) -> None:
    damaged = WHOLE[:place] + inserted + WHOLE[place + removed :]

    try:
        card = open_card(damaged, now_ms=NOW)
    except CredentialError:
        return
    assert card == CARD


def test_the_sealing_key_may_be_any_x25519_key() -> None:
    sealing_key = x25519.X25519PrivateKey.generate().public_key().public_bytes_raw()
    card = changed(sealing_key=sealing_key)

    assert open_card(make_card(card, signer()), now_ms=NOW).sealing_key == sealing_key


def test_an_older_card_than_one_seen_is_refused() -> None:
    book = CardBook()
    newer = changed(issued_at=NOW + 1)

    assert book.take(newer)
    assert not book.take(CARD)
    assert book.get(CARD.node_id) == newer


def test_the_same_card_again_is_fine() -> None:
    book = CardBook()

    assert book.take(CARD)
    assert book.take(CARD)


def test_another_card_of_the_same_time_is_refused() -> None:
    book = CardBook()
    book.take(CARD)

    assert not book.take(changed(sealing_key=bytes(32)))
    assert book.get(CARD.node_id) == CARD


def test_a_newer_card_takes_the_olders_place() -> None:
    book = CardBook()
    book.take(CARD)
    newer = changed(issued_at=NOW + 1)

    assert book.take(newer)
    assert book.get(CARD.node_id) == newer
    assert len(book) == 1


def test_a_node_with_a_new_key_starts_anew() -> None:
    book = CardBook()
    book.take(changed(node_id="kitchen"))
    card = changed(node_id="kitchen", public_key=public(ED25519), issued_at=NOW - 1)

    assert book.take(card)
    assert book.get("kitchen") == card


def test_of_a_node_without_a_card_nothing_is_known() -> None:
    assert CardBook().get("kitchen") is None


def test_of_too_many_cards_the_one_not_seen_for_longest_goes() -> None:
    book = CardBook(max_entries=2)
    one, two, three = (changed(node_id=name) for name in ("one", "two", "three"))
    for card in (one, two, one, three):
        assert book.take(card)

    assert [book.get(name) for name in ("one", "two", "three")] == [one, None, three]
    assert len(book) == 2


def test_a_card_that_is_used_outlasts_those_that_are_only_seen() -> None:
    book = CardBook(max_entries=2)
    one, two, three = (changed(node_id=name) for name in ("one", "two", "three"))
    book.take(one)
    book.take(two)

    assert book.get("one") == one
    book.take(three)

    assert (book.get("one"), book.get("two")) == (one, None)


def test_cards_of_as_many_nodes_are_kept_as_a_relay_has_mailboxes() -> None:
    book = CardBook()
    for number in range(10_000):
        book.take(changed(node_id=f"node-{number}"))

    assert book.get("node-0") is not None


def test_a_refused_card_does_not_count_as_seen() -> None:
    book = CardBook(max_entries=2)
    one, two, three = (changed(node_id=name) for name in ("one", "two", "three"))
    book.take(one)
    book.take(two)
    book.take(changed(node_id="one", issued_at=NOW - 1))
    book.take(three)

    assert book.get("one") is None


def test_a_card_that_was_taken_is_recognised_by_its_bytes_while_it_is_valid() -> None:
    book = CardBook()
    book.take(CARD, WHOLE)

    assert book.recognise(CARD.node_id, WHOLE, now_ms=CARD.not_after) == CARD
    assert book.recognise(CARD.node_id, WHOLE, now_ms=CARD.not_after + 1) is None
    assert book.recognise(CARD.node_id, WHOLE + b"x", now_ms=NOW) is None
    assert book.recognise("other", WHOLE, now_ms=NOW) is None
