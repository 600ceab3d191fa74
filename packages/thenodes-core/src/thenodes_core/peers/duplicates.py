"""Which of two sessions with one peer stays; both sides come to the same answer."""

from __future__ import annotations

import msgspec

__all__ = ["SessionFacts", "newer_wins"]


class SessionFacts(msgspec.Struct, frozen=True):
    """What the rule looks at.

    Attributes:
        instance: the peer's process, from its HELLO; None where it gave none.
        dialled_here: True where this node dialled.
    """

    instance: bytes | None
    dialled_here: bool


def newer_wins(local_id: str, peer_id: str, older: SessionFacts, newer: SessionFacts) -> bool:
    """True where the newer session replaces the older (design: wire.md, Duplicates).

    Another instance is a restarted peer: the newer wins. In the same instance and
    direction the newer wins; where both sides dialled each other at once, the
    session that was dialled by the smaller id wins.
    """
    if older.instance is None or older.instance != newer.instance:
        return True
    if older.dialled_here == newer.dialled_here:
        return True
    return newer.dialled_here == (local_id < peer_id)
