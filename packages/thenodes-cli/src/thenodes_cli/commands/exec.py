"""`thenodes exec`."""

from __future__ import annotations

from pathlib import Path

import click

from ..asking import ask_and_show
from .target import resolve_state_dir, target_options

__all__ = ["command"]


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="\b\nExamples:\n  thenodes exec peers\n  thenodes exec --state-dir data kvstore put a 1",
)
@target_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument("words", nargs=-1, required=True, metavar="COMMAND...")
def command(
    config_file: Path | None, state_dir: Path | None, as_json: bool, words: tuple[str, ...]
) -> None:
    """Run a prompt command on a running node, and print its answer.

    Whatever the prompt understands: `help` lists it. A plugin's commands begin
    with its prefix. Options stand before the command; what follows is the command's.
    """
    # A plugin gets its words as they stand at the prompt, so nothing is quoted.
    directory = resolve_state_dir(config_file, state_dir)
    ask_and_show(directory, " ".join(words), as_json=as_json)
