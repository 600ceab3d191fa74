"""`thenodes peers` and `thenodes known`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click

from thenodes_core.control.catalogue import CATALOGUE
from thenodes_core.errors import NoNode

from ..asking import ask_and_show
from .one_shot import WordsCommand, epilog, json_option, line_of, long_help, short_help
from .target import read_settings, resolve_state_dir, target_options

__all__ = ["command", "known"]

_PEERS, _KNOWN = CATALOGUE["peers"], CATALOGUE["known"]
_OF_A_STOPPED_NODE = "Where no node runs, they are read from its peers.json."


@click.command(
    cls=WordsCommand,
    context_settings={"ignore_unknown_options": True},
    help=f"{long_help(_PEERS)}\n\nWith --known, what `thenodes known` does.",
    short_help=short_help(_PEERS),
    epilog=epilog("peers", _PEERS),
)
@target_options
@click.option("--known", "addresses", is_flag=True, help="List the addresses that it knows.")
@json_option
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def command(
    config_file: Path | None,
    state_dir: Path | None,
    addresses: bool,
    as_json: bool,
    words: Sequence[str],
) -> None:
    """List a node's peers, or with `--known` the addresses that it knows."""
    directory = resolve_state_dir(config_file, state_dir)
    if addresses:
        _show_known(config_file, directory, words, as_json=as_json)
    else:
        ask_and_show(directory, line_of("peers", words), as_json=as_json)


@click.command(
    cls=WordsCommand,
    context_settings={"ignore_unknown_options": True},
    help=f"{long_help(_KNOWN)}\n\n{_OF_A_STOPPED_NODE}",
    short_help=short_help(_KNOWN),
    epilog=epilog("known", _KNOWN),
)
@target_options
@json_option
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def known(
    config_file: Path | None, state_dir: Path | None, as_json: bool, words: Sequence[str]
) -> None:
    """List the addresses that a node knows."""
    directory = resolve_state_dir(config_file, state_dir)
    _show_known(config_file, directory, words, as_json=as_json)


def _show_known(
    config_file: Path | None, directory: Path, words: Sequence[str], *, as_json: bool
) -> None:
    try:
        ask_and_show(directory, line_of("known", words), as_json=as_json)
    except NoNode:
        if words:
            raise
        _show_file(config_file, directory, as_json=as_json)


def _show_file(config_file: Path | None, directory: Path, *, as_json: bool) -> None:
    # Imported here: asking a node that runs does not need it.
    from thenodes_core.config import expand
    from thenodes_core.control.status import render_known
    from thenodes_core.errors import StateDirError
    from thenodes_core.store.peers_file import PEERS_FILE, PeersFile

    from ..output import emit, warn

    table = read_settings(config_file, {}).config.network.persistence
    path = expand(table.path) if table.path else directory / PEERS_FILE
    if not path.exists():
        raise StateDirError(
            f"no node runs on {directory}, and there is no {path}; "
            "a node with network.persistence.enabled = true keeps one"
        )
    file = PeersFile(path, ttl_seconds=table.ttl_secs, max_entries=table.max_entries)
    records, problem = file.read(time.time())
    if problem:
        warn(problem)
    emit(render_known(records), records, as_json=as_json)
