"""Identity cards: what a node says of itself under its signature (design: wire.md, Identity).

A card is the msgpack array `[content, signature]`, both bin. The content is msgpack too,
the array `[node id, public key, sealing key, [name, code, version], relays, issued_at,
not_after]`: it is signed as the bytes that it is, so that nobody has to encode it alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, TypeAlias

import msgspec

from thenodes_plugin_api import NodeId, Realm

from ..errors import CredentialError
from ..node_id import derive_node_id
from ..signatures import Purpose, check_public_key, verify

__all__ = ["CARD_BYTES", "CARD_DAYS", "Card", "CardBook", "make_card", "open_card", "read_card"]

CARD_DAYS = 30
CARD_BYTES = 2048

# More than a relay has mailboxes: what is sent through it is sealed for these.
_MOST_CARDS = 16_384

_DERIVED_ID = re.compile(r"[a-z2-7]{32}")
_DAY_MS = 24 * 60 * 60 * 1000
_LIFE_MS = CARD_DAYS * _DAY_MS + 1000
_LAST_MS = 253_402_300_799_000  # The end of the year 9999.

PublicKey: TypeAlias = Annotated[bytes, msgspec.Meta(max_length=512)]
SealingKey: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Relays: TypeAlias = Annotated[
    tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=128)], ...],
    msgspec.Meta(max_length=8),
]
Milliseconds: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=_LAST_MS)]
Word: TypeAlias = Annotated[str, msgspec.Meta(max_length=128)]


class Card(msgspec.Struct, frozen=True):
    """What a card says.

    Attributes:
        node_id: whose card it is.
        public_key: that node's key: SubjectPublicKeyInfo, DER.
        sealing_key: its X25519 key, 32 bytes.
        realm: its realm.
        relays: where it can be reached, at most 8 of 1 to 128 characters.
        issued_at: Unix milliseconds.
        not_after: Unix milliseconds, at most 30 days later.
    """

    node_id: NodeId
    public_key: bytes
    sealing_key: bytes
    realm: Realm
    relays: tuple[str, ...]
    issued_at: int
    not_after: int


class _Realm(msgspec.Struct, array_like=True):
    name: Word
    code: Word
    version: Word


class _Content(msgspec.Struct, array_like=True):
    node_id: NodeId
    public_key: PublicKey
    sealing_key: SealingKey
    realm: _Realm
    relays: Relays
    issued_at: Milliseconds
    not_after: Milliseconds


class _Signed(msgspec.Struct, array_like=True):
    content: bytes
    signature: bytes


_encode = msgspec.msgpack.encode
_decode_signed = msgspec.msgpack.Decoder(_Signed).decode
_decode_content = msgspec.msgpack.Decoder(_Content).decode


def make_card(card: Card, sign: Callable[[Purpose, bytes], bytes]) -> bytes:
    """Write and sign a card.

    Args:
        card: what it says.
        sign: the node key's, as `Identity.sign`.

    Raises:
        CredentialError: no reader would take it: a field is too long, or the card is.
    """
    realm = _Realm(card.realm.name, card.realm.code, card.realm.version)
    fields = (card.node_id, card.public_key, card.sealing_key, realm, card.relays)
    content = _encode(_Content(*fields, card.issued_at, card.not_after))
    written = _read_content(content)
    _check_id(written)
    _check_life(written)
    data = _encode(_Signed(content, sign(Purpose.CARD, content)))
    _check_size(data)
    return data


def open_card(data: bytes, *, now_ms: int) -> Card:
    """Read a card and check all that can be checked without knowing its node.

    Whether its node id, key and realm are those expected, and whether a newer one
    was seen, is the caller's to check: see `CardBook`.

    Args:
        data: from anybody.
        now_ms: when it has to be valid, Unix milliseconds.

    Raises:
        CredentialError: over 2 KiB, malformed, not signed by its own key, an id of
            derived look that does not derive from the key, expired, dated more than
            a day ahead, or valid for more than 30 days.
    """
    card = read_card(data)
    if card.issued_at > now_ms + _DAY_MS:
        raise CredentialError(
            f"the card is dated {_days(card.issued_at - now_ms)} ahead: at most one is allowed"
        )
    if now_ms > card.not_after:
        raise CredentialError(f"the card expired {_days(now_ms - card.not_after)} ago")
    return card


def read_card(data: bytes) -> Card:
    """As `open_card`, whatever the time is: for what the card itself says of that.

    Raises:
        CredentialError: as `open_card`, but for expired and dated ahead.
    """
    _check_size(data)
    try:
        signed = _decode_signed(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CredentialError(f"not a card: {error}") from error
    card = _read_content(signed.content)
    if not verify(card.public_key, Purpose.CARD, signed.content, signed.signature):
        raise CredentialError("the card is not signed by its own key")
    _check_id(card)
    _check_life(card)
    return card


class CardBook:
    """The newest card of each node.

    Only cards whose key is known to be the node's go in: under another key than before,
    the node was given a new one, and what the old one signed no longer counts.

    Args:
        max_entries: nodes remembered; the one not seen or asked for for longest goes first.
    """

    def __init__(self, *, max_entries: int = _MOST_CARDS) -> None:
        self._max_entries = max_entries
        # Each with its bytes; the least recently seen or asked for first.
        self._cards: dict[str, tuple[Card, bytes]] = {}

    def recognise(self, node_id: str, data: bytes, *, now_ms: int) -> Card | None:
        """The node's card, if that is it, byte for byte, and it is still valid."""
        card, known = self._cards.get(node_id, (None, b""))
        return card if card is not None and data == known and now_ms <= card.not_after else None

    def take(self, card: Card, data: bytes = b"") -> bool:
        """Remember a card, as `open_card` returns it.

        Args:
            card: what it says.
            data: its bytes, by which it is recognised.

        Returns:
            False where one of that node and key was seen that is newer, or that says
            something else at the same time. The same card again is fine.
        """
        seen, _ = self._cards.get(card.node_id, (None, b""))
        if seen is not None and seen.public_key == card.public_key:
            if card.issued_at < seen.issued_at:
                return False
            if card.issued_at == seen.issued_at and card != seen:
                return False
        self._cards.pop(card.node_id, None)
        self._cards[card.node_id] = (card, data)
        if len(self._cards) > self._max_entries:
            del self._cards[next(iter(self._cards))]
        return True

    def get(self, node_id: str) -> Card | None:
        """The newest card of a node, which may have expired."""
        found = self._cards.pop(node_id, None)
        if found is None:
            return None
        self._cards[node_id] = found
        return found[0]

    def __len__(self) -> int:
        return len(self._cards)


def _read_content(content: bytes) -> Card:
    try:
        fields = _decode_content(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CredentialError(f"not a card's content: {error}") from error
    realm = Realm(fields.realm.name, fields.realm.code, fields.realm.version)
    return Card(
        fields.node_id,
        fields.public_key,
        fields.sealing_key,
        realm,
        fields.relays,
        fields.issued_at,
        fields.not_after,
    )


def _check_size(data: bytes) -> None:
    if len(data) > CARD_BYTES:
        raise CredentialError(f"a card of {len(data)} bytes: at most {CARD_BYTES}")


def _check_id(card: Card) -> None:
    check_public_key(card.public_key)
    if not _DERIVED_ID.fullmatch(card.node_id):
        return
    if derive_node_id(card.public_key) != card.node_id:
        raise CredentialError(f"{card.node_id} does not derive from the card's key")


def _check_life(card: Card) -> None:
    life = card.not_after - card.issued_at
    if not 0 <= life <= _LIFE_MS:
        raise CredentialError(f"the card is valid for {_days(life)}: expected 0 to {CARD_DAYS}")


def _days(milliseconds: int) -> str:
    return f"{milliseconds / _DAY_MS:.1f} days"
