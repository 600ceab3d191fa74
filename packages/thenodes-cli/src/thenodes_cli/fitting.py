"""An answer that takes the place of the one before, in lines that fit a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from thenodes_core.control.sample import Sample
from thenodes_core.control.top_text import render

__all__ = ["fitted"]


def fitted(text: str, data: object, columns: int, rows: int) -> Sequence[str]:
    """The lines: a sample of `top` is laid out for that size, anything else is cut to it.

    Args:
        text: the answer for people.
        data: the answer for machines, from this process or another.
        columns: of the terminal.
        rows: of the terminal.
    """
    try:
        sample = data if isinstance(data, Sample) else msgspec.convert(data, Sample)
    except msgspec.ValidationError:
        return [line[:columns] for line in text.split("\n")[:rows]]
    return render(sample, columns=columns, rows=rows)
