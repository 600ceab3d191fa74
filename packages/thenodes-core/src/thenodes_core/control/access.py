"""How a prompt reaches a node's commands, in its own process or another."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

import msgspec

from .commands import CommandTable, Reply
from .completion import Candidate, candidates

__all__ = ["Access", "Description", "LocalAccess", "ShellDescription", "describe"]


class ShellDescription(msgspec.Struct, frozen=True):
    """A plugin's shell.

    Attributes:
        prefix: the word that enters it.
        commands: name and help of each of its commands.
    """

    prefix: str
    commands: tuple[tuple[str, str], ...] = ()


class Description(msgspec.Struct, frozen=True):
    """What a node understands beside its commands.

    Attributes:
        shells: the shells of its plugins.
    """

    shells: tuple[ShellDescription, ...] = ()

    def shell(self, prefix: str) -> ShellDescription | None:
        """The shell with that prefix."""
        return next((shell for shell in self.shells if shell.prefix == prefix), None)


class Access(Protocol):
    """The commands of one node, from wherever they are asked."""

    async def describe(self) -> Description:
        """The shells of its plugins, now."""
        ...

    async def complete(self, typed: str, prefix: str | None) -> Sequence[Candidate]:
        """What may be typed next; see `candidates`."""
        ...

    def answers(self, line: str) -> AsyncGenerator[Reply, None]:
        """Every answer to a line: one, or as many as it asks for.

        Raises:
            CommandError: no such command, wrong arguments, or it failed.
        """
        ...


def describe(table: CommandTable) -> Description:
    """What a table understands beside its commands."""
    return Description(
        tuple(
            ShellDescription(shell.prefix, tuple((c.name, c.help) for c in shell.commands))
            for shell in table.shells
        )
    )


class LocalAccess:
    """The commands of a node in this process.

    Args:
        table: the node's.
    """

    def __init__(self, table: CommandTable) -> None:
        self._table = table

    async def describe(self) -> Description:
        """The shells of its plugins, now."""
        return describe(self._table)

    async def complete(self, typed: str, prefix: str | None) -> Sequence[Candidate]:
        """What may be typed next."""
        return candidates(self._table, typed, prefix)

    def answers(self, line: str) -> AsyncGenerator[Reply, None]:
        """Every answer to a line."""
        return self._table.answers(line)
