"""The node's own commands."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Protocol

from thenodes_plugin_api import PeerRecord

from ..errors import CommandError
from .catalogue import CATALOGUE
from .commands import Command, CommandTable, Reply
from .known import add_known_command
from .status import StatusView, add_status_commands

__all__ = ["BUILTIN_COMMANDS", "NodeView", "add_builtin_commands"]

BUILTIN_COMMANDS = frozenset(
    {name.partition(" ")[0] for key, text in CATALOGUE.items() for name in (key, *text.aliases)}
)
"""First words of the node's own commands, which no plugin may take."""

_COLUMNS = 80
_USAGE_COLUMNS = 28


class NodeView(StatusView, Protocol):
    """What these commands look at."""

    def known_peers(self) -> Sequence[PeerRecord]:
        """The addresses that it knows."""
        ...


def add_builtin_commands(table: CommandTable, node: NodeView) -> None:
    """Add `help`, `version`, `status`, `glance` and `known`."""

    async def show_help(words: Sequence[str]) -> Reply:
        return _help(table, words)

    async def version(words: Sequence[str]) -> Reply:
        _expect_none("version", words)
        status = node.status()
        data = {"version": status.version, "node_id": status.node_id, "realm": status.realm}
        return Reply(
            f"TheNodes {status.version}, node {status.node_id}, realm {status.realm}", data
        )

    table.define("help", show_help)
    table.define("version", version)
    add_status_commands(table, node)
    add_known_command(table, node.known_peers)


def _expect_none(name: str, words: Sequence[str]) -> None:
    if words:
        raise CommandError(f"{name} takes no arguments, got {' '.join(words)!r}")


def _help(table: CommandTable, words: Sequence[str]) -> Reply:
    shown = [command for command in table.commands if not command.hidden]
    if words:
        rows = _rows_of(table, shown, words)
        text = _table(rows)
        exact = table.command(" ".join(words))
        if exact is not None:
            # How it is used comes first, and the commands beside it where there are any.
            text = exact.describe() + (f"\n\n{text}" if len(rows) > 1 else "")
        return Reply(text, dict(rows))
    rows = [_row(c) for c in shown]
    rows += [
        (shell.prefix, f"enter the shell of the plugin {shell.prefix}") for shell in table.shells
    ]
    return Reply(_table(rows), dict(rows))


def _rows_of(
    table: CommandTable, shown: Sequence[Command], words: Sequence[str]
) -> Sequence[tuple[str, str]]:
    """The commands that begin with these words, a plugin's among them."""
    shell = table.shell(words[0])
    if shell is not None:
        return [(f"{shell.prefix} {command.name}", command.help) for command in shell.commands]
    rows = [_row(command) for command in shown if _begins(command, words)]
    if not rows:
        begun = " ".join(words)
        raise CommandError(f"no command begins with {begun!r}; help lists what there is")
    return rows


def _begins(command: Command, words: Sequence[str]) -> bool:
    names = (command.name, *command.aliases)
    return any(name.split()[: len(words)] == list(words) for name in names)


def _row(command: Command) -> tuple[str, str]:
    names = (command.name, *command.aliases)
    # `trust ids list` is `trust ids`, and a word less to read.
    shown = [name for name in names if name not in {f"{other} list" for other in names}]
    return f"{' | '.join(shown)} {command.usage}".rstrip(), command.help


def _table(rows: Sequence[tuple[str, str]]) -> str:
    """As wide as a terminal is at least; what is long goes on below."""
    width = min(max((len(name) for name, _ in rows), default=0), _USAGE_COLUMNS)
    lines = []
    for name, text in rows:
        folded = wrap(text, _COLUMNS - width - 2) or [""]
        if len(name) > width:
            lines.append(name)
        heads = ["" if len(name) > width else name, *[""] * (len(folded) - 1)]
        pairs = zip(heads, folded, strict=True)
        lines += [f"{head:<{width}}  {part}".rstrip() for head, part in pairs]
    return "\n".join(lines)
