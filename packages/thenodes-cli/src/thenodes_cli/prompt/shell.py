"""What a typed line means, without a terminal: root, a plugin's shell, or a confirmation."""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator
from contextlib import aclosing

from thenodes_core.control.access import Access
from thenodes_core.control.commands import Reply
from thenodes_core.errors import CommandError

__all__ = ["SHUTDOWN", "Mode", "PromptShell"]

SHUTDOWN = "shutdown"
"""The command that stops the node."""

_LEAVING = frozenset({"exit", "quit"})
_OWN_HELP = "A plugin's word enters its shell. quit or exit stops this node; both ask first."
_ATTACHED_HELP = (
    "A plugin's word enters its shell. quit or exit leaves, and the node goes on;\n"
    "shutdown stops it, and asks first."
)
_SHELL_HELP = "exit leaves this shell, quit {quit}, /peers and the like work here too."
_LABEL_SHARE = 2


class Mode(enum.Enum):
    """Where the prompt is."""

    ROOT = "root"
    PLUGIN = "plugin"
    CONFIRM = "confirm"
    DONE = "done"


class PromptShell:
    """Takes lines, gives answers, and remembers where it is.

    At the root, a plugin's prefix alone enters that plugin's shell, with more
    words it is a single command to the plugin. `exit` leaves a shell. At the prompt of
    a node itself, `quit`, and `exit` at the root, stop the node and ask first; attached
    to a node they leave it alone. `shutdown` stops it, and asks. A leading `/` is
    accepted everywhere.

    Args:
        access: the node's commands.
        attached: the node runs elsewhere, and goes on without this prompt.
    """

    def __init__(self, access: Access, *, attached: bool = False) -> None:
        self._access = access
        self._attached = attached
        self._prefix: str | None = None
        self.mode = Mode.ROOT
        self.is_stopping = False

    @property
    def prefix(self) -> str | None:
        """The plugin whose shell it is in, or None."""
        return self._prefix

    @property
    def own_words(self) -> list[tuple[str, str]]:
        """What it understands itself, beside the node's commands, each with its help."""
        if self.mode is Mode.CONFIRM:
            return []
        leaving = "leave; the node goes on" if self._attached else "stop the node; asks first"
        inside = self.mode is Mode.PLUGIN
        return [("exit", "leave this shell" if inside else leaving), ("quit", leaving)]

    def label(self, columns: int = 80) -> str:
        """What stands before the cursor: at most half of so many columns, where it can."""
        if self.mode is Mode.CONFIRM:
            shown = ["Stop this node? [y/N] ", "Stop? [y/N] "]
        elif self.mode is Mode.PLUGIN:
            shown = [f"thenodes/{self._prefix}> ", f"{self._prefix}> ", "> "]
        else:
            shown = ["thenodes> ", "> "]
        return next((text for text in shown if len(text) * _LABEL_SHARE <= columns), shown[-1])

    async def feed(self, line: str) -> AsyncGenerator[Reply, None]:
        """Take a line; gives the answers, or what was wrong with the line.

        Raises:
            NoNode: the node is gone.
            StateDirError: it does not answer.
        """
        try:
            async with aclosing(self._answers(line.strip())) as replies:
                async for reply in replies:
                    yield reply
        except CommandError as error:
            if self.is_stopping:
                self.is_stopping, self.mode = False, Mode.ROOT
            yield Reply(f"error: {error}")

    def end_of_input(self) -> str:
        """What Ctrl-D does: leaves an attached node, asks whether to stop one of its own."""
        if self._attached or self.mode is Mode.CONFIRM:
            return self.leave()
        self.mode = Mode.CONFIRM
        return ""

    def leave(self) -> str:
        """End the prompt; says what becomes of the node, where that goes on."""
        self.mode = Mode.DONE
        return "left; the node goes on" if self._attached else ""

    async def _answers(self, text: str) -> AsyncGenerator[Reply, None]:
        word = text.removeprefix("/").strip()
        if self.mode is Mode.CONFIRM:
            answers = self._confirm(text)
        elif not word:
            return
        elif self.mode is Mode.PLUGIN and not (text.startswith("/") or word in _LEAVING):
            answers = self._feed_plugin(text)
        else:
            answers = self._feed_root(word, inside=self.mode is Mode.PLUGIN and text == "exit")
        async with aclosing(answers):
            async for reply in answers:
                yield reply

    async def _confirm(self, text: str) -> AsyncGenerator[Reply, None]:
        if text.lower() not in ("y", "yes"):
            self.mode = Mode.PLUGIN if self._prefix else Mode.ROOT
            yield Reply("the node goes on")
            return
        self.mode = Mode.DONE
        if self._attached:
            self.is_stopping = True
            async with aclosing(self._access.answers(SHUTDOWN)) as replies:
                async for reply in replies:
                    yield reply

    async def _feed_root(self, word: str, *, inside: bool) -> AsyncGenerator[Reply, None]:
        if inside:
            self._prefix, self.mode = None, Mode.ROOT
            return
        if word in _LEAVING and self._attached:
            yield Reply(self.leave())
            return
        if word in _LEAVING or word == SHUTDOWN:
            self.mode = Mode.CONFIRM
            return
        shell = None if " " in word else (await self._access.describe()).shell(word)
        if shell is not None:
            self._prefix, self.mode = word, Mode.PLUGIN
            names = ", ".join(name for name, _ in shell.commands)
            yield Reply(f"{word}: {names or 'type a line'}; exit leaves")
            return
        async with aclosing(self._access.answers(word)) as replies:
            async for reply in replies:
                yield reply
        if word == "help":
            yield Reply(f"\n{_ATTACHED_HELP if self._attached else _OWN_HELP}")

    async def _feed_plugin(self, text: str) -> AsyncGenerator[Reply, None]:
        if text == "help":
            yield Reply(await self._help())
            return
        async with aclosing(self._access.answers(f"{self._prefix} {text}")) as replies:
            async for reply in replies:
                yield reply

    async def _help(self) -> str:
        shell = (await self._access.describe()).shell(self._prefix or "")
        rows = shell.commands if shell else ()
        width = max((len(name) for name, _ in rows), default=0)
        lines = [f"{name:<{width}}  {text}".rstrip() for name, text in rows]
        quits = "leaves the node alone" if self._attached else "stops the node"
        return "\n".join([*lines, "", _SHELL_HELP.format(quit=quits)])
