"""The way of frames to one target: what waits for it, and how far its stored frames are."""

from __future__ import annotations

import asyncio

import msgspec

from thenodes_plugin_api import Frame, QoS, ServiceSession
from thenodes_plugin_api.service import ForwardHeader

from .queue import TargetQueue
from .quotas import Quotas
from .store.base import Stored

__all__ = ["IN_FLIGHT_MAX", "AckKey", "Flow", "InFlight", "ack_key", "marked"]

IN_FLIGHT_MAX = 4096
"""Reliable frames that a target may have without acknowledging any."""

MESSAGE_ID_BYTES = 16

AckKey = tuple[str, bytes | int]
"""By what an ACK names a frame: its origin, and its message id or else its sequence."""

_NO_HEADER = ForwardHeader(None, None, None, "", "")


class InFlight(msgspec.Struct, gc=False):
    """A reliable frame that was handed to its target and is not acknowledged."""

    row: int
    sender: str
    message_id: bytes
    size: int
    stranger: bool


def ack_key(sender: str, message_id: bytes, sequence: int | None) -> AckKey:
    """By what the ACK of a stored frame will name it."""
    if len(message_id) == MESSAGE_ID_BYTES or sequence is None:
        return (sender, message_id)
    return (sender, sequence)


def marked(data: bytes) -> bytes:
    """A frame's bytes, marked as sent before."""
    return Frame(_NO_HEADER, data).redelivered()


class Flow:
    """What the relay knows of one target; plain data, moved by `Delivery`.

    Stored frames have rows that grow. While the flow is behind, they are read from the store
    from `cursor` on; otherwise they are handed over as they are stored.

    Attributes:
        node: the target's id.
        session: its session, from the bind of its mailbox on; None while it is away.
        is_behind: whether rows after `cursor` may be in the store.
        is_closed: whether its mailbox ended.
        cursor: the last row that was handed over in this session.
        known_row: the last row that is known to be stored.
        plain_row: the last row that holds a frame which is not reliable; such frames go
            through the store until it was handed over, so that order is kept.
        pending_plain: such frames that are on their way into the store.
        fresh: frames that were stored in this turn of the loop.
        in_flight: reliable frames that the target has and did not acknowledge.
        is_draining: whether somebody reads from the store.
        held_row: the last row of what was read and is handed over now; 0 where nothing is.
        ended: rows of it that are not to be handed over any more.
        sent_row: up to this row all were handed over in an earlier session.
        queue: frames that wait in memory until the session takes them.
        room: set when there may be room again, or another session.
        blocked_since: seconds of the clock at which it stopped taking frames; None if it does.
        is_stalled: whether that was told.
    """

    __slots__ = (
        "blocked_since",
        "cursor",
        "ended",
        "fresh",
        "held_row",
        "in_flight",
        "is_behind",
        "is_closed",
        "is_draining",
        "is_stalled",
        "known_row",
        "node",
        "pending_plain",
        "plain_row",
        "queue",
        "room",
        "sent_row",
        "session",
    )

    def __init__(self, node: str, quotas: Quotas) -> None:
        self.node = node
        self.queue = TargetQueue(node, quotas)
        self.session: ServiceSession | None = None
        self.is_behind = False
        self.is_closed = False
        self.cursor = 0
        self.known_row = 0
        self.plain_row = 0
        self.pending_plain = 0
        self.fresh: list[Stored] = []
        self.in_flight: dict[AckKey, InFlight] = {}
        self.is_draining = False
        self.held_row = 0
        self.ended: set[int] = set()
        self.sent_row = 0
        self.room = asyncio.Event()
        self.blocked_since: float | None = None
        self.is_stalled = False

    @property
    def has_plain_backlog(self) -> bool:
        """Whether frames that are not reliable have to go behind stored ones."""
        return self.pending_plain > 0 or self.plain_row > self.cursor

    def note_stored(self, row: int, qos: QoS) -> None:
        """Note that a row is stored."""
        if row > self.known_row:
            self.known_row = row
        if qos is not QoS.RELIABLE and row > self.plain_row:
            self.plain_row = row

    def arrive(self, session: ServiceSession) -> None:
        """Begin with a session: everything stored is to be handed over, from the first row on."""
        self.leave()
        self.session = session
        self.is_behind = True

    def leave(self) -> None:
        """End with a session: what it has not acknowledged comes again in the next."""
        self.session = None
        self.in_flight.clear()
        self.fresh.clear()
        self.sent_row = max(self.sent_row, self.cursor)
        self.cursor = 0
        self.is_behind = True
        self.blocked_since = None
        self.is_stalled = False
        self.room.set()

    def catch_up(self) -> None:
        """Nothing is stored after `cursor`: what comes is handed over as it is stored."""
        self.cursor = max(self.cursor, self.known_row)
        self.plain_row = min(self.plain_row, self.cursor)
        self.is_behind = False
        if not self.queue:
            self.blocked_since = None

    def drop_hold(self) -> None:
        """Nothing is read from the store and still to be handed over."""
        self.held_row = 0
        self.ended.clear()
