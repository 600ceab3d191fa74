"""`thenodes relay …`: the prompt's commands of relays, on a running node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from thenodes_core.control.client import ask
from thenodes_core.control.commands import Reply
from thenodes_core.errors import CommandError, CommandFailed

from ..output import emit
from .target import resolve_state_dir, target_options

__all__ = ["command"]


class _Verb(msgspec.Struct, frozen=True):
    """A subcommand: the node's command that it runs, and what is told of it."""

    line: str
    help: str
    argument: str = ""
    example: str = ""


_VERBS = {
    "status": _Verb(
        "relay status",
        "Show a relay, and the relays that a node uses.\n\n"
        "How much is queued and stored, by target and class, what was dropped and why, how "
        "large the store is, and what it keeps when power or machine fail.",
    ),
    "bindings": _Verb("relay bindings", "List the mailboxes and routes that a relay grants."),
    "queue": _Verb(
        "relay queue",
        "List what waits at a relay, by target and class.",
        "[TARGET]",
        "kitchen",
    ),
    "drain": _Verb(
        "relay drain",
        "Take nothing new, and tell every node so; before a relay is stopped.\n\n"
        "What is stored is still handed on to nodes that are connected, and waits on disk for "
        "the others. A restart ends it.",
    ),
}


@click.group(
    epilog="""\b
Examples:
  thenodes relay status
  thenodes relay queue kitchen --state-dir data/first --json"""
)
def command() -> None:
    """Look into a relay, and see which relays a node uses.

    A node is a relay with `network.relay.enabled`, and uses relays that
    `network.relay.use` names.
    """


async def _run(state_dir: Path, line: str) -> Reply:
    try:
        return await ask(state_dir, line)
    except CommandFailed:
        raise
    except CommandError as error:
        known = (await ask(state_dir, "help")).data
        if isinstance(known, dict) and any(str(name).startswith("relay") for name in known):
            raise
        raise CommandError(await _why_none(state_dir)) from error


async def _why_none(state_dir: Path) -> str:
    status = (await ask(state_dir, "status")).data
    plugins = status.get("plugins", ()) if isinstance(status, dict) else ()
    for plugin in plugins:
        if plugin["id"] == "relay" and plugin["state"] != "running":
            return (
                f"the plugin relay of the node on {state_dir} does not run ({plugin['state']}): "
                f"{plugin['detail']}; once that is mended: "
                f"thenodes exec --state-dir {state_dir} plugin enable relay"
            )
    return (
        f"the node on {state_dir} neither is a relay nor uses one; set "
        "network.relay.enabled = true, or name relays in network.relay.use"
    )


def _add(name: str, verb: _Verb) -> None:
    def run(
        config_file: Path | None, state_dir: Path | None, as_json: bool, word: str | None = None
    ) -> None:
        directory = resolve_state_dir(config_file, state_dir)
        reply = asyncio.run(_run(directory, f"{verb.line} {word or ''}".rstrip()))
        emit(reply.text, reply.data, as_json=as_json)

    function: Callable[..., Any] = click.option(
        "--json", "as_json", is_flag=True, help="Print JSON."
    )(run)
    function = target_options(function)
    if verb.argument:
        function = click.argument("word", metavar=verb.argument, required=False)(function)
    example = f"thenodes relay {name} {verb.example}".rstrip()
    epilog = f"\b\nExamples:\n  {example}\n  {example} --state-dir data/first --json"
    short = verb.help.partition("\n\n")[0]
    command.command(name, help=verb.help, short_help=short, epilog=epilog)(function)


for _name, _verb in _VERBS.items():
    _add(_name, _verb)
