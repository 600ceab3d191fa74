"""Reliable frames that no relay has confirmed: their order, and how many there may be; pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import msgspec

__all__ = ["InFlightLimits", "Lane", "Outstanding", "Parcel"]


class InFlightLimits(msgspec.Struct, frozen=True):
    """How much may be unconfirmed. A quarter for one target keeps room for the others.

    Attributes:
        frames: in all.
        bytes: in all.
        lane_frames: to one target through one relay.
        lane_bytes: likewise.
    """

    frames: int = 8192
    bytes: int = 32 * 1024 * 1024
    lane_frames: int = 2048
    lane_bytes: int = 8 * 1024 * 1024


class Parcel:
    """A reliable frame of this node's.

    Attributes:
        to: whom it is for.
        message_id: 16 bytes, the same however often it is sent.
        frame: the whole binary frame.
        pinned: whether it goes through its relay and no other.
        expires_at: Unix seconds.
        session: the session that it was last sent on; None while it waits to be sent.
        is_kept: whether it has its place; False while it waits for one, and at its end.
        had_place: whether it ever had one.
        lane: where it stands; None at its end.
    """

    __slots__ = (
        "expires_at",
        "frame",
        "had_place",
        "is_kept",
        "lane",
        "message_id",
        "pinned",
        "session",
        "to",
    )

    def __init__(
        self, to: str, message_id: bytes, frame: bytes, *, pinned: bool, expires_at: float
    ) -> None:
        self.to = to
        self.message_id = message_id
        self.frame = frame
        self.pinned = pinned
        self.expires_at = expires_at
        self.session: object | None = None
        self.is_kept = self.had_place = False
        self.lane: Lane | None = None


class Lane:
    """The frames for one target through one relay, in order.

    Attributes:
        relay: node id of the relay.
        to: the target.
        kept: those that have their place, by message id.
        unsent: those of them that are to be sent on the session there is.
        waiting: those without a place, whose senders wait.
        size: bytes of those kept.
        loose: how many of all are not pinned.
        bounced: times in a row that the relay granted the route and then knew of none.
        rests_until: of the monotonic clock; before it the route is not asked for again.
    """

    __slots__ = (
        "bounced",
        "kept",
        "loose",
        "relay",
        "rests_until",
        "size",
        "to",
        "unsent",
        "waiting",
    )

    def __init__(self, relay: str, to: str) -> None:
        self.relay = relay
        self.to = to
        self.kept: dict[bytes, Parcel] = {}
        self.unsent: deque[Parcel] = deque()
        self.waiting: deque[Parcel] = deque()
        self.size = 0
        self.loose = 0
        self.bounced = 0
        self.rests_until = 0.0

    def __len__(self) -> int:
        return len(self.kept) + len(self.waiting)

    def head(self, count: int) -> list[Parcel]:
        """The next `count` to send, which stay where they are."""
        unsent = self.unsent
        while unsent and not unsent[0].is_kept:
            unsent.popleft()
        chosen: list[Parcel] = []
        for parcel in unsent:
            if len(chosen) == count:
                break
            if parcel.is_kept:
                chosen.append(parcel)
        return chosen

    def mark_sent(self, parcels: Iterable[Parcel], session: object) -> None:
        """Those, the first ones of `head`, went out on a session."""
        for parcel in parcels:
            while self.unsent.popleft() is not parcel:
                pass
            parcel.session = session


class Outstanding:
    """Keeps reliable frames until the relay has them.

    What does not fit waits in order, its sender with it; nothing is dropped for room. What is
    not pinned goes to a target through one relay at a time, so that its order is kept.

    Args:
        limits: how much fits.
    """

    def __init__(self, limits: InFlightLimits | None = None) -> None:
        self._limits = limits or InFlightLimits()
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._kept: dict[bytes, Parcel] = {}
        self._homes: dict[str, Lane] = {}
        self._hungry: dict[tuple[str, str], Lane] = {}
        self._size = 0

    @property
    def frames(self) -> int:
        """How many are kept."""
        return len(self._kept)

    @property
    def size(self) -> int:
        """Their bytes."""
        return self._size

    def lane(self, relay: str, to: str) -> Lane | None:
        """What goes to a target through a relay, if anything does."""
        return self._lanes.get((relay, to))

    def home(self, to: str) -> Lane | None:
        """The lane of what goes to a target and is not pinned, if anything does."""
        return self._homes.get(to)

    def lanes(self, relay: str) -> list[Lane]:
        """What goes through a relay."""
        return [lane for (through, _), lane in self._lanes.items() if through == relay]

    def __iter__(self) -> Iterator[Lane]:
        return iter(list(self._lanes.values()))

    def enter(self, relay: str, parcel: Parcel) -> Lane:
        """Take a frame, behind those of its lane; `parcel.is_kept` says whether it fits.

        Raises:
            ValueError: one of that message id is here already, or what is not pinned has
                its home at another relay.
        """
        if parcel.message_id in self._kept:
            raise ValueError(
                f"message {parcel.message_id.hex()} to {parcel.to} is on its way already: "
                "every message needs an id of its own"
            )
        if not parcel.pinned:
            home = self._homes.get(parcel.to)
            if home is not None and home.relay != relay:
                raise ValueError(f"messages to {parcel.to} go through {home.relay}, not {relay}")
        lane = parcel.lane = self._lane(relay, parcel.to)
        if not parcel.pinned:
            lane.loose += 1
            self._homes[parcel.to] = lane
        if lane.waiting or not self._fits(lane, parcel):
            lane.waiting.append(parcel)
            self._hungry[relay, parcel.to] = lane
        else:
            self._keep(lane, parcel)
        return lane

    def admit(self) -> list[Parcel]:
        """Give room that has become free to those who wait, one of each lane in turn."""
        admitted: list[Parcel] = []
        progress = True
        while progress and self._hungry:
            progress = False
            for key, lane in list(self._hungry.items()):
                if lane.waiting and self._fits(lane, lane.waiting[0]):
                    parcel = lane.waiting.popleft()
                    self._keep(lane, parcel)
                    admitted.append(parcel)
                    progress = True
                    # The next free place is another lane's.
                    self._hungry[key] = self._hungry.pop(key)
                if not lane.waiting:
                    del self._hungry[key]
        return admitted

    def get(self, message_id: bytes) -> Parcel | None:
        """A frame that is kept."""
        return self._kept.get(message_id)

    def settle(self, message_id: bytes, session: object) -> Parcel | None:
        """A relay has spoken of a frame.

        Returns:
            The frame, which is let go; None where it was not sent on that session.
        """
        parcel = self._kept.get(message_id)
        if parcel is None or parcel.session is not session:
            return None
        self.drop(parcel)
        return parcel

    def drop(self, parcel: Parcel) -> None:
        """Let a frame go, wherever it stands; a second time does nothing."""
        lane, parcel.lane = parcel.lane, None
        if lane is None:
            return
        if parcel.is_kept:
            parcel.is_kept = False
            del lane.kept[parcel.message_id]
            del self._kept[parcel.message_id]
            lane.size -= len(parcel.frame)
            self._size -= len(parcel.frame)
        else:
            lane.waiting.remove(parcel)
        if not parcel.pinned:
            lane.loose -= 1
        self._tidy(lane)

    def rewind(self, lane: Lane) -> None:
        """Everything of the lane is to be sent again, in its order, before what is new."""
        for parcel in lane.kept.values():
            parcel.session = None
        lane.unsent = deque(lane.kept.values())

    def move(self, lane: Lane, relay: str) -> Lane | None:
        """Let what is not pinned go through another relay, in its order.

        Returns:
            The lane where it is now, to be sent from its start; None where nothing moves.
        """
        if relay == lane.relay or not lane.loose:
            return None
        kept = [parcel for parcel in lane.kept.values() if not parcel.pinned]
        waiting = [parcel for parcel in lane.waiting if not parcel.pinned]
        other = self._homes[lane.to] = self._lane(relay, lane.to)
        other.loose, lane.loose = other.loose + lane.loose, 0
        for parcel in kept:
            del lane.kept[parcel.message_id]
            lane.size -= len(parcel.frame)
            parcel.session = None
            other.kept[parcel.message_id] = parcel
            other.size += len(parcel.frame)
            other.unsent.append(parcel)
            parcel.lane = other
        lane.unsent = deque(parcel for parcel in lane.unsent if parcel.pinned)
        lane.waiting = deque(parcel for parcel in lane.waiting if parcel.pinned)
        for parcel in waiting:
            parcel.lane = other
            other.waiting.append(parcel)
        if other.waiting:
            self._hungry[relay, lane.to] = other
        self._tidy(lane)
        return other

    def expired(self, now: float) -> list[Parcel]:
        """Let go what has expired, and return it.

        Args:
            now: Unix seconds.
        """
        gone: list[Parcel] = []
        for lane in list(self._lanes.values()):
            late = [p for p in (*lane.kept.values(), *lane.waiting) if p.expires_at <= now]
            for parcel in late:
                self.drop(parcel)
            gone += late
        return gone

    def _lane(self, relay: str, to: str) -> Lane:
        lane = self._lanes.get((relay, to))
        if lane is None:
            lane = self._lanes[relay, to] = Lane(relay, to)
        return lane

    def _fits(self, lane: Lane, parcel: Parcel) -> bool:
        limits, size = self._limits, len(parcel.frame)
        return (
            len(self._kept) < limits.frames
            and len(lane.kept) < limits.lane_frames
            and self._size + size <= limits.bytes
            and lane.size + size <= limits.lane_bytes
        )

    def _keep(self, lane: Lane, parcel: Parcel) -> None:
        parcel.is_kept = parcel.had_place = True
        lane.kept[parcel.message_id] = parcel
        lane.unsent.append(parcel)
        lane.size += len(parcel.frame)
        self._size += len(parcel.frame)
        self._kept[parcel.message_id] = parcel

    def _tidy(self, lane: Lane) -> None:
        key = (lane.relay, lane.to)
        if not lane.loose and self._homes.get(lane.to) is lane:
            del self._homes[lane.to]
        if not lane.waiting:
            self._hungry.pop(key, None)
        if not len(lane) and self._lanes.get(key) is lane:
            del self._lanes[key]
