"""`thenodes trust …`: the prompt's commands, on a node that runs or is stopped."""

from __future__ import annotations

from pathlib import Path

import click

from thenodes_core.control.catalogue import CATALOGUE
from thenodes_core.errors import NoNode

from ..asking import ask_and_show
from ..nearest import NearestGroup
from .target import named_state_dir
from .words import words_command

__all__ = ["command"]


@click.group(
    cls=NearestGroup,
    epilog="""\b
Examples:
  thenodes trust observed
  thenodes trust promote 3f9a21c4
  thenodes trust explain 3f9a21c4 --state-dir data/first --json
  thenodes trust forget kitchen --config node.toml""",
)
def command() -> None:
    """See, promote and revoke the keys of peers.

    A running node obeys at once, and reconnects with whom it now admits; of a node
    that is stopped the files are changed. Either way it is in the node's event log.
    Of a fingerprint its beginning is enough: four digits, or as many as are unique.
    """


def _ask(config_file: Path | None, state_dir: Path | None, line: str, as_json: bool) -> None:
    try:
        ask_and_show(named_state_dir(config_file, state_dir), line, as_json=as_json)
    except NoNode:
        # Imported here: it loads the keys' libraries, which asking a node does not need.
        from ..node_files import read_node_files
        from ..output import emit
        from ..stopped_node import run_stopped

        reply = run_stopped(read_node_files(config_file, state_dir), line)
        emit(reply.text, reply.data, as_json=as_json)


for _name, _text in CATALOGUE.items():
    if _name.startswith("trust "):
        # `trust observed list` is `trust observed`, with or without a word.
        command.add_command(words_command(_name.removesuffix(" list"), _text, _ask))
