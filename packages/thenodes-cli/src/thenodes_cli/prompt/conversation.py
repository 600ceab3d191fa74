"""Lines in, answers out: one line at a time, and Ctrl-C ends the answering."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from thenodes_core.control.commands import Reply

from .shell import PromptShell

__all__ = ["Conversation"]

_SECOND_THOUGHT_SECONDS = 1.0
_LEFT = "not waited for any longer; the command goes on"


class Conversation:
    """Gives lines to a shell, and shows what it answers.

    Args:
        shell: what lines mean.
        show: shows an answer.
        monotonic: seconds of a clock that does not go back.
    """

    def __init__(
        self,
        shell: PromptShell,
        show: Callable[[Reply], Awaitable[None]],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shell = shell
        self._show = show
        self._current: _Answering | None = None
        self._monotonic = monotonic
        self._interrupted_at: float | None = None
        self._left: set[asyncio.Task[None]] = set()

    @property
    def goes_on(self) -> bool:
        """Whether a command is answering again and again, which the screen is left to."""
        return self._current is not None and self._current.goes_on

    @property
    def is_answering(self) -> bool:
        """Whether a line is being answered."""
        return self._current is not None

    async def say(self, line: str) -> None:
        """Show every answer to a line; returns when there are no more, or at `interrupt`.

        Raises:
            NoNode: the node is gone.
            StateDirError: it does not answer.
        """
        answering = self._current = _Answering()
        self._interrupted_at = None
        task = asyncio.ensure_future(self._answer(line, answering))
        ending = asyncio.ensure_future(answering.interrupted.wait())
        try:
            await asyncio.wait({task, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._current = None
            ending.cancel()
            if not task.done() and (answering.goes_on or not answering.interrupted.is_set()):
                task.cancel()
                await asyncio.wait({task})
        if task.done():
            if not task.cancelled():
                task.result()
        else:
            # Half of what a command does is worse than all of it.
            self._left.add(task)
            task.add_done_callback(self._forget)
            await self._show(Reply(_LEFT))

    def interrupt(self) -> bool:
        """End the answers that are given now; False where there are none to end.

        Within a second of one that ended some, another is taken to mean the same: who presses
        Ctrl-C twice to leave `top` does not mean the node.
        """
        now = self._monotonic()
        if self._current is None:
            since = self._interrupted_at
            return since is not None and now - since < _SECOND_THOUGHT_SECONDS
        self._current.interrupted.set()
        self._interrupted_at = now
        return True

    async def close(self) -> None:
        """End what was left to itself."""
        for task in self._left:
            task.cancel()
        await asyncio.gather(*self._left, return_exceptions=True)

    async def _answer(self, line: str, answering: _Answering) -> None:
        async with aclosing(self._shell.feed(line)) as replies:
            async for reply in replies:
                if answering.interrupted.is_set():
                    return
                answering.goes_on = reply.more
                await self._show(reply)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._left.discard(task)
        if not task.cancelled():
            # Nobody waits for it any more, so nobody is told.
            task.exception()


class _Answering:
    """The answers to one line."""

    def __init__(self) -> None:
        self.interrupted = asyncio.Event()
        self.goes_on = False
