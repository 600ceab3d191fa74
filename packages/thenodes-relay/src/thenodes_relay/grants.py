"""What the relay granted to nodes, and what becomes of it: plain data."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from thenodes_plugin_api import QoS

__all__ = ["MAILBOX", "Binding", "Bound", "Ended", "Mailbox", "Notice", "Opened", "binding_id"]

S = TypeVar("S")

MAILBOX = "*"
"""The target that means the binder's own mailbox."""


def binding_id(node: str, target: str, nonce: int | None) -> str:
    """By what both ends name a binding or mailbox; ids of nodes hold no colon."""
    return f"bind:{node}:{target}:{nonce or 0}"


class Mailbox(msgspec.Struct, Generic[S], eq=False, kw_only=True):
    """A node that can be reached here. There is one a node; the tables alone change it.

    Attributes:
        node: its id.
        fingerprint: of its key, in hex.
        card: its identity card.
        store: whether frames are to be kept for it while it is away.
        stranger: whether it counts against the strangers' half.
        expires_at: Unix seconds after which it ends, present or not; None for no such time.
        ends_at: Unix seconds: when it ends as things are; None where its owner is there and
            gave no time.
        session: over which it was opened last; None while its owner is away.
        nonce: of the bind that opened it over that session.
    """

    node: str
    fingerprint: str
    card: bytes | None
    store: bool
    stranger: bool
    expires_at: float | None = None
    ends_at: float | None = None
    session: S | None = None
    nonce: int | None = None

    @property
    def binding_id(self) -> str:
        """By which its owner speaks of it."""
        return binding_id(self.node, MAILBOX, self.nonce)


class Binding(msgspec.Struct, Generic[S], eq=False, kw_only=True):
    """A route from one node to another; the tables alone change it.

    Attributes:
        node: who may forward.
        target: to whom.
        store: whether the binder asked that frames be kept.
        qos: of frames that name none.
        expires_at: Unix seconds after which it ends; None to hold as long as the session.
        session: the binder's.
        nonce: of the bind.
        mailbox: the target's; None while it has none here.
    """

    node: str
    target: str
    store: bool
    qos: QoS
    expires_at: float | None
    session: S
    nonce: int | None
    mailbox: Mailbox[S] | None

    @property
    def binding_id(self) -> str:
        """By which both ends speak of it."""
        return binding_id(self.node, self.target, self.nonce)

    @property
    def stores(self) -> bool:
        """Whether frames are kept for an absent target: both ends asked for it."""
        return self.store and self.mailbox is not None and self.mailbox.store


class Notice(msgspec.Struct, Generic[S], frozen=True):
    """Somebody present who has to be told `peer_left`.

    Attributes:
        node: whom to tell.
        session: over which.
        binding_id: of the binding or mailbox it is about.
        detail: what happened, in words.
    """

    node: str
    session: S
    binding_id: str
    detail: str


class Ended(msgspec.Struct, Generic[S]):
    """What came to an end, and who is to be told.

    Attributes:
        mailboxes: that are no more. What is stored for them has to be ended by the caller,
            each frame's origin told.
        bindings: that are no more.
        notices: what to send.
    """

    mailboxes: list[Mailbox[S]] = msgspec.field(default_factory=list)
    bindings: list[Binding[S]] = msgspec.field(default_factory=list)
    notices: list[Notice[S]] = msgspec.field(default_factory=list)


class Opened(msgspec.Struct, Generic[S], frozen=True):
    """A mailbox is open.

    Attributes:
        mailbox: the mailbox; its owner is present.
        is_new: False where it was there before, so that something may be stored for it.
        ended: the mailbox that another key had under this id, or nothing.
    """

    mailbox: Mailbox[S]
    is_new: bool
    ended: Ended[S]


class Bound(msgspec.Struct, Generic[S], frozen=True):
    """A route is open.

    Attributes:
        binding: the binding; its `mailbox` has the target's card, and its session if it is there.
        is_new: False where it stood before.
    """

    binding: Binding[S]
    is_new: bool
