"""Hands stored frames to their targets: in order, windowed, and again until acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Protocol

from thenodes_plugin_api import Clock, QoS, ServiceSession

from .counters import Counter, Tally
from .flow import IN_FLIGHT_MAX, AckKey, Flow, InFlight, ack_key, marked
from .retry import Retries
from .store.base import FrameStore, Stored
from .store.errors import StoreError

__all__ = ["Delivery", "Released"]

_TAKE_FRAMES = 512


class Released(Protocol):
    """Gives back the room of a frame that is kept no more."""

    def __call__(self, to: str, sender: str, qos: QoS, size: int, *, stranger: bool) -> None:
        """Give it back."""
        ...


class Delivery:
    """Hands what is stored for a target to its session.

    Order is that of the rows. A reliable frame stays stored until its target acknowledged it
    over the session that brought it, and is handed over again after a while, and in the next
    session; another is removed as it is handed over. One task reads from the store for a
    target, as long as there is something to read; where that fails, `repeat_due` goes on.

    Args:
        store: keeps the frames.
        unacked: when to repeat.
        released: told of every frame that is removed.
        tally: counts.
        late: told of a frame that was stored after its mailbox had ended; removes it.
        window_bytes: how much may wait for a target in its session.
        clock: the node's.
        spawn: runs work in the background.
    """

    def __init__(
        self,
        store: FrameStore,
        unacked: Retries,
        released: Released,
        tally: Tally,
        *,
        late: Callable[[Stored], None],
        window_bytes: int,
        clock: Clock,
        spawn: Callable[[Coroutine[object, object, object]], object],
    ) -> None:
        self._store = store
        self._unacked = unacked
        self._released = released
        self._tally = tally
        self._late = late
        self._window_bytes = window_bytes
        self._time = clock.time
        self._monotonic = clock.monotonic
        self._spawn = spawn
        self._in_flight: dict[int, tuple[Flow, AckKey]] = {}
        # Those whose frames could not be read.
        self._stuck: list[Flow] = []
        self._removed: set[int] = set()

    def begin(self, flow: Flow, session: ServiceSession) -> None:
        """The target is there: drain what is stored for it."""
        self.end(flow)
        flow.arrive(session)
        self._drain(flow)

    def end(self, flow: Flow) -> None:
        """The target is away."""
        for frame in flow.in_flight.values():
            del self._in_flight[frame.row]
            self._unacked.acked(frame.row)
        flow.leave()

    def stored(self, flow: Flow, frame: Stored) -> None:
        """A frame for the target was stored just now."""
        if flow.is_closed:
            self._late(frame)
            return
        flow.note_stored(frame.row, frame.qos)
        if flow.session is None:
            return
        if flow.is_behind:
            self._drain(flow)
            return
        flow.fresh.append(frame)
        if len(flow.fresh) == 1:
            asyncio.get_running_loop().call_soon(self._hand_over_fresh, flow, flow.session)

    def acknowledge(self, flow: Flow, key: AckKey) -> InFlight | None:
        """The target is done with a frame; None where its session did not carry it."""
        frame = flow.in_flight.pop(key, None)
        if frame is None:
            return None
        del self._in_flight[frame.row]
        self._unacked.acked(frame.row)
        flow.blocked_since = None
        self._remove(frame.row)
        self._released(flow.node, frame.sender, QoS.RELIABLE, frame.size, stranger=frame.stranger)
        flow.room.set()
        return frame

    def gone(self, row: int, flow: Flow | None = None) -> None:
        """A frame ended otherwise: it is not handed over, and nobody waits for its ACK."""
        if flow is not None and row <= flow.held_row:
            flow.ended.add(row)
        if found := self._in_flight.pop(row, None):
            flow, key = found
            del flow.in_flight[key]
            self._unacked.acked(row)
            flow.room.set()

    def is_done_with(self, row: int) -> bool:
        """Whether a frame is about to be removed: its target has it, whoever ends it besides."""
        return row in self._removed

    def forget(self) -> None:
        """What was stored is lost: nothing of it is repeated."""
        for row in tuple(self._in_flight):
            self.gone(row)

    def repeat_due(self) -> None:
        """Hand over again what was not acknowledged in time, and go on where the disk failed."""
        stuck, self._stuck = self._stuck, []
        for flow in stuck:
            if flow.session is not None:
                self._drain(flow)
        due: dict[str, tuple[Flow, list[int]]] = {}
        now = self._monotonic()
        for row in self._unacked.due(now):
            if found := self._in_flight.get(row):
                # Whatever comes of this time, there is a next one.
                self._unacked.sent(row, now)
                due.setdefault(found[0].node, (found[0], []))[1].append(row)
        for flow, rows in due.values():
            # What the session would not take is not read.
            session = flow.session
            if session is not None and session.waiting_bytes < self._window_bytes // 2:
                self._spawn(self._repeat(flow, session, sorted(rows)))

    def _drain(self, flow: Flow) -> None:
        if not flow.is_draining:
            flow.is_draining = True
            self._spawn(self._run(flow))

    async def _run(self, flow: Flow) -> None:
        try:
            while flow.session is not None and flow.is_behind:
                await self._read_on(flow, flow.session)
        except StoreError:
            self._stuck.append(flow)
            raise
        finally:
            flow.is_draining = False
            flow.drop_hold()

    async def _read_on(self, flow: Flow, session: ServiceSession) -> None:
        known = flow.known_row
        flow.drop_hold()
        frames = await self._store.take(flow.node, flow.cursor, _TAKE_FRAMES)
        if flow.session is not session:
            return
        if not frames:
            flow.cursor = max(flow.cursor, known)
            if flow.known_row <= flow.cursor:
                flow.catch_up()
            return
        at, flow.held_row = 0, frames[-1].row
        while at < len(frames):
            taken = self._hand_over(flow, session, frames[at:])
            at += taken
            if not taken:
                await self._wait_for_room(flow, session)
                if flow.session is not session:
                    return

    async def _wait_for_room(self, flow: Flow, session: ServiceSession) -> None:
        flow.room.clear()
        if flow.blocked_since is None:
            flow.blocked_since = self._monotonic()
        if len(flow.in_flight) < IN_FLIGHT_MAX:
            session.on_room(flow.room.set)
        await flow.room.wait()

    def _hand_over_fresh(self, flow: Flow, session: ServiceSession) -> None:
        if flow.session is not session:
            return
        frames = [frame for frame in flow.fresh if frame.row > flow.cursor]
        flow.fresh.clear()
        taken = 0
        while taken < len(frames):
            count = self._hand_over(flow, session, frames[taken:])
            if not count:
                flow.is_behind = True
                self._drain(flow)
                return
            taken += count

    def _hand_over(self, flow: Flow, session: ServiceSession, frames: Sequence[Stored]) -> int:
        """Hand over as many as there is room for; returns how many of them are done with."""
        frames = frames[: self._room_for(flow, session, frames)]
        if not frames:
            return 0
        now_ms = int(self._time() * 1000)
        ended = flow.ended
        fit = [f for f in frames if f.expires_at > now_ms and f.row not in ended]
        for frame in fit:
            # What the store knows of it may be a moment old.
            frame.is_sent = frame.is_sent or frame.row <= flow.sent_row
        taken = session.offer([marked(f.data) if f.is_sent else f.data for f in fit])
        self._note_handed_over(flow, fit[:taken])
        if taken == len(fit):
            flow.cursor = frames[-1].row
            return len(frames)
        if not taken:
            return 0
        flow.cursor = fit[taken - 1].row
        return next(i for i, frame in enumerate(frames) if frame is fit[taken])

    def _room_for(self, flow: Flow, session: ServiceSession, frames: Sequence[Stored]) -> int:
        size = session.waiting_bytes
        count = 0
        for frame in frames[: IN_FLIGHT_MAX - len(flow.in_flight)]:
            if size >= self._window_bytes:
                break
            size += len(frame.data)
            count += 1
        return count

    def _note_handed_over(self, flow: Flow, frames: Sequence[Stored]) -> None:
        now = self._monotonic()
        if frames:
            flow.blocked_since = None
        fresh: list[int] = []
        repeats = 0
        for frame in frames:
            repeats += frame.is_sent
            if frame.qos is not QoS.RELIABLE:
                self._remove(frame.row)
                self._released(
                    frame.to, frame.sender, frame.qos, len(frame.data), stranger=frame.stranger
                )
                continue
            key = ack_key(frame.sender, frame.message_id, frame.sequence)
            if (other := flow.in_flight.get(key)) is not None:
                # Two sequences of two processes: the ACK names one of them, the other comes again.
                self.gone(other.row)
            flow.in_flight[key] = InFlight(
                frame.row, frame.sender, frame.message_id, len(frame.data), frame.stranger
            )
            self._in_flight[frame.row] = (flow, key)
            self._unacked.sent(frame.row, now)
            if not frame.is_sent:
                fresh.append(frame.row)
        if fresh:
            self._store.mark_sent(fresh)
        if len(frames) > repeats:
            self._tally.add(Counter.DELIVERED_FROM_STORE, len(frames) - repeats)
        if repeats:
            self._tally.add(Counter.REDELIVERED, repeats)

    async def _repeat(self, flow: Flow, session: ServiceSession, rows: Sequence[int]) -> None:
        after, waiting = rows[0] - 1, set(rows)
        while waiting:
            frames = await self._store.take(flow.node, after, _TAKE_FRAMES)
            if not frames or flow.session is not session:
                return
            after = frames[-1].row
            now_ms = int(self._time() * 1000)
            again = [
                frame
                for frame in frames
                if frame.row in waiting
                and frame.row in self._in_flight
                and frame.expires_at > now_ms
            ]
            waiting = {row for row in waiting if row > after}
            count = session.offer([marked(frame.data) for frame in again])
            if count:
                self._tally.add(Counter.REDELIVERED, count)
            if count < len(again):
                return

    def _remove(self, row: int) -> None:
        if not self._removed:
            asyncio.get_running_loop().call_soon(self.flush)
        self._removed.add(row)

    def flush(self) -> None:
        """Remove what is done with from the store."""
        if self._removed:
            rows, self._removed = self._removed, set()
            self._store.remove(sorted(rows))
