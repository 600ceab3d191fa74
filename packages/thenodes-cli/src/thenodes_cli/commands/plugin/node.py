"""`thenodes plugin add` and `remove`: the plugins of a node, whether it runs or not."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from thenodes_core.errors import CommandError, CommandFailed

from ...node_files import read_node_files
from ...output import emit, lines
from ...plugins import added
from ..target import target_options
from ..words import json_option as _json

__all__ = ["add", "remove"]

_PATH = click.Path(path_type=Path)


@click.command(
    epilog="""\b
Examples:
  thenodes plugin add dist/thenodes_my-0.1.0-py3-none-any.whl
  thenodes plugin add my.whl --yes --config node.toml"""
)
@click.argument("wheel", type=_PATH)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--replace",
    is_flag=True,
    help="With --yes: also where another file of the same version was agreed to.",
)
@target_options
@_json
def add(
    wheel: Path,
    yes: bool,
    replace: bool,
    config_file: Path | None,
    state_dir: Path | None,
    as_json: bool,
) -> None:
    """Add a wheel to a node, once you agreed to what it is.

    It is copied to the plugins directory of the settings, or else to the folder wheels in
    the state directory, from where `thenodes run` loads it. plugins.lock keeps its hash:
    under its id, the node loads no other file. Another version replaces it. A node that
    runs loads it when it is started again.
    """
    files = read_node_files(config_file, state_dir)
    offered = added.offer(wheel, files)
    _agree(offered, yes=yes, replace=replace, to_stderr=as_json)
    added.accept(offered, wheel, files)
    shown = f"{offered}\n" if yes else ""
    text = f"{shown}added {offered.id} {offered.version}; `thenodes run` loads it"
    emit(text, offered, as_json=as_json)


def _agree(offered: added.Offer, *, yes: bool, replace: bool, to_stderr: bool) -> None:
    if yes and offered.replaces is not None and offered.is_other_file and not replace:
        raise CommandFailed(
            f"TN-P003: {offered.source}: expected sha256 {offered.replaces.sha256}, which "
            f"plugins.lock names for {offered.id} {offered.version}, received {offered.sha256}; "
            "get that file, or agree to this one with --replace"
        )
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError(
            f"nothing was added: there is no terminal to ask on. If you agree to this, add "
            f"--yes:\n{offered}"
        )
    click.echo(lines(str(offered)), err=to_stderr)
    if not click.confirm("Load this code into the node?", err=to_stderr):
        raise CommandFailed("nothing was added")


@click.command(
    short_help="Remove a plugin that was added.",
    epilog="""\b
Examples:
  thenodes plugin remove my
  thenodes plugin remove my --config node.toml""",
)
@click.argument("plugin_id", metavar="ID")
@target_options
@_json
def remove(plugin_id: str, config_file: Path | None, state_dir: Path | None, as_json: bool) -> None:
    """Remove a plugin that was added: its wheel, and its line in plugins.lock.

    Its data stays. A node that runs keeps it until it is stopped.
    """
    gone = added.remove(plugin_id, read_node_files(config_file, state_dir))
    files = "".join(f"\n  {file}" for file in gone.files)
    emit(f"removed {plugin_id}{files}", gone, as_json=as_json)
