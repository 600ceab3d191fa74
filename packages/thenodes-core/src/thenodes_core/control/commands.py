"""The command table: one for the prompt, the control socket and one-shot commands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

import msgspec

from thenodes_plugin_api import PromptCommand

from ..errors import CommandError

__all__ = ["Command", "CommandTable", "Reply", "Shell"]


class Reply(msgspec.Struct, frozen=True):
    """What a command answers.

    Attributes:
        text: for people.
        data: the same for machines; anything that msgspec encodes.
    """

    text: str
    data: object = None


class Command(msgspec.Struct, frozen=True):
    """A command.

    Attributes:
        name: one word or several, such as `"trust promote"`.
        help: one line.
        run: takes the words after the name.
        usage: what those words are, such as `"<fingerprint>"`.
        aliases: other names.
        complete: what may stand after the name, for completion.
    """

    name: str
    help: str
    run: Callable[[Sequence[str]], Awaitable[Reply]]
    usage: str = ""
    aliases: tuple[str, ...] = ()
    complete: Callable[[], Sequence[str]] | None = None


class Shell(Protocol):
    """A plugin's part: lines that begin with `prefix` are the plugin's."""

    @property
    def prefix(self) -> str:
        """The word that enters it."""
        ...

    @property
    def commands(self) -> Sequence[PromptCommand]:
        """For help and completion."""
        ...

    async def run(self, line: str) -> str | None:
        """Answer a line without its prefix."""
        ...


class CommandTable:
    """All commands of one node."""

    def __init__(self) -> None:
        self._commands: dict[str, Command] = {}
        self._names: dict[str, Command] = {}
        self._shells: dict[str, Shell] = {}

    def add(self, command: Command) -> None:
        """Add a command.

        Raises:
            ValueError: one of its names is taken.
        """
        for name in (command.name, *command.aliases):
            if name in self._names or name in self._shells:
                raise ValueError(f"the command {name!r} is taken")
        self._commands[command.name] = command
        for name in (command.name, *command.aliases):
            self._names[name] = command

    def remove(self, name: str) -> None:
        """Take a command away, by its first name."""
        command = self._commands.pop(name)
        for known in (command.name, *command.aliases):
            del self._names[known]

    def add_shell(self, shell: Shell) -> None:
        """Add a plugin's shell.

        Raises:
            ValueError: its prefix is a command's.
        """
        if shell.prefix in self._shells or any(
            name.split()[0] == shell.prefix for name in self._names
        ):
            raise ValueError(f"the prompt prefix {shell.prefix!r} is taken by a command")
        self._shells[shell.prefix] = shell

    def replace_shells(self, shells: Iterable[Shell]) -> None:
        """Let these be the shells, in the place of those there were.

        Raises:
            ValueError: a prefix is a command's.
        """
        self._shells = {}
        for shell in shells:
            self.add_shell(shell)

    @property
    def commands(self) -> Sequence[Command]:
        """Every command, by name."""
        return [command for _, command in sorted(self._commands.items())]

    @property
    def shells(self) -> Sequence[Shell]:
        """Every plugin's shell, by prefix."""
        return [shell for _, shell in sorted(self._shells.items())]

    def shell(self, prefix: str) -> Shell | None:
        """The shell with that prefix."""
        return self._shells.get(prefix)

    async def run(self, line: str) -> Reply:
        """Run one line; a leading `/` is accepted.

        Raises:
            CommandError: no such command, wrong arguments, or it failed.
        """
        words = line.strip().removeprefix("/").split()
        if not words:
            return Reply("")
        shell = self._shells.get(words[0])
        if shell is not None:
            rest = line.strip().removeprefix("/").lstrip()[len(words[0]) :].strip()
            if not rest:
                raise CommandError(f"{words[0]} what? Try: {_offer(shell)}")
            answer = await shell.run(rest)
            return Reply(answer or "", {"answer": answer})
        for count in range(len(words), 0, -1):
            command = self._names.get(" ".join(words[:count]))
            if command is not None:
                return await command.run(words[count:])
        known = sorted(name for name in self._names if name.startswith(f"{words[0]} "))
        if known:
            raise CommandError(f"unknown command {' '.join(words)!r}; try: {', '.join(known)}")
        raise CommandError(f"unknown command {words[0]!r}; help lists what there is")


def _offer(shell: Shell) -> str:
    names = [f"{shell.prefix} {command.name}" for command in shell.commands]
    return ", ".join(names) or f"{shell.prefix} <line>"
