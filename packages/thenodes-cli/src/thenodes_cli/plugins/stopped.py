"""The plugins of a node that does not run: what it would load."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from thenodes_core.config import expand
from thenodes_core.control.commands import CommandTable, Reply
from thenodes_core.control.plugins import add_plugin_commands
from thenodes_core.control.status import PluginLine
from thenodes_core.errors import CommandFailed
from thenodes_core.plugins.find import candidates
from thenodes_core.plugins.gates import scan
from thenodes_core.relayed.plugin import relay_plugins

from ..node_files import NodeFiles
from .judging import policy_of

__all__ = ["look", "would_load"]

ACCEPTED = "accepted"
"""The state of a plugin that a node would load; it becomes another once one does."""


def look(files: NodeFiles, line: str) -> Reply:
    """Run a prompt command that looks at plugins; none of their code is run.

    Raises:
        StateDirError: `plugins.lock` cannot be read.
        CommandFailed: there is no such plugin.
    """
    table = CommandTable()
    add_plugin_commands(table, _Stopped(files))
    return asyncio.run(table.run(line))


def would_load(files: NodeFiles) -> Sequence[PluginLine]:
    """Every plugin that the settings name, judged, the rejected ones last.

    Raises:
        StateDirError: `plugins.lock` cannot be read.
    """
    return _Stopped(files).plugins()


class _Stopped:
    """What the settings of a node name, judged."""

    def __init__(self, files: NodeFiles) -> None:
        config = files.config.plugins
        directory = expand(config.directory) if config.directory else None
        paths = [expand(path) for path in config.paths]
        defaults = relay_plugins(files.config.network.relay)
        named = candidates(paths, directory, config.installed, defaults)
        self._found = scan(named, policy_of(files))
        self._state_dir = files.state_dir

    def plugins(self) -> Sequence[PluginLine]:
        """Every plugin, the rejected ones last."""
        accepted = [
            PluginLine(
                id=source.manifest.plugin.id,
                version=source.manifest.plugin.version,
                state=ACCEPTED,
                source=source.origin,
                detail="no node runs here; it would be loaded",
                abi=source.manifest.plugin.abi,
                abi_revision=source.manifest.plugin.abi_revision,
                prefix=source.manifest.prompt.prefix,
            )
            for source in self._found.accepted
        ]
        rejected = [
            PluginLine(
                id=verdict.id or verdict.origin,
                version=verdict.version or "",
                state="rejected",
                source=verdict.origin,
                detail="; ".join(str(fault) for fault in verdict.faults),
                codes=verdict.codes,
            )
            for verdict in self._found.verdicts
            if not verdict.accepted
        ]
        return [*accepted, *rejected]

    async def reload_plugin(self, plugin_id: str) -> str:
        """Not without a node."""
        raise self._no_node()

    async def enable_plugin(self, plugin_id: str) -> str:
        """Not without a node."""
        raise self._no_node()

    async def disable_plugin(self, plugin_id: str) -> str:
        """Not without a node."""
        raise self._no_node()

    def _no_node(self) -> CommandFailed:
        return CommandFailed(f"no node runs on {self._state_dir}")
