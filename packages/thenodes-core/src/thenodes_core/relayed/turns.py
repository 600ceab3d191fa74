"""Shares what relays bring out among turns of the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias

from thenodes_plugin_api import Frame

from .reliable import SettledCallback

__all__ = ["Batch", "Turns"]

Batch: TypeAlias = tuple[str, Sequence[Frame], SettledCallback]
"""Who brought them, the frames, and who is told what becomes of them."""

_MOST_BYTES = 4 * 1024 * 1024


class Turns:
    """Takes batches of frames in order, each as far as one turn of the event loop goes.

    What is left of one waits for the next turn, and so does all that comes behind it. At
    most 4 MiB wait, but for the rest of a single batch; beyond that frames are dropped.

    Args:
        take: takes the first frames of a batch; returns those that are left.
        drop: told of each frame that has no room.
    """

    def __init__(
        self,
        take: Callable[[str, Sequence[Frame], SettledCallback], Sequence[Frame]],
        drop: Callable[[str, Frame, SettledCallback], None],
    ) -> None:
        self._take = take
        self._drop = drop
        self._waiting: deque[Batch] = deque()
        self._bytes = 0

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._waiting)

    def put(self, peer: str, frames: Sequence[Frame], settled: SettledCallback) -> None:
        """Take a batch, now or later; never waits."""
        if not self._waiting:
            if left := self._take(peer, frames, settled):
                self._wait(peer, left, settled)
                self._go_on_soon()
        elif self._bytes + _size(frames) <= _MOST_BYTES:
            self._wait(peer, frames, settled)
        else:
            for frame in frames:
                self._drop(peer, frame, settled)

    def _wait(self, peer: str, frames: Sequence[Frame], settled: SettledCallback) -> None:
        self._waiting.append((peer, frames, settled))
        self._bytes += _size(frames)

    def _go_on(self) -> None:
        peer, frames, settled = self._waiting.popleft()
        self._bytes -= _size(frames)
        try:
            if left := self._take(peer, frames, settled):
                self._waiting.appendleft((peer, left, settled))
                self._bytes += _size(left)
        finally:
            if self._waiting:
                self._go_on_soon()

    def _go_on_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._go_on)


def _size(frames: Sequence[Frame]) -> int:
    return sum([len(frame.data) for frame in frames])
