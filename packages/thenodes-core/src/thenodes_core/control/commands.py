"""The command table: one for the prompt, the control socket and one-shot commands."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from difflib import get_close_matches
from textwrap import wrap
from typing import Protocol, TypeVar

import msgspec

from thenodes_plugin_api import PromptCommand, TheNodesError

from ..errors import CommandError, CommandFailed
from .catalogue import CATALOGUE

__all__ = ["Command", "CommandTable", "Complete", "Reply", "Run", "Shell", "Supervise"]

T = TypeVar("T")

_JSON = "--json"
_HELP = frozenset({"--help", "-h"})
_END_OF_OPTIONS = "--"

# What is quoted, or is not, of a word.
_PART = re.compile(r""""([^"]*)"|(?<!\w)'([^']*)'|([^\s"']+|["'])""")
_WIDTH = 80
_DEFECT = "internal error; the node's log says more"


class Reply(msgspec.Struct, frozen=True):
    """What a command answers.

    Attributes:
        text: for people.
        data: the same for machines; anything that msgspec encodes.
        as_json: it was asked for as a machine does, with `--json`.
        more: it is one of a command that goes on answering; another may follow.
        replaces: of such a command: it takes the place of the answer before it, where that
            can be shown; else it follows it.
    """

    text: str
    data: object = None
    as_json: bool = False
    more: bool = False
    replaces: bool = False


Complete = Callable[[], Sequence[str | tuple[str, str]]]
"""What may stand after a command's name: words, or a word and what is said of it."""

Run = Callable[[Sequence[str]], Awaitable[Reply]]
"""Runs a command, with the words after its name."""

Follow = Callable[[Sequence[str]], AsyncGenerator[Reply, None] | None]
"""The answers, where the words ask for more than one; else None."""

Supervise = Callable[[Awaitable[object]], Awaitable[bool]]
"""Does work, and tells of a defect in it; False where one ended it."""


class Command(msgspec.Struct, frozen=True):
    """A command.

    Attributes:
        name: one word or several, such as `"trust promote"`.
        help: one line.
        run: takes the words after the name.
        usage: what those words are, such as `"<fingerprint>"`.
        aliases: other names.
        complete: what may stand after the name, for completion.
        example: one as it is typed.
        more: what its own help adds to the line.
        hidden: in no list; it is for programs.
        follow: the answers, where the words ask for more than one.
    """

    name: str
    help: str
    run: Run
    usage: str = ""
    aliases: tuple[str, ...] = ()
    complete: Complete | None = None
    example: str = ""
    more: str = ""
    hidden: bool = False
    follow: Follow | None = None

    def describe(self) -> str:
        """Its own help: how it is used, what it does, and an example."""
        lines = [f"usage: {self.name} {self.usage}".rstrip() + " [--json]", f"  {self.help}"]
        if self.aliases:
            lines.append(f"  also: {', '.join(self.aliases)}")
        for paragraph in self.more.split("\n\n"):
            lines += wrap(paragraph, _WIDTH, initial_indent="  ", subsequent_indent="  ")
        return "\n".join([*lines, f"example: {self.example or self.name}"])


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
    """All commands of one node.

    Args:
        supervise: told of a defect in a command, which then fails alone; without it, a defect
            is for whoever asks.
    """

    def __init__(self, supervise: Supervise | None = None) -> None:
        self._supervise = supervise
        self._commands: dict[str, Command] = {}
        self._names: dict[str, Command] = {}
        self._shells: dict[str, Shell] = {}

    def define(
        self,
        name: str,
        run: Run,
        *,
        complete: Complete | None = None,
        follow: Follow | None = None,
    ) -> None:
        """Add a command of which the catalogue says the rest.

        Raises:
            ValueError: one of its names is taken.
        """
        text = CATALOGUE[name]
        self.add(
            Command(
                name,
                text.help,
                run,
                text.usage,
                text.aliases,
                complete,
                text.example,
                text.more,
                text.hidden,
                follow,
            )
        )

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

    def command(self, name: str) -> Command | None:
        """The command with that name, or that other name."""
        return self._names.get(name)

    def shell(self, prefix: str) -> Shell | None:
        """The shell with that prefix."""
        return self._shells.get(prefix)

    async def run(self, line: str) -> Reply:
        """Run one line; a leading `/` is accepted.

        Of a command, `--json` asks for its data and `--help` for its help; what comes after
        `--` is a word, whatever it looks like. A command that follows gives its first answer.

        Raises:
            CommandError: no such command, wrong arguments, or it failed.
        """
        text = line.strip().removeprefix("/").lstrip()
        if not text:
            return Reply("")
        prefix = text.split(maxsplit=1)[0]
        shell = self._shells.get(prefix)
        if shell is not None:
            rest = text[len(prefix) :].strip()
            if not rest:
                raise CommandError(f"{prefix} what? Try: {_offer(shell)}")
            answer = await self._contained(shell.run(rest))
            return Reply(answer or "", {"answer": answer})
        command, given = self._find(text)
        if given.help:
            return Reply(command.describe(), _described(command), as_json=given.as_json)
        reply = await self._contained(command.run(given.words))
        return msgspec.structs.replace(reply, as_json=True) if given.as_json else reply

    def follow(self, line: str) -> AsyncGenerator[Reply, None] | None:
        """The answers of a line that asks for more than one, else None.

        Raises:
            CommandError: no such command, or wrong arguments.
        """
        text = line.strip().removeprefix("/").lstrip()
        if not text or text.split(maxsplit=1)[0] in self._shells:
            return None
        command, given = self._find(text)
        if command.follow is None or given.help:
            return None
        answers = command.follow(given.words)
        return None if answers is None else self._marked(answers, as_json=given.as_json)

    async def answers(self, line: str) -> AsyncGenerator[Reply, None]:
        """Every answer to a line: one, or as many as it asks for.

        Raises:
            CommandError: no such command, wrong arguments, or it failed.
        """
        following = self.follow(line)
        if following is None:
            yield await self.run(line)
            return
        async with aclosing(following):
            async for reply in following:
                yield reply

    async def _marked(
        self, answers: AsyncGenerator[Reply, None], *, as_json: bool
    ) -> AsyncGenerator[Reply, None]:
        async with aclosing(answers):
            while (reply := await self._contained(anext(answers, None))) is not None:
                yield msgspec.structs.replace(reply, as_json=as_json, more=True)

    async def _contained(self, work: Awaitable[T]) -> T:
        """Wait for what a command does: a defect in it ends neither a prompt nor a connection."""
        if self._supervise is None:
            return await work
        done: list[T] = []
        failed: list[TheNodesError] = []

        async def do() -> None:
            try:
                done.append(await work)
            except TheNodesError as error:
                failed.append(error)

        if not await self._supervise(do()):
            raise CommandFailed(_DEFECT)
        for error in failed:
            if isinstance(error, CommandError):
                raise error
            raise CommandFailed(str(error)) from error
        return done[0]

    def _find(self, text: str) -> tuple[Command, _Given]:
        words = _split(text)
        # No further than the longest name: a line may have ten thousands of words.
        most = 1 + max((name.count(" ") for name in self._names), default=0)
        for count in range(min(most, len(words)), 0, -1):
            command = self._names.get(" ".join(words[:count]))
            if command is not None:
                return command, _given(words[count:])
        raise CommandError(self._unknown(words))

    def _unknown(self, words: Sequence[str]) -> str:
        shown = [command for command in self._commands.values() if not command.hidden]
        known = sorted(name for c in shown for name in (c.name, *c.aliases))
        of_group = [name for name in known if name.startswith(f"{words[0]} ")]
        if of_group:
            return f"unknown command {' '.join(words)!r}; try: {', '.join(of_group)}"
        firsts = {name.partition(" ")[0] for name in known} | self._shells.keys()
        near = get_close_matches(words[0], firsts, n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        return f"unknown command {words[0]!r}; {meant}help lists what there is"


class _Given(msgspec.Struct, frozen=True):
    """What stands after a command's name."""

    words: Sequence[str]
    as_json: bool
    help: bool


def _given(words: Sequence[str]) -> _Given:
    end = words.index(_END_OF_OPTIONS) if _END_OF_OPTIONS in words else len(words)
    options, literal = words[:end], words[end + 1 :]
    return _Given(
        words=[word for word in options if word != _JSON] + list(literal),
        as_json=_JSON in options,
        help=not _HELP.isdisjoint(options),
    )


def _described(command: Command) -> Mapping[str, object]:
    return {
        "name": command.name,
        "usage": command.usage,
        "help": command.help,
        "more": command.more,
        "example": command.example or command.name,
        "aliases": command.aliases,
    }


def _split(text: str) -> list[str]:
    """Words as in a shell, without escapes; but an apostrophe within a word is one.

    A quote that nothing ends is a mere character.
    """
    words: list[str] = []
    end = -1
    for found in _PART.finditer(text):
        part = next(group for group in found.groups() if group is not None)
        if found.start() == end:
            words[-1] += part
        else:
            words.append(part)
        end = found.end()
    return words


def _offer(shell: Shell) -> str:
    names = [f"{shell.prefix} {command.name}" for command in shell.commands]
    return ", ".join(names) or f"{shell.prefix} <line>"
