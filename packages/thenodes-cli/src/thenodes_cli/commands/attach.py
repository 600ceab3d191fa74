"""`thenodes attach`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from thenodes_plugin_api import Level

from ..prompt.attached import attach
from .target import resolve_state_dir, target_options

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  thenodes attach
  thenodes attach --state-dir data/second --log-level warning
  printf 'peers\\nkvstore put a 1\\n' | thenodes attach"""
)
@target_options
@click.option(
    "--log-level",
    type=click.Choice([level.value for level in Level], case_sensitive=False),
    default=Level.INFO.value,
    show_default=True,
    help="Events below it are not shown.",
)
def command(config_file: Path | None, state_dir: Path | None, log_level: str) -> None:
    """Open a prompt on a node that runs.

    It is the prompt of `thenodes run --prompt`, with the node's events above the line.
    `quit`, `exit` and Ctrl-D leave, and the node goes on; `shutdown` stops it, and asks
    first. Without a terminal it reads lines from stdin and shows no events.

    Where the node stops or is killed, it says so and ends with exit code 1.
    """
    asyncio.run(attach(resolve_state_dir(config_file, state_dir), Level(log_level.lower())))
