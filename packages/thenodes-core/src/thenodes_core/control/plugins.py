"""The commands that look at plugins and change them while the node runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from ..errors import CommandError, CommandFailed
from ..text import printable
from .commands import CommandTable, Reply, Run
from .status import PluginLine

__all__ = ["PluginView", "add_plugin_commands"]

_SHOWN_ABI = "none"


class PluginView(Protocol):
    """What these commands act on."""

    def plugins(self) -> Sequence[PluginLine]:
        """Every plugin, the rejected ones last."""
        ...

    async def reload_plugin(self, plugin_id: str) -> str:
        """Load it anew."""
        ...

    async def enable_plugin(self, plugin_id: str) -> str:
        """Start it."""
        ...

    async def disable_plugin(self, plugin_id: str) -> str:
        """Stop it."""
        ...


def add_plugin_commands(table: CommandTable, view: PluginView) -> None:
    """Add `plugins` and `plugin …`."""

    async def show_all(words: Sequence[str]) -> Reply:
        if words:
            raise CommandError(f"plugins takes no arguments, got {' '.join(words)!r}")
        lines = view.plugins()
        return Reply(_listed(lines) or "no plugins", lines)

    async def info(words: Sequence[str]) -> Reply:
        plugin_id = _only("info", words)
        found = [line for line in view.plugins() if line.id == plugin_id]
        if not found:
            known = ", ".join(dict.fromkeys(line.id for line in view.plugins())) or "none"
            raise CommandFailed(f"no plugin {plugin_id!r}; there are: {known}")
        return Reply("\n\n".join(_described(line) for line in found), found[0])

    def changer(name: str, change: Callable[[str], Awaitable[str]]) -> Run:
        async def run(words: Sequence[str]) -> Reply:
            plugin_id = _only(name, words)
            text = await change(plugin_id)
            now = next((line for line in view.plugins() if line.id == plugin_id), None)
            return Reply(printable(text), now)

        return run

    def ids() -> Sequence[str]:
        return list(dict.fromkeys(line.id for line in view.plugins()))

    table.define("plugins", show_all)
    table.define("plugin info", info, complete=ids)
    for name, change in (
        ("reload", view.reload_plugin),
        ("enable", view.enable_plugin),
        ("disable", view.disable_plugin),
    ):
        table.define(f"plugin {name}", changer(name, change), complete=ids)


def _listed(lines: Sequence[PluginLine]) -> str:
    rows = [
        (line.id, line.version, f"ABI {_abi(line)}", line.state, " ".join(line.codes), line.source)
        for line in lines
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)] if rows else []
    return "\n".join(
        printable(
            "  ".join([*(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=False)), row[-1]])
        )
        for row in rows
    )


def _described(line: PluginLine) -> str:
    rows = [
        ("plugin", f"{line.id} {line.version}".strip()),
        ("state", line.state),
        ("ABI", _abi(line)),
        ("source", line.source),
        ("prefix", line.prefix or "none"),
        ("faults", str(line.faults)),
    ]
    if line.codes:
        rows.append(("codes", " ".join(line.codes)))
    if line.detail:
        rows.append(("detail", line.detail))
    return "\n".join(printable(f"{name:<8}{value}") for name, value in rows)


def _abi(line: PluginLine) -> str:
    return _SHOWN_ABI if line.abi is None else f"{line.abi}.{line.abi_revision or 0}"


def _only(name: str, words: Sequence[str]) -> str:
    if len(words) != 1:
        got = " ".join(words) or "nothing"
        raise CommandError(f"plugin {name} <id>: expected one word, got {got!r}")
    return words[0]
