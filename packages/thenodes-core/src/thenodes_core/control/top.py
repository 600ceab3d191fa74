"""The command `top`: what the node does, once a second for as long as somebody looks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Protocol

from ..clock import Clock
from ..errors import CommandError
from ..session.numbers import SessionNumbers
from ..session.tally import Totals, Traffic
from .commands import CommandTable, Reply
from .sample import Inbox, KindRate, Rate, Sample, SessionRate
from .top_text import render

__all__ = ["Sampler", "TopView", "add_top_command"]

_EVERY_SECONDS = 1.0
_SESSIONS = 40
_INBOXES = 40
_ONCE = "--once"


class TopView(Protocol):
    """What this command looks at."""

    @property
    def node_id(self) -> str:
        """The node."""
        ...

    @property
    def clock(self) -> Clock:
        """The node's."""
        ...

    @property
    def traffic(self) -> Traffic:
        """What all sessions ever carried."""
        ...

    def numbers(self) -> Sequence[SessionNumbers]:
        """What every session carried."""
        ...

    def relays(self) -> frozenset[str]:
        """The relays through which nodes were lately reached or heard."""
        ...

    def inboxes(self) -> Sequence[Inbox]:
        """What waits for each plugin."""
        ...

    @property
    def lag_seconds(self) -> float:
        """The latest that the event loop lately was."""
        ...


def add_top_command(table: CommandTable, view: TopView) -> None:
    """Add `top`, which answers once a second, each time in the place of the answer before."""

    async def run(words: Sequence[str]) -> Reply:
        _is_once(words)
        sampler = Sampler(view)
        await view.clock.sleep(_EVERY_SECONDS)
        return _reply(sampler.sample())

    def follow(words: Sequence[str]) -> AsyncGenerator[Reply, None] | None:
        return None if _is_once(words) else _follow(view)

    table.define("top", run, follow=follow)


async def _follow(view: TopView) -> AsyncGenerator[Reply, None]:
    sampler = Sampler(view)
    while True:
        await view.clock.sleep(_EVERY_SECONDS)
        yield _reply(sampler.sample())


def _reply(sample: Sample) -> Reply:
    return Reply("\n".join(render(sample)), sample, replaces=True)


def _is_once(words: Sequence[str]) -> bool:
    if words and list(words) != [_ONCE]:
        raise CommandError(f"top [{_ONCE}]: got {' '.join(words)!r}")
    return bool(words)


class Sampler:
    """Makes samples, each of what was since the one before; the first since it was made.

    Args:
        view: what is looked at.
    """

    def __init__(self, view: TopView) -> None:
        self._view = view
        self._at = view.clock.monotonic()
        traffic = view.traffic
        self._received = _counts(traffic.received)
        self._sent = _counts(traffic.sent)
        self._sessions = {numbers.node_id: numbers for numbers in view.numbers()}

    def sample(self) -> Sample:
        """What was since the last."""
        view, now = self._view, self._view.clock.monotonic()
        seconds = max(now - self._at, 1e-3)
        traffic, numbers = view.traffic, view.numbers()
        received, sent = _counts(traffic.received), _counts(traffic.sent)
        incoming = _rates(self._received, received, seconds)
        outgoing = _rates(self._sent, sent, seconds)
        sessions = self._busiest(numbers, seconds)
        self._at, self._received, self._sent = now, received, sent
        self._sessions = {one.node_id: one for one in numbers}
        return Sample(
            at=view.clock.time(),
            node_id=view.node_id,
            interval_seconds=seconds,
            received=_all(incoming),
            sent=_all(outgoing),
            kinds=_kinds(incoming, outgoing),
            session_count=len(numbers),
            sessions=sessions,
            outbox_frames=sum(one.queued_frames for one in numbers),
            outbox_bytes=sum(one.queued_bytes for one in numbers),
            waiting_peers=sum(one.queued_frames > 0 for one in numbers),
            inboxes=sorted(view.inboxes(), key=lambda box: (-box.items, box.plugin))[:_INBOXES],
            lag_seconds=view.lag_seconds,
        )

    def _busiest(self, numbers: Sequence[SessionNumbers], seconds: float) -> list[SessionRate]:
        ranked = sorted(numbers, key=lambda one: (-self._moved(one), -one.queued_bytes))
        relays = self._view.relays()
        return [self._rate(one, seconds, relays) for one in ranked[:_SESSIONS]]

    def _moved(self, new: SessionNumbers) -> int:
        old = self._before(new)
        total = new.received_bytes + new.sent_bytes
        return total if old is None else total - old.received_bytes - old.sent_bytes

    def _before(self, new: SessionNumbers) -> SessionNumbers | None:
        """The same session a sample ago: another with that peer counts from the start again."""
        old = self._sessions.get(new.node_id)
        return None if old is None or old.since != new.since else old

    def _rate(self, new: SessionNumbers, seconds: float, relays: frozenset[str]) -> SessionRate:
        old = self._before(new)
        before = (
            (0, 0, 0, 0)
            if old is None
            else (old.received_frames, old.received_bytes, old.sent_frames, old.sent_bytes)
        )
        return SessionRate(
            node_id=new.node_id,
            path="relay" if new.node_id in relays else "direct",
            received=_rate(before[0], before[1], new.received_frames, new.received_bytes, seconds),
            sent=_rate(before[2], before[3], new.sent_frames, new.sent_bytes, seconds),
            queued_frames=new.queued_frames,
            queued_bytes=new.queued_bytes,
            rtt_seconds=new.rtt_seconds,
        )


_Counts = Mapping[str, tuple[int, int]]


def _counts(totals: Totals) -> _Counts:
    return {total.kind: (total.frames, total.bytes) for total in totals}


def _rates(old: _Counts, new: _Counts, seconds: float) -> Mapping[str, Rate]:
    return {
        kind: _rate(*old.get(kind, (0, 0)), frames, size, seconds)
        for kind, (frames, size) in new.items()
        if old.get(kind) != (frames, size)
    }


def _rate(old_frames: int, old_bytes: int, frames: int, size: int, seconds: float) -> Rate:
    # What was queued may count as gone, and then wait again.
    moved = max(0, frames - old_frames), max(0, size - old_bytes)
    return Rate(round(moved[0] / seconds, 1), round(moved[1] / seconds, 1))


def _all(rates: Mapping[str, Rate]) -> Rate:
    return Rate(
        round(sum(rate.frames for rate in rates.values()), 1),
        round(sum(rate.bytes for rate in rates.values()), 1),
    )


def _kinds(incoming: Mapping[str, Rate], outgoing: Mapping[str, Rate]) -> list[KindRate]:
    nothing = Rate()
    rates = [
        KindRate(kind, incoming.get(kind, nothing), outgoing.get(kind, nothing))
        for kind in {**incoming, **outgoing}
    ]
    return sorted(rates, key=lambda rate: (-rate.received.bytes - rate.sent.bytes, rate.kind))
