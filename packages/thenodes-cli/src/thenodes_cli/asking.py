"""Asks a running node, and prints what it answers: once, or for as long as it goes on.

A command that goes on ends with 0 where it is ended by Ctrl-C, or by whoever reads its output.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path

import click

from thenodes_core.control.client import RemoteAccess, answers
from thenodes_core.control.commands import Reply
from thenodes_core.control.completion import Candidate

from .output import drop_output, emit, emit_next, lines

__all__ = ["ask_and_show", "offered"]

# Somebody has pressed a key, and waits.
_OFFER_SECONDS = 2.0

# After which somebody at a terminal wonders.
_PATIENCE_SECONDS = 3.0


def ask_and_show(state_dir: Path, line: str, *, as_json: bool) -> None:
    """Run a command on the node that holds a state directory, and print every answer.

    Raises:
        NoNode: no node runs there, or it ended amid its answers.
        StateDirError: it does not answer.
        CommandError: the node does not understand the command.
        CommandFailed: it does, and the command failed.
        BrokenPipeError: nobody takes the one answer.
    """
    shown = _Shown(as_json=as_json)
    try:
        asyncio.run(_show(state_dir, line, shown))
    except KeyboardInterrupt:
        if not shown.goes_on:
            raise
        if sys.stderr.isatty():
            # After the ^C that a terminal shows.
            click.echo(err=True)
    except BrokenPipeError:
        drop_output()
        if not shown.goes_on:
            raise


def offered(state_dir: Path, typed: str) -> Sequence[Candidate]:
    """What a node offers to a line that is being typed; nothing where that takes long.

    Raises:
        NoNode: no node runs there.
        StateDirError: it cannot be asked.
    """
    return asyncio.run(_offered(state_dir, typed))


async def _offered(state_dir: Path, typed: str) -> Sequence[Candidate]:
    with suppress(TimeoutError):
        async with asyncio.timeout(_OFFER_SECONDS):
            return await RemoteAccess(state_dir).complete(typed, None)
    return ()


class _Shown:
    """What was printed so far."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self.anything = False
        self.goes_on = False

    def add(self, reply: Reply) -> None:
        as_json = self._as_json or reply.as_json
        self.anything = True
        self.goes_on = reply.more
        if reply.more:
            emit_next(reply.text, reply.data, as_json=as_json, replaces=reply.replaces)
        else:
            emit(reply.text, reply.data, as_json=as_json)


async def _show(state_dir: Path, line: str, shown: _Shown) -> None:
    speaking = asyncio.ensure_future(_show_all(state_dir, line, shown))
    with _when_nobody_reads(lambda: shown.goes_on and speaking.cancel()):
        await asyncio.wait({speaking}, timeout=_PATIENCE_SECONDS)
        if not (speaking.done() or shown.anything) and sys.stderr.isatty():
            click.echo(f"{lines(str(state_dir))}: no answer yet; Ctrl-C gives up", err=True)
        await asyncio.wait({speaking})
    if not speaking.cancelled():
        speaking.result()


async def _show_all(state_dir: Path, line: str, shown: _Shown) -> None:
    async with aclosing(answers(state_dir, line)) as given:
        async for reply in given:
            shown.add(reply)


@contextmanager
def _when_nobody_reads(act: Callable[[], object]) -> Iterator[None]:
    """Act once the reader of a pipe that is the output is gone, which a write would tell later."""
    loop, output = asyncio.get_running_loop(), _pipe()
    if output is None:
        yield
        return

    def closed() -> None:
        loop.remove_reader(output)
        act()

    # Where the platform cannot tell, the next write does.
    with suppress(OSError, ValueError):
        loop.add_reader(output, closed)
    try:
        yield
    finally:
        loop.remove_reader(output)


def _pipe() -> int | None:
    try:
        number = sys.stdout.fileno()
        return number if stat.S_ISFIFO(os.fstat(number).st_mode) else None
    except (AttributeError, OSError, ValueError):
        return None
