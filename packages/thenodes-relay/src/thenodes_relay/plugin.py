"""The plugin class: it announces itself, and carries no messages yet."""

from __future__ import annotations

from thenodes_plugin_api import Plugin, PluginContext, PluginEvent, PluginRegistrarApi

from ._version import __version__

__all__ = ["RelayService", "register_plugin"]


class RelayService(Plugin):
    """Says which version is installed. Binding, forwarding and storing are not built yet."""

    abi = 1

    async def on_start(self, ctx: PluginContext) -> None:
        """Announce the version as an event."""
        ctx.events.emit(
            PluginEvent(
                plugin=ctx.plugin_id,
                action="announced",
                detail=f"thenodes-relay {__version__}: installed; it relays nothing yet",
                at=ctx.clock.time(),
            )
        )


def register_plugin(api: PluginRegistrarApi) -> None:
    """Called by the host once, at load."""
    api.register_plugin(RelayService())
