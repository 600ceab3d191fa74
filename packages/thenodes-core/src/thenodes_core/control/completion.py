"""What may be typed next at a prompt: commands, their words, and what plugins offer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..text import printable
from .commands import Command, CommandTable

__all__ = ["Candidate", "candidates"]

Candidate = tuple[str, str]
"""The line as it would be, up to the end of the word, and what is said of it."""

_TOLD_CHARACTERS = 200
_OPTION = re.compile(r"--[a-z][a-z-]*")
_OPTIONS = (("--json", "print the data as JSON"), ("--help", "how it is used"))


def candidates(table: CommandTable, typed: str, prefix: str | None = None) -> list[Candidate]:
    """The completions of a line, in order; each is the line up to the end of the next word.

    What is said of them may come from a peer, as the name in its certificate, and is escaped.

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
        (slash + line, printable(told, most=_TOLD_CHARACTERS))
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
    known += _of_groups({name for name, _ in known})
    known += [found for c in shown for found in _arguments(c, text)]
    for shell in table.shells:
        known.append((shell.prefix, "enter its shell"))
        known += [(f"{shell.prefix} {c.name}", c.help) for c in shell.commands]
        known.append((f"help {shell.prefix}", "list its commands"))
    return known


def _of_groups(names: set[str]) -> list[Candidate]:
    """The first words of commands of several, with the words that may come second."""
    seconds: dict[str, list[str]] = {}
    for name in sorted(names):
        first, _, rest = name.partition(" ")
        if rest:
            seconds.setdefault(first, []).append(rest.partition(" ")[0])
    return [
        (first, ", ".join(dict.fromkeys(words)))
        for first, words in seconds.items()
        if first not in names
    ]


def _arguments(command: Command, text: str) -> list[Candidate]:
    """What may be the next word after the command's name, once that is typed."""
    begun = [name for name in (command.name, *command.aliases) if text.startswith(f"{name} ")]
    if not begun:
        return []
    done, word = text[: text.rfind(" ") + 1], text[text.rfind(" ") + 1 :]
    given = done[len(begun[0]) :].split()
    if word.startswith("-"):
        own = [(option, "") for option in _OPTION.findall(command.usage)]
        known = dict((*own, *_OPTIONS))
        offered: Sequence[str | Candidate] = [p for p in known.items() if p[0] not in given]
    elif given or command.complete is None:
        # What stands after the first word, or after an option, is not known here.
        return []
    else:
        offered = command.complete()
    pairs = [(found, "") if isinstance(found, str) else found for found in offered]
    return [(done + found, told) for found, told in pairs]
