"""`thenodes peers` and `thenodes known`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from thenodes_core.config import expand
from thenodes_core.control.catalogue import CATALOGUE
from thenodes_core.errors import NoNode, StateDirError

from ..asking import ask_and_show
from ..output import emit, warn
from .target import read_settings, resolve_state_dir
from .words import words_command

__all__ = ["command", "known"]


_ADDRESSES = f"{__name__}.addresses"


def _keep(ctx: click.Context, option: click.Parameter, value: bool) -> None:
    ctx.meta[_ADDRESSES] = value


def _ask_peers(config_file: Path | None, state_dir: Path | None, line: str, as_json: bool) -> None:
    if click.get_current_context().meta[_ADDRESSES]:
        _ask_known(config_file, state_dir, "known", as_json)
    else:
        ask_and_show(resolve_state_dir(config_file, state_dir), line, as_json=as_json)


def _ask_known(config_file: Path | None, state_dir: Path | None, line: str, as_json: bool) -> None:
    directory = resolve_state_dir(config_file, state_dir)
    try:
        ask_and_show(directory, line, as_json=as_json)
    except NoNode:
        _show_file(config_file, directory, as_json=as_json)


def _show_file(config_file: Path | None, directory: Path, *, as_json: bool) -> None:
    # Imported here: asking a node that runs does not need it.
    from thenodes_core.control.known import render_known
    from thenodes_core.store.peers_file import PEERS_FILE, PeersFile

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


command = words_command(
    "peers", CATALOGUE["peers"], _ask_peers, more="With --known, what `thenodes known` does."
)
command.params.append(
    click.Option(
        ["--known"],
        is_flag=True,
        expose_value=False,
        callback=_keep,
        help="List the addresses that it knows, connected or not.",
    )
)

known = words_command(
    "known",
    CATALOGUE["known"],
    _ask_known,
    more="Where no node runs, they are read from its peers.json.",
)
