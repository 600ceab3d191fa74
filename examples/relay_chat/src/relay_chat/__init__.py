"""Messages to nodes that cannot be reached, or are away: a relay keeps them.

The plugin does nothing for it but ask: `ctx.send` goes over the session with a node where
there is one, and otherwise through a relay that the node uses.
"""

from __future__ import annotations

from collections import deque

import msgspec

from thenodes_plugin_api import (
    DeliveryOptions,
    DeliveryOutcome,
    DeliveryStatus,
    Extension,
    Message,
    NotConnected,
    Payload,
    PayloadError,
    Plugin,
    PluginContext,
    PluginRegistrarApi,
    QoS,
    RelayNotify,
    SendError,
)

__all__ = ["ChatPlugin", "register_plugin"]

SAY = "chat.say"
USAGE = "say NODE TEXT | read"

WITHIN_A_DAY = DeliveryOptions(qos=QoS.RELIABLE, ttl_seconds=24 * 3600)

MOST_LINES = 1000
"""What was said first is forgotten first."""


class Said(msgspec.Struct, frozen=True):
    """What somebody said, and how that was proven."""

    sender: str
    text: str
    verified: str

    def __str__(self) -> str:
        return f"{self.sender}: {self.text} ({self.verified})"


class ChatPlugin(Plugin):
    """The chat."""

    abi = 1
    prompt_prefix = "chat"

    def __init__(self) -> None:
        self._said: deque[Said] = deque(maxlen=MOST_LINES)

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        match message.body:
            case Extension(kind=kind) if kind == SAY:
                if message.payload is None:
                    raise PayloadError(f"{SAY} without a text")
                text = message.payload.as_text()
                self._said.append(Said(message.sender, text, message.verified.value))
            case RelayNotify(notif_type=reason, detail=detail):
                ctx.logger.warning("a relay tells: %s, %s", reason, detail)

    async def on_prompt(self, line: str, ctx: PluginContext) -> str | None:
        words = line.split(maxsplit=2)
        match words:
            case ["say", node, text]:
                return await self._say(node, text, ctx)
            case ["read"]:
                return "\n".join(map(str, self._said)) or "nothing was said"
            case _:
                return f"usage: {USAGE}"

    async def _say(self, node: str, text: str, ctx: PluginContext) -> str:
        try:
            outcome = await ctx.send(
                node, Extension(SAY), Payload.text(text), timeout_seconds=10.0, options=WITHIN_A_DAY
            )
        except NotConnected as error:
            return f"{node} cannot be reached: {error}"
        except SendError as error:
            return f"not sent: {error}"
        return _tell(outcome)


def _tell(outcome: DeliveryOutcome) -> str:
    if not outcome.ok:
        return f"refused by {outcome.relay}: {outcome.reason}, {outcome.detail}"
    if outcome.status is DeliveryStatus.STORED:
        return f"stored at {outcome.relay}"
    return "sent" if outcome.relay is None else f"sent to {outcome.relay}"


def register_plugin(api: PluginRegistrarApi) -> None:
    """Called by the host once, at load."""
    api.register_plugin(ChatPlugin())
