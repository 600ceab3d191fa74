"""`thenodes trust …`: the prompt's commands, on a node that runs or is stopped."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click
import msgspec

from thenodes_core.control.client import ask
from thenodes_core.errors import NoNode

from ..node_files import read_node_files
from ..output import emit
from .target import target_options

__all__ = ["command"]


class _Verb(msgspec.Struct, frozen=True):
    """A subcommand: the node's command that it runs, and what is told of it."""

    line: str
    help: str
    argument: str = ""
    example: str = ""


_VERBS = {
    "observed": _Verb(
        "trust observed list",
        "List the keys that were met and are not trusted.\n\n"
        "They are recorded in the modes observe and tofu, and with store_new_certs.",
    ),
    "trusted": _Verb("trust trusted list", "List the keys that are trusted."),
    "rejected": _Verb("trust rejected list", "List the keys that are refused whatever else holds."),
    "own": _Verb("trust own list", "Show the node's own key, as others list it."),
    "ids": _Verb(
        "trust ids list",
        "List the ids and addresses that were met with a key, and are bound to it.",
    ),
    "promote": _Verb(
        "trust promote",
        "Trust a key that was observed, or take a rejection back.",
        "FINGERPRINT",
        "3f9a21c4",
    ),
    "revoke": _Verb(
        "trust revoke",
        "Refuse a key from now on, whatever the policy says.\n\n"
        "Sessions with it end at once. `promote` takes it back.",
        "FINGERPRINT",
        "3f9a21c4",
    ),
    "forget": _Verb(
        "trust forget",
        "Let an id, or an address, come with another key than it was met with.",
        "ID",
        "kitchen",
    ),
    "explain": _Verb(
        "trust explain",
        "Tell step by step what the policy says of a key, and why; nothing comes of it.",
        "FINGERPRINT",
        "3f9a21c4",
    ),
    "reload": _Verb(
        "trust reload",
        "Read the keys on disk again, and tell what is wrong with files.\n\n"
        "A running node notices changes by itself within seconds.",
    ),
}


@click.group(
    epilog="""\b
Examples:
  thenodes trust observed
  thenodes trust promote 3f9a21c4
  thenodes trust explain 3f9a21c4 --state-dir data/first --json
  thenodes trust forget kitchen --config node.toml"""
)
def command() -> None:
    """See, promote and revoke the keys of peers.

    A running node obeys at once, and reconnects with whom it now admits; of a node
    that is stopped the files are changed. Either way it is in the node's event log.
    Of a fingerprint its beginning is enough: four digits, or as many as are unique.
    """


def _add(name: str, verb: _Verb) -> None:
    def run(
        config_file: Path | None, state_dir: Path | None, as_json: bool, word: str = ""
    ) -> None:
        files = read_node_files(config_file, state_dir)
        line = f"{verb.line} {word}".rstrip()
        try:
            reply = asyncio.run(ask(files.state_dir, line))
        except NoNode:
            # Imported here: it loads the keys' libraries, which asking a node does not need.
            from ..stopped_node import run_stopped

            reply = run_stopped(files, line)
        emit(reply.text, reply.data, as_json=as_json)

    function: Any = click.option("--json", "as_json", is_flag=True, help="Print JSON.")(run)
    function = target_options(function)
    if verb.argument:
        function = click.argument("word", metavar=verb.argument)(function)
    example = f"thenodes trust {name} {verb.example}".rstrip()
    epilog = f"\b\nExamples:\n  {example}\n  {example} --state-dir data/first --json"
    short = verb.help.partition("\n\n")[0]
    command.command(name, help=verb.help, short_help=short, epilog=epilog)(function)


for _name, _verb in _VERBS.items():
    _add(_name, _verb)
