"""A prompt onto a node in another process: its events, and its end."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import aclosing
from pathlib import Path

import click

from thenodes_core.control.access import Access
from thenodes_core.control.client import RemoteAccess
from thenodes_core.control.commands import Reply
from thenodes_core.errors import CommandError, NoNode
from thenodes_plugin_api import Level

from ..console import Console
from ..output import emit, lines
from .session import Prompt

__all__ = ["attach", "watch"]

_AGAIN_SECONDS = 0.5
_LAST_ANSWER_SECONDS = 1.0
_LINES_PER_SECOND = 100
_VERSION = "version"


async def attach(state_dir: Path, level: Level) -> None:
    """Hold a prompt on the node that holds a state directory, until the operator leaves.

    On a terminal the node's events go above the input line; over a pipe they are left out.

    Args:
        state_dir: the node's.
        level: events below it are not shown.

    Raises:
        NoNode: no node runs there, or it stopped meanwhile, not by the operator's word here.
        StateDirError: it does not answer.
    """
    access = RemoteAccess(state_dir)
    greeting = await _first(access, _VERSION)
    console = Console(
        sys.stderr, per_second=_LINES_PER_SECOND, more="; events has the last thousand"
    )
    is_seen = sys.stdin is not None and sys.stdin.isatty()
    if is_seen:
        # At once, and not as an event, which may come after the first label.
        click.echo(lines(f"attached to {_known_as(greeting)}"), err=True)
        click.echo("help lists the commands; quit leaves, and the node goes on", err=True)
    prompt = Prompt(access, attached=True)
    talking = asyncio.ensure_future(prompt.run(console, state_dir))
    watching = asyncio.ensure_future(watch(access, console if is_seen else None, level))
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, lambda: prompt.interrupt() or talking.cancel())
    # Or the terminal would keep the prompt's ways.
    loop.add_signal_handler(signal.SIGTERM, talking.cancel)
    try:
        await _until_either(talking, watching, prompt)
    except NoNode as error:
        if not prompt.is_stopping:
            raise NoNode(
                f"the node on {state_dir} has stopped, or was killed; "
                f"start it again with: thenodes run --state-dir {state_dir}"
            ) from error
    finally:
        console.close()
    if talking.cancelled() and not prompt.is_stopping:
        emit(prompt.leave(), None, as_json=False)


def _known_as(greeting: Reply) -> str:
    match greeting.data:
        case {"node_id": str(node_id), "realm": str(realm), "version": str(version)}:
            return f"{node_id}, realm {realm}, TheNodes {version}"
    return greeting.text


async def _until_either(
    talking: asyncio.Task[None], watching: asyncio.Task[None], prompt: Prompt
) -> None:
    await asyncio.wait({talking, watching}, return_when=asyncio.FIRST_COMPLETED)
    if prompt.is_stopping:
        # The node may be gone before its last answer is shown.
        await asyncio.wait({talking}, timeout=_LAST_ANSWER_SECONDS)
    done = [task for task in (talking, watching) if task.done()]
    for task in (talking, watching):
        task.cancel()
    await asyncio.gather(talking, watching, return_exceptions=True)
    for task in done:
        if not task.cancelled():
            task.result()


async def watch(
    access: Access, console: Console | None, level: Level, *, again_seconds: float = _AGAIN_SECONDS
) -> None:
    """Show the node's events for as long as it runs.

    A stream that ended while the node runs, as that of a terminal that was stopped for long
    does, is begun again; so is one that is refused, which is told.

    Args:
        access: the node's commands.
        console: shows them, or None where nobody looks.
        level: events below it are not shown.
        again_seconds: after which a stream that ended is begun again.

    Raises:
        NoNode: it does not run any more.
        StateDirError: it does not answer any more.
    """
    refusal = ""
    command = f"events 0 --follow --keep-unread --level {level.value}"
    while True:
        try:
            async with aclosing(access.answers(command)) as replies:
                async for reply in replies:
                    if console is not None:
                        _show(console, reply)
        except NoNode:
            await _first(access, _VERSION)
        except CommandError as error:
            # Too many follow them, say. The prompt is of use without.
            if console is not None and str(error) != refusal:
                console.write(f"no events are shown: {lines(str(error))}", Level.WARNING)
            refusal = str(error)
        await asyncio.sleep(again_seconds)


def _show(console: Console, reply: Reply) -> None:
    level = _level_of(reply)
    if console.admits(level):
        console.write(lines(reply.text), level)


def _level_of(reply: Reply) -> Level:
    try:
        return Level(reply.data["level"]) if isinstance(reply.data, dict) else Level.INFO
    except (KeyError, ValueError):
        return Level.INFO


async def _first(access: Access, line: str) -> Reply:
    async with aclosing(access.answers(line)) as replies:
        async for reply in replies:
            return reply
    return Reply("")
