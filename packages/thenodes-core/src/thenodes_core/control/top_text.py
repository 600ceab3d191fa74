"""A sample of `top` as lines of text, for a terminal of any size."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..text import printable
from .sample import KindRate, Rate, Sample, SessionRate
from .table import milliseconds, size

__all__ = ["render"]

_COLUMNS = 80
_ROWS = 23
_KINDS = 4
_LEAST_SESSIONS = 3
_KIND_COLUMNS = 53
_ID_MOST = 64
_ID_LEAST = 10

# The columns of sessions beside the id, in the order in which a narrow terminal drops them.
_DROPPED = ("path", "rtt", "queue")
_WIDTHS = {"path": 6, "in": 9, "out": 9, "queue": 9, "rtt": 7}
_TITLES = {"path": "PATH", "in": "IN/s", "out": "OUT/s", "queue": "QUEUE", "rtt": "RTT"}


def render(sample: Sample, *, columns: int = _COLUMNS, rows: int = _ROWS) -> list[str]:
    """The lines: no more than fit, none longer than the terminal is wide.

    Args:
        sample: what is shown.
        columns: of the terminal.
        rows: of the terminal.
    """
    head = [*_head(sample, columns), ""]
    room = rows - len(head) - _LEAST_SESSIONS - 3
    kinds = _kinds(sample.kinds, columns, most=max(1, min(_KINDS, room)))
    left = rows - len(head) - len(kinds) - 1
    lines = [*head, *kinds, "", *_sessions(sample.sessions, columns, most=max(0, left - 1))]
    return [line[:columns].rstrip() for line in lines[:rows]]


def _head(sample: Sample, columns: int) -> list[str]:
    peers = "1 peer" if sample.session_count == 1 else f"{sample.session_count:,} peers"
    clock = time.strftime("%H:%M:%S", time.localtime(sample.at))
    name = printable(sample.node_id, most=_ID_MOST)
    state = f"{peers}  loop late by {milliseconds(sample.lag_seconds)}  {clock}"
    room = columns - len(state) - 2
    lines = [f"{_cut(name, room)}  {state}"] if room >= _ID_LEAST else [name, state]
    both = f"in {_per_second(sample.received)}", f"out {_per_second(sample.sent)}"
    side_by_side = f"{both[0]}   {both[1]}"
    lines += [side_by_side] if len(side_by_side) <= columns else both
    waiting = "nothing"
    if sample.outbox_frames:
        waiting = (
            f"{sample.outbox_frames:,} frames, {size(sample.outbox_bytes)}, "
            f"of {sample.waiting_peers}"
        )
    lines.append(f"outboxes {waiting}")
    full = [f"{printable(box.plugin, most=_ID_MOST)} {box.items:,}" for box in sample.inboxes]
    lines.append(f"inboxes  {', '.join(full) or 'no plugins'}")
    return lines


def _per_second(rate: Rate) -> str:
    return f"{rate.frames:,.0f} messages/s, {size(round(rate.bytes))}/s"


def _kinds(kinds: Sequence[KindRate], columns: int, *, most: int) -> list[str]:
    with_bytes = columns >= _KIND_COLUMNS
    lines = [f"{'KIND':<15}{'IN/s':>9}{'OUT/s':>9}"]
    if with_bytes:
        lines[0] += f"{'IN B/s':>10}{'OUT B/s':>10}"
    shown = kinds if len(kinds) <= most else kinds[: most - 1]
    for kind in shown:
        line = f"{kind.kind:<15}{kind.received.frames:>9,.0f}{kind.sent.frames:>9,.0f}"
        if with_bytes:
            came, went = round(kind.received.bytes), round(kind.sent.bytes)
            line += f"{size(came):>10}{size(went):>10}"
        lines.append(line)
    if len(kinds) > len(shown):
        lines.append(f"and {len(kinds) - len(shown)} more kinds")
    return lines


def _sessions(sessions: Sequence[SessionRate], columns: int, *, most: int) -> list[str]:
    names = list(_WIDTHS)
    for name in _DROPPED:
        if columns - _width(names) < _ID_LEAST:
            names.remove(name)
    room = max(_ID_LEAST, columns - _width(names))
    longest = max((len(one.node_id) for one in sessions), default=0)
    room = min(room, max(longest, _ID_LEAST))
    lines = [f"{'PEER':<{room}}" + "".join(f"{_TITLES[n]:>{_WIDTHS[n] + 1}}" for n in names)]
    for one in sessions[:most]:
        cells = _cells(one)
        lines.append(
            f"{_cut(printable(one.node_id, most=_ID_MOST), room):<{room}}"
            + "".join(f"{cells[name]:>{_WIDTHS[name] + 1}}" for name in names)
        )
    return lines


def _cells(one: SessionRate) -> dict[str, str]:
    return {
        "path": one.path,
        "in": size(round(one.received.bytes)),
        "out": size(round(one.sent.bytes)),
        "queue": size(one.queued_bytes) if one.queued_frames else "-",
        "rtt": milliseconds(one.rtt_seconds),
    }


def _width(names: Sequence[str]) -> int:
    return sum(_WIDTHS[name] + 1 for name in names)


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: max(0, room - 1)]}…"
