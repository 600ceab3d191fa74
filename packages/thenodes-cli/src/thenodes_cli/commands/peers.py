"""`thenodes peers`."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import click

from thenodes_core.config import expand
from thenodes_core.control.client import ask
from thenodes_core.control.status import render_known
from thenodes_core.errors import NoNode, StateDirError
from thenodes_core.store.peers_file import PEERS_FILE, PeersFile

from ..output import emit, warn
from .target import read_settings, resolve_state_dir, target_options

__all__ = ["command"]


@click.command(
    epilog="\b\nExamples:\n  thenodes peers\n  thenodes peers --known --state-dir data/first --json"
)
@target_options
@click.option("--known", is_flag=True, help="List the addresses it knows, connected or not.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(config_file: Path | None, state_dir: Path | None, known: bool, as_json: bool) -> None:
    """List the peers that a running node is connected with.

    With --known, the addresses that it knows, newest success first. Where no node
    runs, these are read from its peers.json.
    """
    directory = resolve_state_dir(config_file, state_dir)
    try:
        reply = asyncio.run(ask(directory, "peers known" if known else "peers"))
    except NoNode:
        if not known:
            raise
        _show_file(config_file, directory, as_json=as_json)
        return
    emit(reply.text, reply.data, as_json=as_json)


def _show_file(config_file: Path | None, directory: Path, *, as_json: bool) -> None:
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
