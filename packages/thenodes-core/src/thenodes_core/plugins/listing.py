"""What is told of plugins: how each stands, and its part of the prompt."""

from __future__ import annotations

import msgspec

from thenodes_plugin_api import PromptCommand

from .slot import Slot
from .verdict import Verdict

__all__ = ["PluginShell", "PluginStatus", "rejected_status", "status_of"]


class PluginStatus(msgspec.Struct, frozen=True):
    """What operators are told of a plugin.

    Attributes:
        id: from its manifest; of a rejected one, its source where that cannot be read.
        version: from its manifest.
        state: `loaded`, `running`, `reloading`, `failed`, `quarantined`, `disabled`,
            `stopped` or `rejected`.
        source: where it came from.
        prefix: the word that enters its shell.
        detail: why it was rejected, or stands where it stands, and how often it failed.
        abi: the ABI generation that it was written for.
        abi_revision: the revision that it needs of that generation.
        codes: why it was rejected, as codes of the gates.
        faults: how often something of it raised.
    """

    id: str
    version: str
    state: str
    source: str
    prefix: str | None = None
    detail: str = ""
    abi: int | None = None
    abi_revision: int | None = None
    codes: tuple[str, ...] = ()
    faults: int = 0


class PluginShell(msgspec.Struct, frozen=True):
    """A plugin's part of the prompt."""

    plugin_id: str
    prefix: str
    commands: tuple[PromptCommand, ...]
    slot: Slot

    async def run(self, line: str) -> str | None:
        """Answer a line."""
        return await self.slot.prompt(line)


def status_of(slot: Slot) -> PluginStatus:
    """How a plugin that was loaded stands."""
    manifest = slot.loaded.manifest
    faults = f"{slot.faults} faults" if slot.faults else ""
    return PluginStatus(
        id=slot.plugin_id,
        version=manifest.plugin.version,
        state=slot.state,
        source=slot.loaded.origin,
        prefix=manifest.prompt.prefix,
        detail="; ".join(filter(None, (slot.why, faults))),
        abi=manifest.plugin.abi,
        abi_revision=manifest.plugin.abi_revision,
        faults=slot.faults,
    )


def rejected_status(verdict: Verdict) -> PluginStatus:
    """How a plugin that was kept out stands."""
    return PluginStatus(
        id=verdict.id or verdict.origin,
        version=verdict.version or "",
        state="rejected",
        source=verdict.origin,
        detail="; ".join(str(fault) for fault in verdict.faults),
        codes=verdict.codes,
    )
