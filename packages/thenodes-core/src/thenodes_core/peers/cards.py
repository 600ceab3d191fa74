"""Identity cards of others: which are believed, and from whom (design: wire.md, Identity)."""

from __future__ import annotations

from thenodes_plugin_api import CardInfo, CardRefused

from ..errors import CredentialError
from ..node_id import fingerprint
from ..protocol.card import Card, open_card
from ..security.refusal import DropReason
from .admission import Admission

__all__ = ["Cards"]

_MOST_FINGERPRINTS = 4096


class Cards:
    """Reads cards, and learns those that somebody hands on.

    A card that a node shows in a session of its own is learned there. One that is handed
    on counts for ids that derive from its key, for chosen ids that were met with that
    key, and for keys that are pinned or trusted; a revoked key's never does.

    Args:
        admission: knows ids and keys, and keeps the cards.
        node_id: this node's id.
    """

    def __init__(self, admission: Admission, node_id: str) -> None:
        self._admission = admission
        self._node_id = node_id
        # Of cards that are used: for every message that is sealed, a hash would be felt.
        self._fingerprints: dict[bytes, str] = {}

    def read(self, card: bytes) -> CardInfo:
        """Check a card on its own: form, signature, validity.

        Raises:
            CardRefused: what is wrong with it.
        """
        return _info(self._open(card))

    def learn(self, card: bytes) -> CardInfo:
        """Check a card that somebody handed on, and remember it for sealing.

        Raises:
            CardRefused: as `read`; or it is this node's own, of another realm, of a
                revoked key, older than one seen, or of a chosen id whose key this node
                does not know.
        """
        opened = self._open(card)
        self._check(opened)
        if not self._admission.cards.take(opened, card):
            raise CardRefused(f"the card of {opened.node_id} is older than one seen")
        return _info(opened)

    def get(self, node_id: str) -> CardInfo | None:
        """What the newest card of a node says, while it is valid."""
        card = self.card_of(node_id)
        return None if card is None else _info(card)

    def card_of(self, node_id: str) -> Card | None:
        """The newest card of a node, while it is valid and its key is not revoked."""
        card = self._admission.cards.get(node_id)
        if card is None or self._now_ms > card.not_after:
            return None
        known = self._admission.ids.fingerprint_of(node_id)
        key = self._fingerprint(card.public_key)
        if self._admission.is_revoked(key) or known not in (None, key):
            return None
        return card

    def _fingerprint(self, public_key: bytes) -> str:
        known = self._fingerprints.get(public_key)
        if known is None:
            if len(self._fingerprints) >= _MOST_FINGERPRINTS:
                self._fingerprints.clear()
            known = self._fingerprints[public_key] = fingerprint(public_key)
        return known

    def _open(self, card: bytes) -> Card:
        try:
            return open_card(card, now_ms=self._now_ms)
        except CredentialError as error:
            raise CardRefused(str(error)) from error

    def _check(self, card: Card) -> None:
        admission, name = self._admission, card.node_id
        here = admission.realm
        if name == self._node_id:
            raise CardRefused(f"a card of {name}, which is this node itself")
        if (card.realm.code, card.realm.version) != (here.code, here.version):
            raise CardRefused(f"the card of {name} is of realm {card.realm}, not of {here}")
        if admission.is_revoked(fingerprint(card.public_key)):
            raise CardRefused(f"the card of {name} is of a key that was revoked here")
        objection = admission.objection(name, card.public_key)
        if objection is DropReason.OTHER_KEY:
            raise CardRefused(
                f"{name} is known here with another key than that of its card; if it has a new "
                f"one: thenodes trust forget {name}"
            )
        if objection is not None:
            raise CardRefused(
                f"{name} chose its id, and its key is not known here: it has to be met in a "
                f"session, pinned or trusted first"
            )

    @property
    def _now_ms(self) -> int:
        return int(self._admission.now * 1000)


def _info(card: Card) -> CardInfo:
    return CardInfo(
        card.node_id, fingerprint(card.public_key), card.relays, card.issued_at, card.not_after
    )
