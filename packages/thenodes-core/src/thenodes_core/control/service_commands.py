"""Commands that services add to the node's while they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from thenodes_plugin_api import ServiceCommand

from .commands import Command, CommandTable, Reply

__all__ = ["ServiceCommands"]


class ServiceCommands:
    """The part of a command table that is open to services.

    Args:
        table: where their commands go.
    """

    def __init__(self, table: CommandTable) -> None:
        self._table = table

    def add(self, command: ServiceCommand) -> Callable[[], None]:
        """Add a command; returns what takes it away.

        Raises:
            ValueError: its name is taken.
        """

        async def run(words: Sequence[str]) -> Reply:
            reply = await command.run(words)
            return Reply(reply.text, reply.data)

        self._table.add(
            Command(
                command.name,
                command.help,
                run,
                command.usage,
                complete=command.complete,
                example=command.example,
                more=command.more,
            )
        )
        return partial(self._table.remove, command.name)
