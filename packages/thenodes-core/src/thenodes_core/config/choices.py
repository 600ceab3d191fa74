"""The words that a setting takes, where it takes only these."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

__all__ = ["with_choices"]


def with_choices(text: str, kind: Any) -> str:
    """What is wrong with a value, with the words that are possible in its stead.

    Args:
        text: what msgspec says of it.
        kind: the type of the setting; None where it is not known.
    """
    words = list(_words(kind))
    if not words or not text.startswith("Invalid enum value"):
        return text
    *most, last = map(json.dumps, words)
    expected = f"{', '.join(most)} or {last}" if most else last
    return f"expected {expected}, got {text.removeprefix('Invalid enum value ')}"


def _words(kind: Any) -> Iterator[str]:
    for part in get_args(kind):
        if get_origin(kind) is Literal:
            yield str(part)
        else:
            yield from _words(part)
