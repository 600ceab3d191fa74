"""Frames of one class for one target: in order for each sender, the senders in turn."""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from collections.abc import Iterator

from .store.base import Stored

__all__ = ["AgedLane", "Lane"]


class Lane:
    """FIFO for each sender; round robin among the senders. Pure, and not bounded by itself."""

    __slots__ = ("_flows",)

    def __init__(self) -> None:
        # The first is the one whose turn it is; none is empty.
        self._flows: OrderedDict[str, deque[Stored]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._flows)

    def __iter__(self) -> Iterator[Stored]:
        return itertools.chain.from_iterable(self._flows.values())

    def put(self, frame: Stored) -> None:
        """Add a frame behind those of its sender."""
        flow = self._flows.get(frame.sender)
        if flow is None:
            flow = self._flows[frame.sender] = deque()
        flow.append(frame)

    def take(self) -> Stored:
        """Take the first frame of the sender whose turn it is.

        Raises:
            StopIteration: there is none.
        """
        flows = self._flows
        sender, flow = next(iter(flows.items()))
        frame = flow.popleft()
        if flow:
            flows.move_to_end(sender)
        else:
            del flows[sender]
        return frame

    def put_back(self, frame: Stored) -> None:
        """Undo `take`, the last one first: it is its sender's first, and its sender's turn."""
        flow = self._flows.get(frame.sender)
        if flow is None:
            flow = self._flows[frame.sender] = deque()
        flow.appendleft(frame)
        self._flows.move_to_end(frame.sender, last=False)

    def remove_expired(self, now_ms: int) -> list[Stored]:
        """Take out the frames whose time is over; costs as much as there are frames."""
        expired = [frame for frame in self if frame.expires_at <= now_ms]
        if expired:
            alive = [
                (sender, deque(frame for frame in flow if frame.expires_at > now_ms))
                for sender, flow in self._flows.items()
            ]
            self._flows = OrderedDict((sender, flow) for sender, flow in alive if flow)
        return expired

    def clear(self) -> None:
        """Take out everything."""
        self._flows.clear()


class AgedLane(Lane):
    """A lane from which the oldest frame can be taken out of turn."""

    __slots__ = ("_ages",)

    def __init__(self) -> None:
        super().__init__()
        # By identity, the oldest first. A sender's first frame is older than its others.
        self._ages: OrderedDict[int, Stored] = OrderedDict()

    def put(self, frame: Stored) -> None:
        """As `Lane.put`."""
        Lane.put(self, frame)
        self._ages[id(frame)] = frame

    def take(self) -> Stored:
        """As `Lane.take`."""
        frame = Lane.take(self)
        del self._ages[id(frame)]
        return frame

    def put_back(self, frame: Stored) -> None:
        """As `Lane.put_back`; it counts as the oldest of all."""
        super().put_back(frame)
        self._ages[id(frame)] = frame
        self._ages.move_to_end(id(frame), last=False)

    def remove_expired(self, now_ms: int) -> list[Stored]:
        """As `Lane.remove_expired`."""
        expired = super().remove_expired(now_ms)
        for frame in expired:
            del self._ages[id(frame)]
        return expired

    def clear(self) -> None:
        """As `Lane.clear`."""
        super().clear()
        self._ages.clear()

    def by_age(self) -> Iterator[Stored]:
        """Every frame, the oldest first. The lane must not change meanwhile."""
        return iter(self._ages.values())

    def of_sender(self, sender: str) -> Iterator[Stored]:
        """A sender's frames, the oldest first. The lane must not change meanwhile."""
        return iter(self._flows.get(sender, ()))

    def evict(self, frame: Stored) -> None:
        """Take out its sender's oldest frame; the sender's turn stays."""
        flow = self._flows[frame.sender]
        flow.popleft()
        if not flow:
            del self._flows[frame.sender]
        del self._ages[id(frame)]
