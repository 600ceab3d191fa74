"""Who takes what sessions bring instead of plugins: the node itself, and services."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import NoneType
from typing import TYPE_CHECKING, TypeAlias

from thenodes_plugin_api import (
    Auth,
    Body,
    Disconnect,
    Frame,
    Heartbeat,
    Hello,
    Message,
    PeerList,
    PeerRequest,
)

if TYPE_CHECKING:
    from .session import Session

__all__ = ["CONTROL", "TakeFrames", "TakeMessage", "Takers"]

CONTROL: frozenset[type] = frozenset(
    {Hello, Auth, Heartbeat, Disconnect, PeerRequest, PeerList, NoneType}
)
"""Kinds that concern the session or are answered by the node, and unknown ones."""

TakeFrames: TypeAlias = Callable[["Session", Sequence[Frame]], bool]
"""True where plugins need a turn."""

TakeMessage: TypeAlias = Callable[["Session", Message], None]


class Takers:
    """What services take of every session, by kind.

    Attributes:
        frames: takes RELAY_FWD frames; plugins get them as messages where it is None.
        apart: kinds that do not go to plugins, RELAY_FWD aside.
    """

    __slots__ = ("_messages", "apart", "frames")

    def __init__(self) -> None:
        self.frames: TakeFrames | None = None
        self.apart = CONTROL
        self._messages: dict[type[Body], TakeMessage] = {}

    def put(self, kind: type[Body], taker: TakeMessage) -> None:
        """Give messages of a kind to `taker` from now on.

        Raises:
            ValueError: the kind is the node's own, or taken.
        """
        if kind in self.apart:
            raise ValueError(f"{kind.token} is taken already")
        self._messages[kind] = taker
        self.apart |= {kind}

    def remove(self, kind: type[Body]) -> None:
        """Give messages of a kind to plugins again."""
        if self._messages.pop(kind, None) is not None:
            self.apart -= {kind}

    def get(self, kind: type[Body]) -> TakeMessage | None:
        """Who takes that kind."""
        return self._messages.get(kind)
