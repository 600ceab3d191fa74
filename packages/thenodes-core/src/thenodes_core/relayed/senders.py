"""Who may be heard through relays: the trust policy and the rules of ids, once a sender."""

from __future__ import annotations

import re
from typing import TypeAlias, TypeVar

from thenodes_plugin_api import Direction, Verified

from ..node_id import derive_node_id, fingerprint
from ..peers.admission import Admission
from ..protocol.card import Card
from ..security.decision import Subject
from ..security.refusal import DropReason
from ..security.seal import SessionKey
from .recent import RecentIds

__all__ = ["Sender", "Senders"]

K = TypeVar("K")

Objection: TypeAlias = tuple[DropReason, str]

_MOST_SENDERS = 4096
_JUDGED_SECONDS = 3600.0
_NODE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Sender:
    """A sender that was judged.

    Attributes:
        node_id: its id.
        verified: how that was proven.
        name: by which its messages are known again. Who proves nothing has another one than
            who proves that id, and takes nothing from it.
        is_new: whether a message id is; it is remembered, of senders that are heard.
        refused: why it is not heard, or None.
        judged_at: monotonic seconds.
    """

    __slots__ = ("is_new", "judged_at", "name", "node_id", "refused", "verified")

    def __init__(
        self,
        node_id: str,
        verified: Verified,
        recent: RecentIds,
        refused: Objection | None,
        judged_at: float,
    ) -> None:
        self.node_id = node_id
        self.verified = verified
        self.name = node_id if verified is Verified.SEAL else f"?{node_id}"
        # A name costs nothing: what is refused would push out the ids of those that are heard.
        self.is_new = _nothing_is_new if refused else recent.of(self.name).take
        self.refused = refused
        self.judged_at = judged_at


class Senders:
    """Judges senders as `Admission` judges peers, and remembers it until trust changes.

    What was decided holds for an hour at most, as long as a session key does.

    Args:
        admission: decides, and knows ids, keys and cards.
        node_id: this node's id.
        sealed_only: whether nobody is heard who proves nothing.
    """

    def __init__(self, admission: Admission, node_id: str, *, sealed_only: bool) -> None:
        self._admission = admission
        self._node_id = node_id
        self._sealed_only = sealed_only
        # Of those who prove who they are, and of those who claim it.
        self._recent, self._recent_claims = RecentIds(), RecentIds()
        # By card, and by the id that somebody claims.
        self._sealed: dict[bytes, Sender] = {}
        self._unsealed: dict[str, Sender] = {}

    def forget(self) -> None:
        """Judge everybody anew: trust has changed."""
        self._sealed.clear()
        self._unsealed.clear()

    def proven(self, key: SessionKey, now: float) -> Sender:
        """The sender whose key wrapped a session key.

        Args:
            key: the session key.
            now: monotonic seconds.
        """
        sender = self._sealed.get(key.card_data)
        if sender is None or now - sender.judged_at > _JUDGED_SECONDS:
            refused = self._judge(key)
            sender = Sender(key.sender, Verified.SEAL, self._recent, refused, now)
            _remember(self._sealed, key.card_data, sender)
        return sender

    def claimed(self, node_id: str, now: float) -> Sender:
        """The sender that an unsealed frame names."""
        sender = self._unsealed.get(node_id)
        if sender is None or now - sender.judged_at > _JUDGED_SECONDS:
            refused = self._judge_claim(node_id)
            sender = Sender(node_id, Verified.NONE, self._recent_claims, refused, now)
            _remember(self._unsealed, node_id, sender)
        return sender

    def _judge(self, key: SessionKey) -> Objection | None:
        admission, card = self._admission, key.card
        assert isinstance(card, Card)
        if card.node_id == self._node_id:
            return (DropReason.OTHER_KEY, f"{card.node_id} is this node's own id")
        objection = admission.objection(card.node_id, card.public_key)
        if objection is not None:
            return (objection, _OBJECTIONS[objection].format(card.node_id))
        refused = self._decide(card.node_id, card.public_key)
        if refused is None and card.node_id != derive_node_id(card.public_key):
            # Met from now on; the operator vouches for the key, or it was bound before.
            if not admission.bind(card.node_id, fingerprint(card.public_key)):
                detail = f"too many ids are known here to take {card.node_id} in"
                return (DropReason.UNKNOWN_ID, detail)
        if refused is None:
            admission.cards.take(card, key.card_data)
        return refused

    def _judge_claim(self, node_id: str) -> Objection | None:
        admission = self._admission
        if self._sealed_only:
            detail = f"{node_id[:128]} sends unsealed, and network.relay.seal is required here"
            return (DropReason.UNSEALED, detail)
        if not _NODE_ID.fullmatch(node_id):
            return (DropReason.BAD_FRAME, "the sender's name is no node id")
        if node_id == self._node_id:
            return (DropReason.OTHER_KEY, f"{node_id} is this node's own id")
        if admission.ids.fingerprint_of(node_id) is not None:
            detail = f"{node_id} is known here with a key, and proves none"
            return (DropReason.OTHER_KEY, detail)
        if admission.is_of_revoked(node_id):
            return (DropReason.UNTRUSTED, "not trusted here: revoked")
        return self._decide(node_id, None)

    def _decide(self, node_id: str, public_key: bytes | None) -> Objection | None:
        admission = self._admission
        subject = Subject(
            node_id=node_id,
            public_key=public_key,
            certificate=None if public_key is None else admission.shown_certificate(public_key),
            role=Direction.INBOUND,
            address=None,
            dialled=None,
            realm=admission.realm,
        )
        decision = admission.decide(subject, needs_key=public_key is not None)
        if decision.accepted:
            return None
        return (DropReason.UNTRUSTED, f"not trusted here: {decision.reason}")


_OBJECTIONS = {
    DropReason.OTHER_KEY: (
        "{0} is known here with another key; if it has a new one: thenodes trust forget {0}"
    ),
    DropReason.UNKNOWN_ID: (
        "{0} chose its id, and its key is not known here: it has to be met in a session, "
        "pinned or trusted first"
    ),
}


def _nothing_is_new(message_id: bytes) -> bool:
    return False


def _remember(cache: dict[K, Sender], key: K, sender: Sender) -> None:
    if len(cache) >= _MOST_SENDERS:
        cache.clear()
    cache[key] = sender
