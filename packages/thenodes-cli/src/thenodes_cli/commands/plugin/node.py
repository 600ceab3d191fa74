"""`thenodes plugin add`, `remove`, `list`, `info`, `enable`, `disable`, `reload`: a node's."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from thenodes_core.control.catalogue import CATALOGUE
from thenodes_core.errors import CommandError, CommandFailed, NoNode

from ...asking import ask_and_show
from ...node_files import read_node_files
from ...output import emit, lines
from ...plugins import added
from ..target import target_options
from ..words import json_option as _json
from ..words import words_command

__all__ = ["add", "changes", "info", "list_", "plugins", "remove"]

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


def _ask(config_file: Path | None, state_dir: Path | None, line: str, as_json: bool) -> None:
    ask_and_show(read_node_files(config_file, state_dir).state_dir, line, as_json=as_json)


def _look(config_file: Path | None, state_dir: Path | None, line: str, as_json: bool) -> None:
    files = read_node_files(config_file, state_dir)
    try:
        ask_and_show(files.state_dir, line, as_json=as_json)
    except NoNode:
        # Imported here: asking a node that runs does not need it.
        from ...plugins.stopped import look

        reply = look(files, line)
        emit(reply.text, reply.data, as_json=as_json)


_OF_A_STOPPED_NODE = "Of a node that is stopped, what it would load; then no code of theirs is run."


def _lister(name: str) -> click.Command:
    return words_command(name, CATALOGUE["plugins"], _look, more=_OF_A_STOPPED_NODE)


plugins = _lister("plugins")
list_ = _lister("plugin list")
info = words_command("plugin info", CATALOGUE["plugin info"], _look)


def changes() -> Sequence[click.Command]:
    """What changes a plugin while its node runs: each is the prompt's command of that name."""
    names = [f"plugin {verb}" for verb in ("enable", "disable", "reload")]
    return [words_command(name, CATALOGUE[name], _ask) for name in names]
