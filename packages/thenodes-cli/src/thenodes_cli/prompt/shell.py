"""What a typed line means, without a terminal: root, a plugin's shell, or a confirmation."""

from __future__ import annotations

import enum

from thenodes_core.control.commands import CommandTable
from thenodes_core.errors import CommandError

__all__ = ["Mode", "PromptShell"]


_ROOT_HELP = "A plugin's word enters its shell. quit or exit stops this node; both ask first."
_SHELL_HELP = "exit leaves this shell, quit stops the node, /peers and the like work here too."


class Mode(enum.Enum):
    """Where the prompt is."""

    ROOT = "root"
    PLUGIN = "plugin"
    CONFIRM = "confirm"
    DONE = "done"


class PromptShell:
    """Takes lines, gives answers, and remembers where it is.

    At the root, a plugin's prefix alone enters that plugin's shell, with more
    words it is a single command to the plugin. `exit` leaves a shell; `quit`,
    and `exit` at the root, ask first. A leading `/` is accepted everywhere.

    Args:
        table: the node's commands.
    """

    def __init__(self, table: CommandTable) -> None:
        self._table = table
        self._prefix: str | None = None
        self.mode = Mode.ROOT

    @property
    def prefix(self) -> str | None:
        """The plugin whose shell it is in, or None."""
        return self._prefix

    @property
    def label(self) -> str:
        """What stands before the cursor."""
        match self.mode:
            case Mode.CONFIRM:
                return "Stop this node? [y/N] "
            case Mode.PLUGIN:
                return f"thenodes/{self._prefix}> "
            case _:
                return "thenodes> "

    async def feed(self, line: str) -> str:
        """Take a line; returns the answer, or what was wrong with the line."""
        text = line.strip()
        if self.mode is Mode.CONFIRM:
            return self._confirm(text)
        word = text.removeprefix("/").strip()
        if not word:
            return ""
        try:
            if self.mode is Mode.PLUGIN:
                return await self._feed_plugin(text, word)
            return await self._feed_root(word)
        except CommandError as error:
            return f"error: {error}"

    def ask_to_quit(self) -> None:
        """Ask for a confirmation, as `quit` does."""
        self.mode = Mode.CONFIRM

    def _confirm(self, text: str) -> str:
        if text.lower() in ("y", "yes"):
            self.mode = Mode.DONE
            return ""
        self.mode = Mode.PLUGIN if self._prefix else Mode.ROOT
        return "the node goes on"

    async def _feed_root(self, word: str) -> str:
        if word in ("quit", "exit"):
            self.ask_to_quit()
            return ""
        shell = self._table.shell(word)
        if shell is not None:
            self._prefix, self.mode = word, Mode.PLUGIN
            names = ", ".join(command.name for command in shell.commands)
            return f"{word}: {names or 'type a line'}; exit leaves"
        reply = await self._table.run(word)
        return f"{reply.text}\n\n{_ROOT_HELP}" if word == "help" else reply.text

    async def _feed_plugin(self, text: str, word: str) -> str:
        if word == "exit":
            self._prefix, self.mode = None, Mode.ROOT
            return ""
        if word == "quit":
            self.ask_to_quit()
            return ""
        if word == "help":
            return self._help()
        if text.startswith("/"):
            return await self._feed_root(word)
        return (await self._table.run(f"{self._prefix} {text}")).text

    def _help(self) -> str:
        shell = self._table.shell(self._prefix or "")
        rows = [(command.name, command.help) for command in shell.commands] if shell else []
        width = max((len(name) for name, _ in rows), default=0)
        lines = [f"{name:<{width}}  {text}".rstrip() for name, text in rows]
        return "\n".join([*lines, "", _SHELL_HELP])
