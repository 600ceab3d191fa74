"""What operators read: the relay's reports as text, in columns; pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from textwrap import wrap

from .client import ClientStatus, RelayUse
from .report import BindingRow, RelayStatus, TargetStatus

__all__ = ["show_bindings", "show_client", "show_queue", "show_relay"]

_SHOWN = 20
_LABEL = 11
_COLUMNS = 80
_UNITS = ("KiB", "MiB", "GiB")


def show_relay(relay: RelayStatus) -> str:
    """A relay as a whole."""
    kept = "keeps frames for who is away" if relay.stores else "keeps nothing for who is away"
    state = "draining, takes nothing new" if relay.is_draining else "serving"
    present = f"{relay.present} present, {relay.mailboxes - relay.present} away"
    waiting = f"{_count(relay.frames, 'frame')}, {_size(relay.bytes)}"
    lines = [
        ("relay", f"{state}; {kept}"),
        ("mailboxes", f"{relay.mailboxes}: {present}; {relay.strangers} of strangers"),
        ("routes", str(relay.bindings)),
        ("waiting", f"{waiting}; {relay.in_flight} in flight"),
    ]
    rows = _queue_rows(relay.targets[:_SHOWN])
    lines += [("" if place else "for", row) for place, row in enumerate(rows)]
    if len(relay.targets) > _SHOWN:
        lines.append(("", f"and {len(relay.targets) - _SHOWN} more: relay queue"))
    if relay.stores:
        lines.append(("store", _size(relay.store_bytes)))
        promise = wrap(relay.durability, _COLUMNS - _LABEL)
        lines += [("" if place else "durability", row) for place, row in enumerate(promise)]
    if relay.stalled:
        lines.append(("stalled", ", ".join(relay.stalled)))
    lately = sorted(set(relay.stalled_lately) - set(relay.stalled))
    if lately:
        lines.append(("", f"lately: {', '.join(lately)}"))
    counters = [f"{name} {number}" for name, number in relay.counters.items()]
    lines += [("" if place else "counters", row) for place, row in enumerate(counters)]
    return _labelled(lines)


def show_client(client: ClientStatus) -> str:
    """The relays that a node uses."""
    rows = [_use(use) for use in client.relays]
    rows += [(entry, "not connected", "", "", "", "") for entry in client.missing]
    uses = _columns(rows) or ["none is known: connect with one, or name it in network.relay.use"]
    lines = [("" if place else "uses", row) for place, row in enumerate(uses)]
    if client.in_flight_frames:
        frames = _count(client.in_flight_frames, "reliable frame")
        size = _size(client.in_flight_bytes)
        lines.append(("unsaved", f"{frames}, {size}: no relay has confirmed them"))
    return _labelled(lines)


def show_bindings(rows: Sequence[BindingRow]) -> str:
    """Mailboxes and routes."""
    return "\n".join(
        _columns(
            [
                (
                    "mailbox" if row.target == "*" else "route",
                    row.node if row.target == "*" else f"{row.node} to {row.target}",
                    "present" if row.is_present else "away",
                    "stores" if row.stores else "stores nothing",
                    row.qos,
                    "" if row.expires_at is None else f"until {_date(row.expires_at)}",
                )
                for row in rows
            ]
        )
    )


def show_queue(targets: Sequence[TargetStatus]) -> str:
    """What waits, a line a target."""
    return "\n".join(_queue_rows(targets))


def _queue_rows(targets: Sequence[TargetStatus]) -> list[str]:
    return _columns(
        [
            (
                target.target,
                ("present" if target.is_present else "away")
                + (", stalled" if target.is_stalled else ""),
                ", ".join(
                    f"{qos} {depth.frames} ({_size(depth.bytes)})"
                    for qos, depth in target.classes.items()
                )
                or "nothing waits",
                f"{target.in_flight} in flight" if target.in_flight else "",
            )
            for target in targets
        ]
    )


def _use(use: RelayUse) -> tuple[str, ...]:
    state = "connected" if use.connected else "away"
    return (
        use.relay,
        "about to stop" if use.connected and use.leaving else state,
        f"mailbox {use.mailbox}" if use.mailbox != "none" else "no mailbox",
        "stores" if use.stores else "stores nothing",
        _count(use.routes, "route"),
        f"{use.in_flight} in flight",
    )


def _labelled(lines: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"{label:<{_LABEL}}{text}" for label, text in lines)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows as lines, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width
        ).rstrip()
        for row in rows
    ]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _size(number: float) -> str:
    if number < 1024:
        return f"{number:.0f} bytes"
    for unit in _UNITS:
        number /= 1024
        if number < 1024 or unit == _UNITS[-1]:
            break
    return f"{number:.1f} {unit}"


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
