"""`thenodes plugins`, and what `thenodes plugin` asks of a node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from thenodes_core.control.catalogue import CATALOGUE
from thenodes_core.errors import NoNode

from ..asking import ask_and_show
from .target import named_state_dir
from .words import words_command

__all__ = ["changes", "command", "info", "list_"]


def _ask(config_file: Path | None, state_dir: Path | None, line: str, as_json: bool) -> None:
    ask_and_show(named_state_dir(config_file, state_dir), line, as_json=as_json)


def _look(config_file: Path | None, state_dir: Path | None, line: str, as_json: bool) -> None:
    try:
        _ask(config_file, state_dir, line, as_json)
    except NoNode:
        # Imported here: asking a node that runs needs neither keys nor the loader.
        from ..node_files import read_node_files
        from ..output import emit
        from ..plugins.stopped import look

        reply = look(read_node_files(config_file, state_dir), line)
        emit(reply.text, reply.data, as_json=as_json)


def _lister(name: str) -> click.Command:
    more = "Of a node that is stopped, what it would load; then no code of theirs is run."
    return words_command(name, CATALOGUE["plugins"], _look, more=more)


command = _lister("plugins")
list_ = _lister("plugin list")
info = words_command("plugin info", CATALOGUE["plugin info"], _look)


def changes() -> Sequence[click.Command]:
    """What changes a plugin while its node runs."""
    names = [f"plugin {verb}" for verb in ("enable", "disable", "reload")]
    return [words_command(name, CATALOGUE[name], _ask) for name in names]
