"""Runs the prompt, on a terminal or over a pipe."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from thenodes_core import Node, StartError
from thenodes_core.errors import CommandError

from ..console import Console
from ..output import emit
from .shell import Mode, PromptShell

__all__ = ["run_prompt"]

_LINE_BYTES = 1024 * 1024


async def run_prompt(node: Node, console: Console) -> None:
    """Take lines until the operator quits or input ends."""
    shell = PromptShell(node.commands)
    if sys.stdin is None:
        raise StartError("--prompt needs an input, and standard input is closed")
    if sys.stdin.isatty():
        await _run_terminal(node, shell, console)
    else:
        try:
            async for line in _stdin_lines():
                await _answer(shell, line)
                if shell.mode is Mode.DONE:
                    return
        except ValueError as error:
            raise CommandError(f"a line of more than {_LINE_BYTES} bytes") from error


async def _answer(shell: PromptShell, line: str) -> None:
    emit(await shell.feed(line), None, as_json=False)


async def _run_terminal(node: Node, shell: PromptShell, console: Console) -> None:
    # Imported here: only a terminal needs it, and it costs a third of the start.
    from prompt_toolkit import PromptSession, print_formatted_text
    from prompt_toolkit.formatted_text import ANSI
    from prompt_toolkit.history import FileHistory, History, InMemoryHistory
    from prompt_toolkit.patch_stdout import patch_stdout

    from .completer import PromptCompleter

    history: History = InMemoryHistory()
    if node.state_dir is not None:
        history = FileHistory(_private_file(node.state_dir / "history"))
    session: PromptSession[str] = PromptSession(
        history=history,
        completer=PromptCompleter(node.commands, shell),
        complete_while_typing=False,
    )
    with patch_stdout(raw=True):
        console.redirect(lambda line: print_formatted_text(ANSI(line)))
        try:
            while shell.mode is not Mode.DONE:
                try:
                    line = await session.prompt_async(shell.label, handle_sigint=False)
                except EOFError:
                    if shell.mode is Mode.CONFIRM:
                        return
                    shell.ask_to_quit()
                    continue
                except KeyboardInterrupt:
                    return
                await _answer(shell, line)
        finally:
            console.redirect(None)


def _private_file(path: Path) -> str:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    return str(path)


async def _stdin_lines() -> AsyncIterator[str]:
    """Lines of a pipe or file, in order, without blocking the node."""
    mode = os.fstat(sys.stdin.fileno()).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        reader = asyncio.StreamReader(limit=_LINE_BYTES)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        async for line in reader:
            yield _decode(line)
    else:
        # A file is always ready to be read.
        while line := sys.stdin.buffer.readline(_LINE_BYTES):
            yield _decode(line)
            await asyncio.sleep(0)


def _decode(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r\n")
