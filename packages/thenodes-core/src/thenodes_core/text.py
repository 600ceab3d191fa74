"""Text that came from elsewhere, made safe to print."""

from __future__ import annotations

import json

__all__ = ["printable", "printable_json"]


def printable(text: str, *, most: int = 2000) -> str:
    """Escape control, bidirectional and other unprintable characters, and cut at `most`.

    >>> printable("a\\x1b[31mb\\n")
    'a\\\\x1b[31mb\\\\n'
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text if len(text) <= most else text[:most] + "…"


def printable_json(line: str) -> str:
    """Escape what a terminal might obey in one line of JSON, which goes on meaning the same.

    Unprintable characters become `\\uXXXX`, those beyond U+FFFF two of them. JSON has such
    characters inside strings alone, where that is another way to write them.

    >>> printable_json('"a\\u202eb"')
    '"a\\\\u202eb"'
    """
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)
