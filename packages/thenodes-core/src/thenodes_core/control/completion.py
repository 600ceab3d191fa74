"""What may be typed next at a prompt: commands, their words, and what plugins offer."""

from __future__ import annotations

from collections.abc import Sequence

from .commands import Command, CommandTable

__all__ = ["Candidate", "candidates"]

Candidate = tuple[str, str]
"""The line as it would be, up to the end of the word, and what is said of it."""


def candidates(table: CommandTable, typed: str, prefix: str | None = None) -> list[Candidate]:
    """The completions of a line, in order; each is the line up to the end of the next word.

    Args:
        table: the commands.
        typed: the line up to the cursor.
        prefix: the plugin whose shell it is typed in, or None.
    """
    slash = "/" if typed.lstrip().startswith("/") else ""
    text = typed.lstrip().removeprefix("/").lstrip()
    if prefix is not None and not slash:
        known = _in_shell(table, prefix)
    else:
        known = _at_root(table, text)
    # A completion of several words is offered once its first is typed.
    return [
        (slash + line, told)
        for line, told in sorted(known)
        if line.startswith(text) and line.count(" ") <= text.count(" ")
    ]


def _in_shell(table: CommandTable, prefix: str) -> list[Candidate]:
    shell = table.shell(prefix)
    known = [(command.name, command.help) for command in shell.commands] if shell else []
    return [*known, ("help", "list these commands")]


def _at_root(table: CommandTable, text: str) -> list[Candidate]:
    shown = [command for command in table.commands if not command.hidden]
    known = [(name, c.help) for c in shown for name in (c.name, *c.aliases)]
    known += [(line, "") for c in shown for line in _arguments(c, text)]
    firsts = {name.partition(" ")[0] for name, _ in known}
    named = {name for name, _ in known}
    known += [(first, "") for first in firsts - named]
    for shell in table.shells:
        known.append((shell.prefix, "enter its shell"))
        known += [(f"{shell.prefix} {c.name}", c.help) for c in shell.commands]
        known.append((f"help {shell.prefix}", "list its commands"))
    return known


def _arguments(command: Command, text: str) -> Sequence[str]:
    """The command with each of the words that may follow it, once its name is typed."""
    begun = [name for name in (command.name, *command.aliases) if text.startswith(f"{name} ")]
    if command.complete is None or not begun:
        return ()
    return [f"{begun[0]} {word}" for word in command.complete()]
