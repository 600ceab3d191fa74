"""Peers, by the beginning of their id."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from ..errors import CommandFailed
from ..text import printable

__all__ = ["find_peer", "shortest"]

_SHOWN = 6
_SHORT = 8


def find_peer(typed: str, node_ids: Iterable[str]) -> str:
    """The one id that is so, or begins so.

    Raises:
        CommandFailed: none does, or several do.
    """
    known = sorted(set(node_ids))
    if typed in known:
        return typed
    found = [node_id for node_id in known if typed and node_id.startswith(typed)]
    if len(found) == 1:
        return found[0]
    said = printable(typed, most=128)
    if not found:
        raise CommandFailed(f"no peer's id begins with {said!r}; peers lists who is there")
    shown = ", ".join(printable(node_id, most=128) for node_id in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise CommandFailed(f"{said!r} is the beginning of several: {shown}{more}; type more of it")


def shortest(node_ids: Iterable[str]) -> int:
    """How many characters tell these ids apart; eight at least."""
    ids = sorted(set(node_ids))
    length = _SHORT
    for one, other in pairwise(ids):
        pairs = enumerate(zip(one, other, strict=False))
        same = next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
        length = max(length, same + 1)
    return length
