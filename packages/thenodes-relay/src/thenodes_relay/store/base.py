"""What a relay asks of a store: frames, mailboxes, and notices for nodes that are away.

Whatever a store is made of, these hold:

* What `append` told as STORED is there after the relay was killed, as far as `durability` says.
* Order: `take` gives the frames of a target by their `row`, and a frame that was appended
  later, in one process or the next, has the greater one. A row is never given twice while a
  process lives.
* A mailbox that was put before a frame was appended is kept no later than the frame.
* Callbacks are called on the event loop, never from within the call that hands them over.
* Times are Unix milliseconds of the wall clock; a store has no clock of its own. They and
  every other number are from 0 to 2**63 - 1.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import msgspec

from thenodes_plugin_api import QoS

__all__ = [
    "NOTICES_PER_NODE",
    "Append",
    "Appended",
    "FlowCount",
    "FrameStore",
    "Gone",
    "Mailbox",
    "Notice",
    "StoreProblem",
    "Stored",
    "Told",
]

NOTICES_PER_NODE = 256
"""Notices that are kept for one node; beyond that the oldest goes."""


class Stored(msgspec.Struct, gc=False, kw_only=True):
    """A frame, with what a store has to know of it.

    Attributes:
        to: node id of the target.
        sender: node id of the origin.
        message_id: by which, together with `sender`, a repeat is known: of the frame, or what
            the relay makes of the origin's instance and the sequence where it has none.
        qos: how it is treated.
        sequence: the origin's number.
        created_at: Unix milliseconds.
        expires_at: Unix milliseconds; from then on it is not delivered.
        data: the whole binary frame, from its length field on.
        stranger: whether it counts against the strangers' share.
        row: its place in the store, given by the store; 0 until it is stored.
        is_sent: whether `mark_sent` named it, in this process or one before.
    """

    to: str
    sender: str
    message_id: bytes
    qos: QoS
    created_at: int
    expires_at: int
    data: bytes
    sequence: int | None = None
    stranger: bool = False
    row: int = 0
    is_sent: bool = False


class Append(enum.Enum):
    """What became of a frame that was to be stored."""

    STORED = "stored"
    """It is kept."""
    DUPLICATE = "duplicate"
    """One with that sender and message id is kept already, so this one is not."""
    FULL = "full"
    """It is not kept: there is no room on the disk, or the disk fails."""


class Appended(msgspec.Struct, frozen=True, gc=False):
    """The answer to `FrameStore.append`.

    Attributes:
        frame: what was handed over, its `row` set if it is STORED.
        status: what became of it.
        detail: why it is FULL, in words.
    """

    frame: Stored
    status: Append
    detail: str = ""


Told: TypeAlias = Callable[[Appended], None]
"""Called once for a frame; it must not raise."""


class Gone(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A frame that is kept no more, and whose origin has to be told.

    Attributes:
        row: where it was.
        to: node id of the target.
        sender: node id of the origin.
        message_id: as in `Stored`.
        qos: as in `Stored`.
        sequence: the origin's number.
        size: bytes of its `data`.
        stranger: as in `Stored`.
    """

    row: int
    to: str
    sender: str
    message_id: bytes
    qos: QoS
    sequence: int | None
    size: int
    stranger: bool


class FlowCount(msgspec.Struct, frozen=True, gc=False):
    """What is kept of the frames of one QoS between two nodes; never of none."""

    to: str
    sender: str
    qos: QoS
    stranger: bool
    frames: int
    bytes: int


class Mailbox(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A mailbox, as it outlives a restart.

    Attributes:
        node_id: whose it is.
        fingerprint: of that node's key, in hex.
        card: its identity card.
        store: whether frames are kept for it while it is away.
        stranger: whether it counts against the strangers' share.
        expires_at: Unix milliseconds.
    """

    node_id: str
    fingerprint: str
    card: bytes
    store: bool
    stranger: bool
    expires_at: int


class Notice(msgspec.Struct, frozen=True, gc=False):
    """A notice that waits for a node.

    Attributes:
        row: its place in the store.
        data: whatever the relay made of it.
    """

    row: int
    data: bytes


class StoreProblem(msgspec.Struct, frozen=True):
    """Something the operator has to know.

    Attributes:
        text: what happened, to which file, and the way out.
        is_lost: whether all that was kept before is out of reach. The store goes on empty:
            count anew, and put the mailboxes again.
        is_over: whether it tells that a problem told before is over.
    """

    text: str
    is_lost: bool = False
    is_over: bool = False


class FrameStore(Protocol):
    """Keeps frames until they are removed, and what belongs to them."""

    @property
    def durability(self) -> str:
        """What can be lost, and when, in words for the operator."""
        ...

    @property
    def size_bytes(self) -> int:
        """How much room it takes."""
        ...

    @property
    def waiting_frames(self) -> int:
        """Frames that were handed over and not yet answered."""
        ...

    def append(self, frame: Stored, told: Told) -> None:
        """Keep a frame; never waits.

        Args:
            frame: `row` and `is_sent` are not looked at.
            told: called once it is kept for good, or will not be. STORED and DUPLICATE come
                in the order of the calls; FULL may come before them.
        """
        ...

    async def take(self, to: str, after_row: int, limit: int) -> Sequence[Stored]:
        """Read frames for a target, in order; they stay in the store.

        Args:
            to: node id of the target.
            after_row: only those that come after this row; 0 for all.
            limit: at most so many. There may be fewer, none only where there are none.

        Raises:
            StoreError: the disk fails; try again later.
        """
        ...

    def remove(self, rows: Sequence[int]) -> None:
        """Forget frames; rows that are not there are passed over.

        `take` gives none of them from now on. On disk they end a little later, so after a
        crash they may be there again.
        """
        ...

    def mark_sent(self, rows: Sequence[int]) -> None:
        """Note that frames were sent once, so that a repeat can say so after a restart."""
        ...

    async def expire(self, now_ms: int, limit: int = 1024) -> Sequence[Gone]:
        """Forget frames whose time is over, the oldest expiry first.

        Not to be cancelled: what was forgotten would be told to nobody. What is removed
        meanwhile is not among them.

        Args:
            now_ms: the wall clock; a frame with a later `expires_at` is not touched.
            limit: at most so many; call again while it returns as many.

        Raises:
            StoreError: the disk fails; nothing was forgotten.
        """
        ...

    async def evict_bulk(self, to: str | None, count: int) -> Sequence[Gone]:
        """Forget the oldest frames of QoS bulk, to make room. Not to be cancelled either.

        Args:
            to: of this target; of every one where None.
            count: at most so many.

        Raises:
            StoreError: the disk fails; nothing was forgotten.
        """
        ...

    async def counts(self) -> Sequence[FlowCount]:
        """What was kept when the store was opened, expired frames included.

        By target, sender, QoS and whether it is a stranger's; ask before the first `append`.
        """
        ...

    def put_mailbox(self, mailbox: Mailbox) -> None:
        """Keep a mailbox, in the place of an earlier one of that node."""
        ...

    def drop_mailbox(self, node_id: str) -> None:
        """Forget a node's mailbox and its notices; frames stay."""
        ...

    async def mailboxes(self) -> Sequence[Mailbox]:
        """Every mailbox, expired ones included."""
        ...

    def add_notice(self, node_id: str, data: bytes) -> None:
        """Keep a notice for a node that is away; beyond `NOTICES_PER_NODE` the oldest goes."""
        ...

    async def notices(self, node_id: str) -> Sequence[Notice]:
        """The notices for a node, the oldest first; they stay in the store."""
        ...

    def remove_notices(self, rows: Sequence[int]) -> None:
        """Forget notices."""
        ...

    async def close(self) -> None:
        """Keep what waits, answer it, and end. Calling it again does nothing."""
        ...
