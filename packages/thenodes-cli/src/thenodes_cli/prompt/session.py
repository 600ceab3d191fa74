"""The prompt onto a node: on a terminal, over a pipe, or on a terminal that can only print."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from thenodes_core import StartError
from thenodes_core.control.access import Access

from ..console import Console
from .conversation import Conversation
from .plain import run_plain
from .shell import PromptShell
from .show import show

__all__ = ["Prompt"]

_HISTORY_FILE = "history"


class Prompt:
    """A prompt.

    Args:
        access: the commands of the node.
        attached: the node runs in another process, and goes on without the prompt.
    """

    def __init__(self, access: Access, *, attached: bool = False) -> None:
        self._access = access
        self._shell = PromptShell(access, attached=attached)
        self._talk = Conversation(self._shell, show)

    @property
    def is_stopping(self) -> bool:
        """Whether the operator stops the node to which this prompt is attached."""
        return self._shell.is_stopping

    def interrupt(self) -> bool:
        """End the answer that is being given, as Ctrl-C does; False where there is none."""
        is_answering = self._talk.is_answering
        if not self._talk.interrupt():
            return False
        if is_answering and sys.stdout.isatty():
            # Behind the ^C that a terminal shows.
            sys.stdout.write("\n")
            sys.stdout.flush()
        return True

    def leave(self) -> str:
        """End it; says what becomes of the node, where that goes on."""
        return self._shell.leave()

    async def run(self, console: Console, state_dir: Path | None) -> None:
        """Take lines until the operator leaves or input ends.

        Args:
            console: where events come from; on a terminal they go above the input line.
            state_dir: the node's, in which what was typed is kept; None where it is temporary.

        Raises:
            StartError: there is no input.
            NoNode: the node is gone.
        """
        if sys.stdin is None:
            raise StartError("a prompt needs an input, and standard input is closed")
        try:
            if _draws():
                # Imported here: only a terminal needs it, and it costs a third of the start.
                from .terminal import Terminal

                history = None if state_dir is None else state_dir / _HISTORY_FILE
                await Terminal(self._access, self._shell, self._talk, console, history).run()
            else:
                await run_plain(self._shell, self._talk, console)
        finally:
            await self._talk.close()


def _draws() -> bool:
    """Whether the terminal can do more than print: move the cursor, and erase."""
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    return is_terminal and os.environ.get("TERM", "").lower() not in ("", "dumb", "unknown")
