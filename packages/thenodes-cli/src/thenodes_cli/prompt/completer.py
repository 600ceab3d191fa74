"""Tab completion: commands and what may follow them, and a plugin's own in its shell."""

from __future__ import annotations

from collections.abc import Iterable

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from thenodes_core.control.commands import Command, CommandTable

from .shell import Mode, PromptShell

__all__ = ["PromptCompleter", "candidates"]


def candidates(table: CommandTable, shell: PromptShell, before: str) -> list[tuple[str, str]]:
    """The completions of what stands before the cursor, each with its help.

    A completion replaces everything from the start of the line.
    """
    if shell.mode is Mode.CONFIRM:
        return []
    slash = "/" if before.startswith("/") else ""
    typed = before.lstrip().removeprefix("/").lstrip()
    if shell.mode is Mode.PLUGIN and not slash:
        own = table.shell(shell.prefix or "")
        known = [(c.name, c.help) for c in own.commands] if own else []
        known += [("help", "list these commands"), ("exit", "leave this shell"), ("quit", "stop")]
    else:
        known = [(n, c.help) for c in table.commands for n in (c.name, *c.aliases)]
        known += [("exit", "stop the node"), ("quit", "stop the node")]
        known += [(text, "") for c in table.commands for text in _arguments(c, typed)]
        for plugin in table.shells:
            known.append((plugin.prefix, "enter its shell"))
            known += [(f"{plugin.prefix} {c.name}", c.help) for c in plugin.commands]
            known.append((f"help {plugin.prefix}", "list its commands"))
    # A completion of several words is offered once its first is typed.
    return [
        (slash + name, text)
        for name, text in sorted(known)
        if name.startswith(typed) and name.count(" ") <= typed.count(" ")
    ]


def _arguments(command: Command, typed: str) -> list[str]:
    """The command with each of the words that may follow it, once its name is typed."""
    if command.complete is None:
        return []
    begun = [n for n in (command.name, *command.aliases) if typed.startswith(f"{n} ")]
    return [f"{name} {word}" for name in begun for word in command.complete()]


class PromptCompleter(Completer):
    """Completes with `candidates`."""

    def __init__(self, table: CommandTable, shell: PromptShell) -> None:
        self._table = table
        self._shell = shell

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        """Offer what fits the text before the cursor."""
        before = document.text_before_cursor
        for text, help_text in candidates(self._table, self._shell, before):
            yield Completion(text, start_position=-len(before.lstrip()), display_meta=help_text)
