"""The class that a plugin author derives from."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from .config import ConfigDefaults
from .context import PluginContext
from .messages import Message
from .peers import PeerJoined, PeerLeft

__all__ = ["Plugin"]


class Plugin:
    """A plugin: override what you need.

    The host calls the hooks of one plugin one after the other, never two at
    once, so they need no locks. A hook that waits delays the plugin's next
    message and nothing else: use `ctx.spawn` for long work.

    Attributes:
        abi: the ABI generation this was written for; a literal, equal to the manifest's.
        prompt_prefix: the word that enters the plugin's shell at the prompt, or None.
        config_type: the type of its table `[plugin.<id>]`; without it, the manifest's
            defaults say which keys there are, and of which types.
    """

    abi: ClassVar[int]
    prompt_prefix: ClassVar[str | None] = None
    config_type: ClassVar[type[msgspec.Struct] | None] = None

    def early_config_defaults(self) -> ConfigDefaults | None:
        """Return settings for the node, asked for before it starts."""
        return None

    async def on_start(self, ctx: PluginContext) -> None:
        """Called once, before any other hook below."""

    async def on_stop(self, ctx: PluginContext) -> None:
        """Called once, last; spawned work is cancelled after it."""

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        """Called for each message that is for this plugin.

        These are EXTENSION messages whose kind the manifest claims, and every
        TEXT, DATA_REQUEST, DATA_RESPONSE and RELAY_NOTIFY.
        """

    async def on_peer(self, event: PeerJoined | PeerLeft, ctx: PluginContext) -> None:
        """Called when a peer was admitted, and when it is gone."""

    async def on_prompt(self, line: str, ctx: PluginContext) -> str | None:
        """Answer a line typed in the plugin's shell; None prints nothing."""
        return None
