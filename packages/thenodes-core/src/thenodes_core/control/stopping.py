"""The command that stops the node."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import CommandError
from .commands import CommandTable, Reply

__all__ = ["add_shutdown_command"]

_NAME = "shutdown"


def add_shutdown_command(table: CommandTable, stop: Callable[[], None]) -> None:
    """Add `shutdown`, which answers and has the node stopped in order.

    It asks nothing, so that programs can use it; a prompt asks before it runs it.

    Args:
        table: gets the command.
        stop: asks whoever runs the node to end it.
    """

    async def shutdown(words: Sequence[str]) -> Reply:
        if words:
            raise CommandError(f"{_NAME} takes no arguments, got {' '.join(words)!r}")
        stop()
        return Reply("the node stops", {"stopping": True})

    table.define(_NAME, shutdown)
