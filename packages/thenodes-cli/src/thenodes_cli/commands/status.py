"""`thenodes status`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from thenodes_core.control.client import ask

from ..output import emit
from .target import resolve_state_dir, target_options

__all__ = ["command"]


@click.command(
    epilog="\b\nExamples:\n  thenodes status\n  thenodes status --state-dir data/first --json"
)
@target_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(config_file: Path | None, state_dir: Path | None, as_json: bool) -> None:
    """Show a running node: its peers, plugins, addresses and counters.

    The node is found through the control socket in its state directory.
    """
    reply = asyncio.run(ask(resolve_state_dir(config_file, state_dir), "status"))
    emit(reply.text, reply.data, as_json=as_json)
