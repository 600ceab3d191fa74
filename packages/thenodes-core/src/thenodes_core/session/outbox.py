"""What waits to be sent to one peer."""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections import deque
from collections.abc import Callable, Sequence

from ..limits import Limits
from .tally import FORWARDED, UNKNOWN, Flow, Totals

__all__ = ["Lane", "Outbox"]

_CONTROL_FRAMES = 64


class Lane(enum.IntEnum):
    """Lanes, first to last: a frame overtakes everything in a later lane."""

    CONTROL = 0
    DATA = 1


# An enumeration's member is slower to get, and to find a place by: every frame comes by here.
_CONTROL, _DATA = int(Lane.CONTROL), int(Lane.DATA)
_DATA_LANE = Lane.DATA


class Outbox:
    """A bounded queue of encoded frames, in lanes.

    Who waits: a local sender, in `wait_for_room`. What is dropped: nothing
    here; `offer` says False and the caller decides. The control lane has no
    share in the data lane's bound and a small one of its own: a peer that
    provokes more control frames than it reads gets no more of them.

    What a service brings, in `offer_all`, has a window of its own in the data lane, with
    half as much room by frames: what it does not take, the service keeps.

    A frame that nothing precedes is handed over at once: it need not wait for the
    writer's turn. What follows in the same turn of the event loop is queued, so
    that a burst is coalesced all the same.

    Args:
        limits: the bounds, and how much one WebSocket message may hold.
        coalesces: whether one WebSocket message may hold several frames.
        send_now: sends one message if that takes no waiting; False where it would.
        flow: counts what goes; its own where there is none.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        coalesces: bool,
        send_now: Callable[[bytes], bool],
        flow: Flow | None = None,
    ) -> None:
        self._send_now = send_now
        self._flow = flow or Flow(Totals())
        self._sent_this_turn = False
        self._lanes: tuple[deque[bytes], ...] = tuple(deque() for _ in Lane)
        self._frames_max = limits.outbox_frames
        self._bytes_max = limits.outbox_bytes
        self._window_bytes = min(limits.window_bytes, limits.outbox_bytes)
        self._window_frames = max(1, limits.outbox_frames // 2)
        self._batch_bytes = limits.coalesce_bytes if coalesces else 0
        self._bytes = [0 for _ in Lane]
        self._closed = False
        self._writer: asyncio.Future[None] | None = None
        self._senders: deque[asyncio.Future[None]] = deque()
        self._told_of_room: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return sum(map(len, self._lanes))

    @property
    def size_bytes(self) -> int:
        """Bytes that wait."""
        return sum(self._bytes)

    @property
    def closed(self) -> bool:
        """True once nothing more is taken."""
        return self._closed

    def offer(self, frame: bytes, code: int = UNKNOWN, lane: Lane = _DATA_LANE) -> bool:
        """Queue a frame of that kind if there is room; never waits."""
        if self._is_idle() and self._sent_at_once(frame):
            self._flow.add(code, 1, len(frame))
            return True
        if lane is not _DATA_LANE:
            return self._offer_control(frame, code)
        queue = self._lanes[_DATA]
        size = self._bytes[_DATA] + len(frame)
        if len(queue) >= self._frames_max or (size > self._bytes_max and queue) or self._closed:
            return False
        if code != self._flow.code:
            self._turn_to(code)
        queue.append(frame)
        self._bytes[_DATA] = size
        if self._writer is not None:
            self._wake_writer()
        return True

    def _offer_control(self, frame: bytes, code: int) -> bool:
        queue = self._lanes[_CONTROL]
        if len(queue) >= _CONTROL_FRAMES or self._closed:
            return False
        queue.append(frame)
        self._bytes[_CONTROL] += len(frame)
        self._flow.add_apart(code, len(frame))
        self._wake_writer()
        return True

    def offer_all(self, frames: Sequence[bytes]) -> int:
        """Queue a service's frames, in order, while its window has room; never waits.

        Returns:
            How many were taken: the first ones. The last may be longer than the room left.
        """
        if self._closed or not frames:
            return 0
        count = len(frames)
        size = len(frames[0]) if count == 1 else sum(map(len, frames))
        if self._is_idle() and (count == 1 or size <= self._batch_bytes):
            message = frames[0] if count == 1 else b"".join(frames)
            if self._sent_at_once(message):
                self._flow.add(FORWARDED, count, size)
                return count
        if self._flow.code != FORWARDED:
            self._turn_to(FORWARDED)
        lane = self._lanes[_DATA]
        waiting = self._bytes[_DATA]
        if waiting + size > self._window_bytes or len(lane) + count > self._window_frames:
            frames = self._fitting(frames)
            count, size = len(frames), sum(map(len, frames))
        lane.extend(frames)
        self._bytes[_DATA] += size
        if self._writer is not None:
            if self._bytes[_DATA] >= self._batch_bytes > 0:
                self._hand_over()
            if lane:
                self._wake_writer()
        return count

    def _hand_over(self) -> None:
        """Send full WebSocket messages while that takes no waiting.

        Several of a service's batches come in one turn of the event loop: what waits for the
        writer's turn would seem to be what the peer does not take.
        """
        data = Lane.DATA
        while self._batch_bytes <= self._bytes[data] and self._lanes[data]:
            message = self._batch()
            if not self._send_now(message):
                # One WebSocket message's worth of frames is as good as one frame here.
                self._lanes[data].appendleft(message)
                self._bytes[data] += len(message)
                self._flow.frames -= 1
                self._flow.bytes -= len(message)
                break
        if self._told_of_room:
            self._tell_of_room()

    def _fitting(self, frames: Sequence[bytes]) -> Sequence[bytes]:
        """The first frames that begin within the window."""
        room = self._window_bytes - self._bytes[Lane.DATA]
        most = max(0, self._window_frames - len(self._lanes[Lane.DATA]))
        for number, frame in enumerate(frames[:most]):
            if room <= 0:
                return frames[:number]
            room -= len(frame)
        return frames[:most]

    def on_room(self, action: Callable[[], None]) -> None:
        """Call `action` once, soon, as soon as half a service's window is free.

        Not after the outbox is closed.
        """
        self._told_of_room.append(action)
        self._tell_of_room()

    def _tell_of_room(self) -> None:
        lane = Lane.DATA
        if (
            2 * self._bytes[lane] <= self._window_bytes
            and 2 * len(self._lanes[lane]) <= self._window_frames
        ):
            actions, self._told_of_room = self._told_of_room, []
            call_soon = asyncio.get_running_loop().call_soon
            for action in actions:
                call_soon(self._unless_closed, action)

    def _unless_closed(self, action: Callable[[], None]) -> None:
        if not self._closed:
            action()

    async def wait_for_room(self) -> None:
        """Return when there may be room again, or when the outbox is closed."""
        if self._closed:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._senders.append(waiter)
        try:
            await waiter
        finally:
            with contextlib.suppress(ValueError):
                self._senders.remove(waiter)

    async def take(self) -> bytes | None:
        """Return what to send next as one WebSocket message; None once closed and empty.

        Never waits for more where something is there.
        """
        while not any(self._lanes):
            if self._closed:
                return None
            self._writer = asyncio.get_running_loop().create_future()
            try:
                await self._writer
            finally:
                self._writer = None
        batch = self._batch()
        self._wake_senders()
        if self._told_of_room:
            self._tell_of_room()
        return batch

    def _is_idle(self) -> bool:
        """True where the writer waits with nothing queued, and nothing was handed over lately."""
        writer = self._writer
        return not (writer is None or writer.done() or self._sent_this_turn or self._closed)

    def _sent_at_once(self, message: bytes) -> bool:
        if not self._send_now(message):
            return False
        self._sent_this_turn = True
        asyncio.get_running_loop().call_soon(self._next_turn)
        return True

    def _next_turn(self) -> None:
        self._sent_this_turn = False

    def close(self) -> None:
        """Take nothing more; what is queued can still be taken."""
        self._closed = True
        self._told_of_room.clear()
        self._wake_writer()
        self._wake_senders()

    def _batch(self) -> bytes:
        batch: list[bytes] = []
        room = self._batch_bytes
        for number, lane in enumerate(self._lanes):
            if not lane:
                continue
            waiting = self._bytes[number]
            frames, taken = _take_first(lane, waiting, room)
            if not frames and not batch:
                frames = [lane.popleft()]
                taken = len(frames[0])
            self._bytes[number] = waiting - taken
            if number == _DATA:
                self._flow.frames += len(frames)
                self._flow.bytes += taken
            room -= taken
            batch += frames
            if lane:
                break
        return batch[0] if len(batch) == 1 else b"".join(batch)

    def settle(self) -> None:
        """Bring the totals by kind up to date."""
        self._flow.settle(len(self._lanes[_DATA]), self._bytes[_DATA])

    def _turn_to(self, code: int) -> None:
        self._flow.turn_to(code, len(self._lanes[_DATA]), self._bytes[_DATA])

    def _wake_writer(self) -> None:
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    def _wake_senders(self) -> None:
        senders = self._senders
        while senders:
            waiter = senders.popleft()
            if not waiter.done():
                waiter.set_result(None)


def _take_first(lane: deque[bytes], waiting: int, room: int) -> tuple[list[bytes], int]:
    """Take the first frames that fit into `room` from a lane; returns them and their bytes.

    As many are taken at once as fit where all are of one size, and then what is over is
    put back, or what is missing is added: a busy relay does this for every frame.
    """
    if waiting <= room:
        frames = list(lane)
        lane.clear()
        return frames, waiting
    if room <= 0:
        return [], 0
    popleft = lane.popleft
    frames = [popleft() for _ in range(room * len(lane) // waiting)]
    taken = sum(map(len, frames))
    while taken > room:
        last = frames.pop()
        taken -= len(last)
        lane.appendleft(last)
    while taken + len(lane[0]) <= room:
        frames.append(popleft())
        taken += len(frames[-1])
    return frames, taken
