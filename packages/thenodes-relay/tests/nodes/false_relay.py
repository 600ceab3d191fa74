"""A node that says it is a relay, and answers as a test likes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import cast

import msgspec
from msgspec import structs

from thenodes_core import Node
from thenodes_core.protocol.card import Card, make_card
from thenodes_core.security.identity import Identity
from thenodes_core.session.service import SessionService
from thenodes_core.signatures import Purpose
from thenodes_plugin_api import (
    Ack,
    Body,
    Frame,
    Message,
    QoS,
    Realm,
    RelayBind,
    RelayBindAck,
    ServiceSession,
)

__all__ = ["FalseRelay", "Far", "rewritten"]

_MONTH_MS = 30 * 86_400_000


class FalseRelay:
    """Grants everything, hands out the cards that it is given, and keeps every frame.

    Attributes:
        node: the node.
        cards: by target, what is handed out; what a test puts here is not checked.
        confirms: whether reliable frames are acknowledged.
        answer: makes the answer to a bind, or nothing; a test may have another.
        binds: what it was asked.
        frames: what it was given.
        acks: ACKs that it was given.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.cards: dict[str, bytes] = {}
        self.confirms = True
        self.answer: Callable[[RelayBind], Body | bytes | None] = self.grant
        self.binds: list[RelayBind] = []
        self.frames: list[Frame] = []
        self.acks: list[Ack] = []
        node._started.advertise(("relay", "relay_store_forward"))
        node.peers.serve_kind(RelayBind, self._take_bind)
        node.peers.serve_kind(Ack, self._take_ack)
        node.peers.serve_frames(self._take_frames)

    @property
    def id(self) -> str:
        """Its node id."""
        return self.node.id

    def grant(self, bind: RelayBind) -> RelayBindAck:
        """The answer of a relay that knows everybody."""
        card = self.cards.get(bind.target)
        return RelayBindAck(True, None, f"bind:{bind.target}", True, bind.nonce, None, card)

    def session(self, node_id: str) -> ServiceSession:
        """The session with a user."""
        session = self.node.peers.service_session(node_id)
        assert session is not None
        return session

    def _take_bind(self, session: ServiceSession, message: Message) -> None:
        assert isinstance(message.body, RelayBind)
        self.binds.append(message.body)
        answer = self.answer(message.body)
        if isinstance(answer, bytes):
            # As it is, also to a peer that speaks JSON.
            cast("SessionService", session)._outbox.offer(answer)
        elif answer is not None:
            session.send(answer)

    def _take_ack(self, session: ServiceSession, message: Message) -> None:
        assert isinstance(message.body, Ack)
        self.acks.append(message.body)

    def _take_frames(self, session: ServiceSession, frames: Sequence[Frame]) -> None:
        self.frames += frames
        for frame in frames if self.confirms else ():
            header = frame.header
            if header.qos == QoS.RELIABLE and header.delivery is not None:
                known_as = uuid.UUID(bytes=header.delivery.message_id)
                session.send(
                    Ack(header.sender, header.to, header.sequence or 0, "stored", known_as)
                )


class Far:
    """A node that exists as a key and a card alone."""

    def __init__(self, realm: Realm, now_ms: int, node_id: str | None = None) -> None:
        self.identity = Identity.generate()
        self.node_id = node_id or self.identity.node_id
        self._card = Card(
            self.node_id,
            self.identity.public_key,
            bytes(range(32)),
            realm,
            (),
            now_ms,
            now_ms + _MONTH_MS,
        )

    def card(self, **changes: object) -> bytes:
        """Its card, with what a test wants changed."""
        return make_card(structs.replace(self._card, **changes), self.identity.sign)


def rewritten(card: bytes, signer: Identity, **changes: object) -> bytes:
    """A card with other content, under that signature; nothing is checked."""
    content = msgspec.msgpack.decode(msgspec.msgpack.decode(card)[0])
    names = ("node_id", "public_key", "sealing_key", "realm", "relays", "issued_at", "not_after")
    for name, value in changes.items():
        content[names.index(name)] = value
    data = msgspec.msgpack.encode(content)
    return msgspec.msgpack.encode([data, signer.sign(Purpose.CARD, data)])
