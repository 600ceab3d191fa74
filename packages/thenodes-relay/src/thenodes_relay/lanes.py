"""What waits in memory for present targets, and how it goes on."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from thenodes_plugin_api import Clock, Frame, QoS, ServiceSession

from .bindings import Bindings
from .causes import Cause
from .counters import Counter, Tally
from .endings import Endings
from .flow import Flow
from .guests import Guest
from .intake import Intake
from .records import make_record
from .store.base import Stored

__all__ = ["Lanes"]

_TAKE_FRAMES = 1024


class Lanes:
    """Queues what the session of a present target does not take at once.

    Who waits: nobody; a target that takes nothing holds up its own frames only. What is
    dropped: what `TargetQueue` says.

    Args:
        bindings: say what is to be stored where a target leaves.
        intake: stores it.
        endings: ends the rest.
        tally: counts.
        ttl_seconds: how long a frame is kept at most.
        window_bytes: how much may wait for a target in its session.
        clock: the node's.
    """

    def __init__(
        self,
        bindings: Bindings[ServiceSession],
        intake: Intake,
        endings: Endings,
        tally: Tally,
        *,
        ttl_seconds: float,
        window_bytes: int,
        clock: Clock,
    ) -> None:
        self._bindings = bindings
        self._intake = intake
        self._endings = endings
        self._tally = tally
        self._window_bytes = window_bytes
        self._ttl_ms = int(ttl_seconds * 1000)
        self._time = clock.time
        self._monotonic = clock.monotonic
        self._waiting: dict[str, Flow] = {}

    def put(self, guest: Guest, flow: Flow, qos: QoS, frames: Iterable[Frame]) -> None:
        """Queue frames that came just now."""
        now_ms = int(self._time() * 1000)
        is_first = not flow.queue
        for frame in frames:
            record = make_record(guest, flow.node, qos, frame, now_ms=now_ms, ttl_ms=self._ttl_ms)
            for dropped in flow.queue.put(record):
                gone = dropped.frame
                counter = None if gone is record else Counter.EVICTED
                self._endings.end(
                    gone.sender, gone.message_id, gone.sequence, dropped.why, counter=counter
                )
        if is_first and flow.queue and flow.session is not None:
            self._waiting[flow.node] = flow
            self._wait(flow, flow.session)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits for a target that is present."""
        return not any(flow.queue for flow in self._waiting.values())

    def leave(self, flow: Flow) -> None:
        """The target's session ended: what can be stored is stored, the rest ends."""
        self._waiting.pop(flow.node, None)
        for frame in flow.queue.drain():
            binding = self._bindings.find(frame.sender, flow.node)
            can_wait = frame.qos is not QoS.LOW_LATENCY and not flow.is_closed
            if can_wait and binding is not None and binding.stores and frame.message_id:
                self._intake.put_waiting(flow, frame)
            else:
                refused = Cause.ABSENT.refuse(target=flow.node)
                self._endings.end(frame.sender, frame.message_id, frame.sequence, refused)

    def expire(self) -> None:
        """End what waited too long."""
        now_ms = int(self._time() * 1000)
        for flow in tuple(self._waiting.values()):
            self._expired(flow, flow.queue.expire(now_ms))
            if not flow.queue:
                del self._waiting[flow.node]

    def _wait(self, flow: Flow, session: ServiceSession) -> None:
        if flow.blocked_since is None:
            flow.blocked_since = self._monotonic()
        session.on_room(functools.partial(self._pump, flow, session))

    def _pump(self, flow: Flow, session: ServiceSession) -> None:
        if flow.session is not session:
            return
        # What is stored has its turn, too: half of the window.
        size = self._window_bytes // 2 if flow.is_draining else self._window_bytes
        while flow.queue:
            taken = flow.queue.take(_TAKE_FRAMES, size, int(self._time() * 1000))
            self._expired(flow, taken.expired)
            count = session.offer([frame.data for frame in taken.frames])
            if count:
                flow.blocked_since = None
                self._tally.add(Counter.FORWARDED, count)
            if count < len(taken.frames):
                flow.queue.put_back(taken.frames[count:])
            if flow.queue and (count < len(taken.frames) or flow.is_draining):
                self._wait(flow, session)
                return
        self._waiting.pop(flow.node, None)
        if not flow.is_draining:
            # What waited may have ended otherwise: the target has room, and nothing to take.
            flow.blocked_since = None

    def _expired(self, flow: Flow, frames: Iterable[Stored]) -> None:
        for frame in frames:
            refused = Cause.EXPIRED.refuse(target=flow.node)
            self._endings.end(
                frame.sender, frame.message_id, frame.sequence, refused, counter=Counter.EXPIRED
            )
