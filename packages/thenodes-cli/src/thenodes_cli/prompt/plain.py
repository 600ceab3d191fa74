"""The prompt without a terminal's help: over a pipe, from a file, on a dumb terminal."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing

from thenodes_core.control.commands import Reply

from ..console import Console
from .above import LinesAbove
from .conversation import Conversation
from .shell import Mode, PromptShell
from .show import show

__all__ = ["LINE_BYTES", "LineSplitter", "run_plain"]

LINE_BYTES = 1024 * 1024
"""The longest line, without its end."""

_READ_BYTES = 64 * 1024


class LineSplitter:
    """Takes bytes, gives lines; of one that is too long, nothing but that it was.

    Args:
        most: the longest line.
    """

    def __init__(self, most: int = LINE_BYTES) -> None:
        self._most = most
        self._begun = bytearray()
        self._too_long = False

    def feed(self, data: bytes) -> list[str | None]:
        """The lines that end in the data; None stands for one that was too long."""
        *ended, rest = data.split(b"\n")
        lines = []
        for piece in ended:
            self._add(piece)
            lines.append(self._take())
        self._add(rest)
        return lines

    def end(self) -> list[str | None]:
        """What was begun, at the end of the input."""
        return [self._take()] if self._begun or self._too_long else []

    def _add(self, piece: bytes) -> None:
        if len(self._begun) + len(piece) > self._most:
            self._too_long = True
            self._begun.clear()
        elif not self._too_long:
            self._begun += piece

    def _take(self) -> str | None:
        line = self._begun.decode(errors="replace").removesuffix("\r")
        too_long, self._too_long = self._too_long, False
        self._begun.clear()
        return None if too_long else line


async def run_plain(shell: PromptShell, talk: Conversation, console: Console) -> None:
    """Take lines until the operator quits or input ends."""
    asking = _Asking(shell) if sys.stdin.isatty() else None
    above = LinesAbove(talk, asking.show_above) if asking else None
    printing = None
    if above is not None:
        console.redirect(above.put)
        printing = asyncio.ensure_future(above.run())
    try:
        async with aclosing(_stdin_lines(asking, shell)) as lines:
            async for line in lines:
                if line is None:
                    await show(Reply(f"error: a line of more than {LINE_BYTES} bytes"))
                else:
                    await talk.say(line)
                if shell.mode is Mode.DONE:
                    return
    finally:
        console.redirect(None)
        if printing is not None:
            printing.cancel()


class _Asking:
    """The prompt's label on a terminal that can do nothing but print."""

    def __init__(self, shell: PromptShell) -> None:
        self._shell = shell
        self._stream = sys.stdout if sys.stdout.isatty() else sys.stderr
        self._is_asking = False

    def ask(self) -> None:
        self._is_asking = True
        self._write(self._shell.label())

    def answered(self) -> None:
        self._is_asking = False

    def ended(self) -> None:
        """Ctrl-D leaves the cursor behind the label."""
        self._is_asking = False
        self._write("\n")

    async def show_above(self, text: str) -> None:
        if self._is_asking:
            self._write(f"\n{text}{self._shell.label()}")
        else:
            self._write(text)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


async def _stdin_lines(
    asking: _Asking | None, shell: PromptShell
) -> AsyncGenerator[str | None, None]:
    """Lines of a pipe, file or terminal, in order, without holding up the node."""
    number, splitter = sys.stdin.fileno(), LineSplitter()
    while True:
        if asking is not None:
            asking.ask()
        lines: deque[str | None] = deque()
        while not lines:
            data = await _read(number)
            lines.extend(splitter.feed(data) if data else splitter.end())
            if not data:
                break
        if asking is not None:
            asking.answered() if lines else asking.ended()
        while lines:
            yield lines.popleft()
        if data:
            continue
        # A terminal can be read again after Ctrl-D; a pipe has ended.
        said = shell.end_of_input() if asking is not None else ""
        if said:
            await show(Reply(said))
        if asking is None or shell.mode is Mode.DONE:
            return


async def _read(number: int) -> bytes:
    """What there is to read, at least a byte; nothing at the end of the input."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(number, ready.set)
    except (OSError, ValueError):
        # A file is always ready to be read.
        await asyncio.sleep(0)
        return os.read(number, _READ_BYTES)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(number)
    try:
        return os.read(number, _READ_BYTES)
    except OSError:
        # The terminal is gone.
        return b""
