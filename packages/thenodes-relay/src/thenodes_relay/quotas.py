"""How much may wait here: for each target, of each sender, of strangers, and in all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from thenodes_plugin_api import QoS

from .causes import Cause, Refused
from .settings import Settings
from .store.base import Stored

__all__ = ["Load", "Quotas"]

# As with the default limits of frames.
_FULL_TARGETS = 8


class Load(msgspec.Struct, frozen=True, gc=False):
    """What waits.

    Attributes:
        frames: how many.
        bytes: of their data.
    """

    frames: int = 0
    bytes: int = 0


class _Room:
    """What may come yet."""

    __slots__ = ("bytes", "frames")

    def __init__(self, most: Load) -> None:
        self.frames = most.frames
        self.bytes = most.bytes

    def load(self, most: Load) -> Load:
        return Load(most.frames - self.frames, most.bytes - self.bytes)


class _Target(_Room):
    __slots__ = ("bulk", "shares")

    def __init__(self, most: Load) -> None:
        super().__init__(most)
        self.bulk = 0
        self.shares: dict[str, _Share] = {}


class _Share(_Room):
    """Of one sender at one target."""

    __slots__ = ("sender",)

    def __init__(self, most: Load, sender: _Room) -> None:
        super().__init__(most)
        self.sender = sender


class Quotas:
    """Counts what is queued and stored, and says what there is no room for; pure.

    Whoever queues or stores a frame takes room for it first, once, and gives the room back
    when the frame is kept no more. A target has `queue_max_per_target` frames and
    `queue_bytes_per_target` bytes; all together have `queue_max_global` frames, and as many
    bytes as full targets have of which so many frames are, or as eight have if that is more. One
    sender has at most a quarter of a target's and a twentieth of everything; the frames from
    strangers together have half of everything. A share is one frame at least. What a frame
    costs here does not depend on how many wait.

    Args:
        settings: the limits.
    """

    def __init__(self, settings: Settings) -> None:
        frames, most = settings.queue_max_per_target, settings.queue_max_global
        size = settings.queue_bytes_per_target
        self._target_max = Load(frames, size)
        self._share_max = _part(self._target_max, 4)
        self._all_max = Load(most, size * max(_FULL_TARGETS * frames, most) // frames)
        self._sender_max = _part(self._all_max, 20)
        self._strangers_max = _part(self._all_max, 2)
        self._targets: dict[str, _Target] = {}
        self._senders: dict[str, _Room] = {}
        self._all = _Room(self._all_max)
        self._strangers = _Room(self._strangers_max)
        self._bulk = 0

    @property
    def total(self) -> Load:
        """What waits in all."""
        return self._all.load(self._all_max)

    @property
    def strangers(self) -> Load:
        """What of it strangers sent."""
        return self._strangers.load(self._strangers_max)

    @property
    def targets(self) -> Iterator[str]:
        """For whom something waits."""
        return iter(tuple(self._targets))

    def waiting_for(self, target: str) -> Load:
        """What waits for a target."""
        room = self._targets.get(target)
        return Load() if room is None else room.load(self._target_max)

    def waiting_of(self, sender: str, target: str | None = None) -> Load:
        """What of a sender waits for a target; for all of them where that is None."""
        if target is None:
            room = self._senders.get(sender)
            return Load() if room is None else room.load(self._sender_max)
        at_target = self._targets.get(target)
        share = None if at_target is None else at_target.shares.get(sender)
        return Load() if share is None else share.load(self._share_max)

    def bulk(self, target: str | None = None) -> int:
        """How many bulk frames, which make room for others, wait for a target; or in all."""
        if target is None:
            return self._bulk
        room = self._targets.get(target)
        return 0 if room is None else room.bulk

    def is_empty(self, target: str) -> bool:
        """Whether nothing waits for a target."""
        return target not in self._targets

    def take(
        self, target: str, sender: str, qos: QoS, size: int, *, stranger: bool
    ) -> Cause | None:
        """Take room for one frame.

        Args:
            target: whom it is for.
            sender: whom it is from.
            qos: how it is treated.
            size: bytes of its data.
            stranger: whether the sender is one.

        Returns:
            None where the room is taken. Else nothing is taken, and this is the first limit met
            of SHARE_OF_TARGET_FULL, SHARE_OF_ALL_FULL, STRANGERS_FULL, TARGET_FULL and
            RELAY_FULL; `refuse` words it.
        """
        at_target = self._targets.get(target)
        share = None if at_target is None else at_target.shares.get(sender)
        if at_target is None or share is None:
            at_target, share = self._open(target, sender)
        of_sender, everything, strangers = share.sender, self._all, self._strangers
        cause = None
        if share.frames < 1 or share.bytes < size:
            cause = Cause.SHARE_OF_TARGET_FULL
        elif of_sender.frames < 1 or of_sender.bytes < size:
            cause = Cause.SHARE_OF_ALL_FULL
        elif stranger and (strangers.frames < 1 or strangers.bytes < size):
            cause = Cause.STRANGERS_FULL
        elif at_target.frames < 1 or at_target.bytes < size:
            cause = Cause.TARGET_FULL
        elif everything.frames < 1 or everything.bytes < size:
            cause = Cause.RELAY_FULL
        if cause is not None:
            self._close_unused(target, sender, at_target, share)
            return cause
        share.frames -= 1
        share.bytes -= size
        of_sender.frames -= 1
        of_sender.bytes -= size
        at_target.frames -= 1
        at_target.bytes -= size
        everything.frames -= 1
        everything.bytes -= size
        if stranger:
            strangers.frames -= 1
            strangers.bytes -= size
        if qos is QoS.BULK:
            at_target.bulk += 1
            self._bulk += 1
        return None

    def add(
        self, target: str, sender: str, qos: QoS, size: int, *, stranger: bool, frames: int = 1
    ) -> None:
        """Count what is kept already, whatever the limits say; no more than that is taken.

        Args:
            target: whom it is for.
            sender: whom it is from.
            qos: how it is treated.
            size: bytes of the data of all these frames.
            stranger: whether the sender is one.
            frames: how many they are.
        """
        at_target, share = self._open(target, sender)
        self._move(at_target, share, qos, stranger, -frames, -size)

    def give_back(
        self, target: str, sender: str, qos: QoS, size: int, *, stranger: bool, frames: int = 1
    ) -> None:
        """Give back room; with the arguments it was taken with.

        Raises:
            ValueError: that much was never taken; nothing is given back.
        """
        at_target = self._targets.get(target)
        share = None if at_target is None else at_target.shares.get(sender)
        taken = 0 if share is None else self._share_max.frames - share.frames
        if at_target is None or share is None or taken < frames:
            raise ValueError(
                f"{frames} frames of {sender} for {target} given back, but {taken} were taken"
            )
        self._move(at_target, share, qos, stranger, frames, size)
        self._close_unused(target, sender, at_target, share)

    def give_back_all(self, target: str, frames: Sequence[Stored]) -> None:
        """Give back the room of frames for one target; as `give_back` for each of them."""
        at_target = self._targets.get(target)
        strangers, total, bulk = self._strangers, 0, 0
        for frame in frames:
            share = None if at_target is None else at_target.shares.get(frame.sender)
            if at_target is None or share is None:
                raise ValueError(f"room of {frame.sender} for {target} given back, never taken")
            size = len(frame.data)
            of_sender = share.sender
            total += size
            share.frames += 1
            share.bytes += size
            of_sender.frames += 1
            of_sender.bytes += size
            if frame.stranger:
                strangers.frames += 1
                strangers.bytes += size
            if frame.qos is QoS.BULK:
                bulk += 1
            if share.frames == self._share_max.frames:
                self._close_unused(target, frame.sender, at_target, share)
        if at_target is not None:
            at_target.frames += len(frames)
            at_target.bytes += total
            at_target.bulk -= bulk
        self._all.frames += len(frames)
        self._all.bytes += total
        self._bulk -= bulk

    def refuse(self, cause: Cause, target: str, sender: str, qos: QoS, size: int) -> Refused:
        """Word what `take` said.

        Args:
            cause: what it said.
            target: as it was asked.
            sender: as it was asked.
            qos: by which the reason is overload or quota.
            size: as it was asked.
        """
        most, load = {
            Cause.SHARE_OF_TARGET_FULL: (self._share_max, self.waiting_of(sender, target)),
            Cause.SHARE_OF_ALL_FULL: (self._sender_max, self.waiting_of(sender)),
            Cause.STRANGERS_FULL: (self._strangers_max, self.strangers),
            Cause.TARGET_FULL: (self._target_max, self.waiting_for(target)),
        }.get(cause, (self._all_max, self.total))
        is_of_target = most is self._target_max or most is self._share_max
        if load.frames >= most.frames:
            limit = f"{most.frames} frames"
            key = "queue_max_per_target" if is_of_target else "queue_max_global"
        else:
            limit = f"{most.bytes} bytes"
            key = "queue_bytes_per_target" if is_of_target else "queue_max_global, in bytes"
        return cause.refuse(qos=qos, target=target, limit=limit, key=key)

    def _open(self, target: str, sender: str) -> tuple[_Target, _Share]:
        at_target = self._targets.get(target)
        if at_target is None:
            at_target = self._targets[target] = _Target(self._target_max)
        of_sender = self._senders.get(sender)
        if of_sender is None:
            of_sender = self._senders[sender] = _Room(self._sender_max)
        share = at_target.shares.get(sender)
        if share is None:
            share = at_target.shares[sender] = _Share(self._share_max, of_sender)
        return at_target, share

    def _close_unused(self, target: str, sender: str, at_target: _Target, share: _Share) -> None:
        if share.frames != self._share_max.frames:
            return
        del at_target.shares[sender]
        if not at_target.shares:
            del self._targets[target]
        if share.sender.frames == self._sender_max.frames:
            del self._senders[sender]

    def _move(
        self, at_target: _Target, share: _Share, qos: QoS, stranger: bool, frames: int, size: int
    ) -> None:
        of_sender, everything = share.sender, self._all
        share.frames += frames
        share.bytes += size
        of_sender.frames += frames
        of_sender.bytes += size
        at_target.frames += frames
        at_target.bytes += size
        everything.frames += frames
        everything.bytes += size
        if stranger:
            self._strangers.frames += frames
            self._strangers.bytes += size
        if qos is QoS.BULK:
            at_target.bulk -= frames
            self._bulk -= frames


def _part(most: Load, divisor: int) -> Load:
    return Load(max(1, most.frames // divisor), max(1, most.bytes // divisor))
