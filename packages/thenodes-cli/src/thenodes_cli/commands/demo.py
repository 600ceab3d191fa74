"""`thenodes demo`."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path

import click
import msgspec

from thenodes_core.text import printable_json

from ..demo.story import Step, Story
from ..output import lines

__all__ = ["command"]

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SIGNAL_CODE = 128


@click.command(
    epilog="""\b
Examples:
  thenodes demo
  thenodes demo --json"""
)
@click.option("--json", "as_json", is_flag=True, help="Print each step as a JSON object.")
def command(as_json: bool) -> None:
    """Tell a story with a relay, two nodes behind it, and one that comes late.

    All four run on this machine, on loopback, each a process with a state directory of its
    own, and what is shown is what they did. It takes some ten seconds. On a terminal they then go
    on until you press Enter, and you can try commands on them; at the end, also by Ctrl-C, SIGTERM
    or a closed terminal, all that was made is removed.
    """
    ended_by = asyncio.run(_show(as_json=as_json))
    # Ctrl-C is as good as Enter.
    if ended_by not in (None, signal.SIGINT):
        sys.exit(_SIGNAL_CODE + ended_by)


async def _show(*, as_json: bool) -> signal.Signals | None:
    """Tell the story, and stop the nodes; returns the signal that ended it, if one did."""
    # Within the loop, whose handlers keep a second signal from ending the cleaning up.
    with tempfile.TemporaryDirectory(prefix="thenodes-demo-") as folder:
        return await _show_in(Path(folder), as_json=as_json)


async def _show_in(folder: Path, *, as_json: bool) -> signal.Signals | None:

    def tell(step: Step) -> None:
        if as_json:
            click.echo(printable_json(msgspec.json.encode(step).decode()))
        else:
            click.echo(_shown(step))

    story = Story(folder, tell)
    async with story.cast:
        return await _until_signal(_run(story, folder, as_json=as_json))


async def _until_signal(work: Coroutine[object, object, None]) -> signal.Signals | None:
    """Run it until a signal comes; those that come later end nothing, and so no cleaning up."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    came: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        came.append(number)
        task.cancel()

    for number in _ENDING:
        loop.add_signal_handler(number, end, number)
    try:
        await task
    except asyncio.CancelledError:
        if not came:
            raise
    return came[0] if came else None


async def _run(story: Story, folder: Path, *, as_json: bool) -> None:
    begun = time.monotonic()
    await story.run()
    if as_json:
        return
    seconds = time.monotonic() - begun
    click.echo(f"\nThat took {seconds:.0f} s. ", nl=False)
    if not sys.stdin.isatty():
        click.echo("On a terminal, the nodes would go on now, for you to try commands on them.")
        return
    click.echo(_to_try(folder))
    await _enter()


async def _enter() -> None:
    """Wait for Enter, or for the end of the input; not in a thread, which Ctrl-C could not end."""
    loop, pressed = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, pressed.set)
    try:
        await pressed.wait()
    finally:
        loop.remove_reader(sys.stdin)


def _to_try(folder: Path) -> str:
    ann, relay = folder / "ann", folder / "relay"
    return f"""The nodes go on. In another terminal, try

    thenodes attach --state-dir {ann}
    thenodes peers --state-dir {ann}
    thenodes relay status --state-dir {relay}
    thenodes top --state-dir {relay}
    thenodes events --follow --state-dir {folder / "ben"}
    thenodes doctor --state-dir {ann}

Press Enter to stop them and remove {folder}."""


def _shown(step: Step) -> str:
    shown = []
    if step.text:
        shown.append(click.style(f"\n{step.text}", bold=True))
    if step.command:
        shown.append(click.style(f"  {step.command}", fg="cyan"))
    if step.answer:
        shown += [f"    {line}" for line in lines(step.answer).split("\n")]
    return "\n".join(shown)
