"""Messages whose way through a plugin somebody follows."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable

from thenodes_plugin_api import Message

__all__ = ["Fate", "Tracked", "give_up", "share"]


class Fate(enum.Enum):
    """What became of a message."""

    HAD = "had"
    """`on_message` returned, or raised; of several plugins, that of one at least."""
    DROPPED = "dropped"
    """No plugin that it was for had it: no room, or the plugin does not run."""
    UNCLAIMED = "unclaimed"
    """It was for nobody."""


class Tracked:
    """A message, and whom to tell what became of it.

    Args:
        message: the message.
        told: called once, from the event loop; it must not raise.
    """

    __slots__ = ("_told", "message")

    def __init__(self, message: Message, told: Callable[[Fate], None]) -> None:
        self.message = message
        self._told: Callable[[Fate], None] | None = told

    def end(self, fate: Fate) -> None:
        """Say what became of it; only the first time counts."""
        told, self._told = self._told, None
        if told is not None:
            told(fate)


def share(tracked: Tracked, count: int) -> list[Tracked]:
    """Make one of it for each of `count` plugins; it ends when all of these have."""
    if count == 1:
        return [tracked]
    waiting, fate = count, Fate.DROPPED

    def ended(one: Fate) -> None:
        nonlocal waiting, fate
        waiting -= 1
        if one is Fate.HAD:
            fate = one
        if not waiting:
            tracked.end(fate)

    return [Tracked(tracked.message, ended) for _ in range(count)]


def give_up(items: Iterable[object]) -> None:
    """End those of the items that are tracked: no plugin will have them."""
    for item in items:
        if type(item) is Tracked:
            item.end(Fate.DROPPED)
