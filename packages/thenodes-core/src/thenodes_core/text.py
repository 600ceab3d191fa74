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
    """One line of JSON, with everything that a terminal might obey as `\\uXXXX`.

    >>> printable_json('{"a": "\u202e"}')
    '{"a": "\\u202e"}'
    """
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)
