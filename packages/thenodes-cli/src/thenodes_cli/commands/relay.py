"""`thenodes relay …`: the prompt's commands of relays, on a running node."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from thenodes_core.control.catalogue import CommandText
from thenodes_core.control.client import ask
from thenodes_core.errors import CommandError, CommandFailed
from thenodes_relay.texts import TEXTS

from ..asking import ask_and_show
from ..nearest import NearestGroup
from .target import resolve_state_dir
from .words import words_command

__all__ = ["command"]


@click.group(
    cls=NearestGroup,
    epilog="""\b
Examples:
  thenodes relay status
  thenodes relay queue kitchen --state-dir data/first --json""",
)
def command() -> None:
    """Look into a relay, and see which relays a node uses.

    A node is a relay with `network.relay.enabled`, and uses relays that
    `network.relay.use` names.
    """


def _ask(config_file: Path | None, state_dir: Path | None, line: str, as_json: bool) -> None:
    directory = resolve_state_dir(config_file, state_dir)
    try:
        ask_and_show(directory, line, as_json=as_json)
    except CommandFailed:
        raise
    except CommandError as error:
        known = asyncio.run(ask(directory, "help")).data
        if isinstance(known, dict) and any(str(name).startswith("relay") for name in known):
            raise
        raise CommandError(asyncio.run(_why_none(directory))) from error


async def _why_none(state_dir: Path) -> str:
    status = (await ask(state_dir, "status")).data
    plugins = status.get("plugins", ()) if isinstance(status, dict) else ()
    for plugin in plugins:
        if plugin["id"] == "relay" and plugin["state"] != "running":
            return (
                f"the plugin relay of the node on {state_dir} does not run ({plugin['state']}): "
                f"{plugin['detail']}; once that is mended: "
                f"thenodes plugin enable relay --state-dir {state_dir}"
            )
    return (
        f"the node on {state_dir} neither is a relay nor uses one; set "
        "network.relay.enabled = true, or name relays in network.relay.use"
    )


for _name, _text in TEXTS.items():
    if _name != "relay":
        _said = CommandText(_text.help, _text.usage, _text.example, more=_text.more)
        command.add_command(words_command(_name, _said, _ask))
