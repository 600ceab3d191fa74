"""How a node in a process ends: SIGTERM, SIGINT, `quit`, and what does not end by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from thenodes_core import Node

from .exit import Exit

__all__ = ["Ending"]


class Ending:
    """Ends a node when asked, and the process even where something of it does not end.

    SIGTERM drains first, for so long at most; SIGINT, a second signal of either kind, and
    `quit` do not. A signal while it already stops ends the process at once.

    Args:
        node: the node.
        serving: what runs it; cancelled where the node has yet to start.
        leave: ends the process.
        drain_seconds: how long the node may drain.
        on_stop: called once, when the end begins.
    """

    def __init__(
        self,
        node: Node,
        serving: asyncio.Task[None],
        leave: Exit,
        *,
        drain_seconds: float,
        on_stop: Callable[[], None],
    ) -> None:
        self._node = node
        self._serving = serving
        self._exit = leave
        self._drain_seconds = drain_seconds
        self._on_stop = on_stop
        self._draining: asyncio.Task[None] | None = None

    def terminate(self) -> None:
        """SIGTERM: drain, then stop."""
        if self._is_again():
            self._exit.now()
        self._on_stop()
        if self._node.is_running and self._drain_seconds > 0:
            self._draining = asyncio.ensure_future(self._drain())
        else:
            self._stop()

    def interrupt(self) -> None:
        """SIGINT: stop in order, without the wait."""
        if self._is_again():
            self._exit.now()
        self._on_stop()
        self._stop()

    def _is_again(self) -> bool:
        return self._node.stop_requested or self._draining is not None

    async def _drain(self) -> None:
        try:
            await self._node.drain(seconds=self._drain_seconds)
        finally:
            # Unless somebody has quit meanwhile: then it stops already.
            if self._node.is_running:
                self._stop()

    def _stop(self) -> None:
        self._exit.at_the_latest()
        if self._node.is_running:
            self._node.stop()
        else:
            self._serving.cancel()
