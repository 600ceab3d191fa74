"""Lines that come while somebody types, which go above the input line."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from .conversation import Conversation

__all__ = ["LinesAbove"]

_WAITING_LINES = 200
_SECONDS = 0.1


class LinesAbove:
    """Gathers lines, and has them printed at most ten times a second.

    The input line is drawn again each time, which costs more than the lines. At most 200
    wait; further ones are left out, and told as a number. Nobody waits.

    Lines that come while a command goes on answering are left out, too: whoever follows
    events has them, and what `top` draws stays whole.

    Args:
        talk: knows whether one does.
        show: prints text, whole lines, above the input line.
        seconds: from one print to the next.
    """

    def __init__(
        self,
        talk: Conversation,
        show: Callable[[str], Awaitable[None]],
        *,
        seconds: float = _SECONDS,
    ) -> None:
        self._talk = talk
        self._show = show
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._lines: deque[str] = deque()
        self._left_out = 0
        self._woken = False
        self._wake = asyncio.Event()

    def put(self, line: str) -> None:
        """Print a line soon. May be called from any thread."""
        if self._talk.goes_on:
            return
        if len(self._lines) >= _WAITING_LINES:
            self._left_out += 1
        else:
            self._lines.append(line)
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._wake.set)

    async def run(self) -> None:
        """Print what comes, for ever."""
        while True:
            await self._wake.wait()
            await self._show(self.take())
            await asyncio.sleep(self._seconds)

    def take(self) -> str:
        """What waits, as text, to be printed by the caller."""
        self._wake.clear()
        self._woken = False
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if self._left_out:
            lines.append(f"{self._left_out} lines were left out: too many to read")
            self._left_out = 0
        return "".join(f"{line}\n" for line in lines)
