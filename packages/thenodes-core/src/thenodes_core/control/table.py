"""Columns, and numbers as people read them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..text import printable

__all__ = ["clock", "columns", "duration", "milliseconds", "section", "size"]

_LABEL = 11
_UNITS = ("B", "kB", "MB", "GB", "TB")
_CELL_CHARACTERS = 200


def columns(
    rows: Sequence[Sequence[str]], *, head: Sequence[str] = (), right: Sequence[int] = ()
) -> list[str]:
    """Lines in which each column begins below the other; what is in cells is escaped.

    Args:
        rows: of equal length.
        head: the titles.
        right: the columns that are flush right.
    """
    cells = [[printable(cell, most=_CELL_CHARACTERS) for cell in row] for row in rows]
    every = [list(head), *cells] if head else cells
    widths = [max(len(row[at]) for row in every) for at in range(len(every[0]))] if every else []
    return [
        "  ".join(
            f"{cell:>{width}}" if at in right else f"{cell:<{width}}"
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in every
    ]


def section(title: str, lines: Sequence[str]) -> list[str]:
    """Lines behind a title, the first beside it."""
    first, *rest = lines or ["none"]
    return [f"{title:<{_LABEL - 1}} {first}", *(" " * _LABEL + line for line in rest)]


def duration(seconds: float) -> str:
    """By its two largest units: `1 h 3 min`."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    shown = [f"{number} {unit}" for number, unit in parts if number]
    return " ".join(shown[:2]) or "0 s"


def size(count: int | None) -> str:
    """Bytes in the unit that fits, of a thousand each: `1.2 MB`; `-` where it is not known."""
    if count is None:
        return "-"
    number, unit = float(count), 0
    while number >= 999.5 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    digits = 1 if unit and number < 99.95 else 0
    return f"{number:.{digits}f} {_UNITS[unit]}"


def milliseconds(seconds: float | None) -> str:
    """A round trip: `0.4 ms`, `120 ms`; `-` where it is not known."""
    if seconds is None:
        return "-"
    number = seconds * 1000
    return f"{number:.1f} ms" if number < 9.95 else f"{number:.0f} ms"


def clock(at: float | None, now: float) -> str:
    """A moment: its time of day, or its date where it is a day ago."""
    if at is None:
        return "-"
    form = "%H:%M:%S" if now - at < 86_400 else "%Y-%m-%d"
    return time.strftime(form, time.localtime(at))
