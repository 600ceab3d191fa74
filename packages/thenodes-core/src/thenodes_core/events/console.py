"""Events as lines for people."""

from __future__ import annotations

import time
from collections.abc import Callable

from thenodes_plugin_api import (
    Event,
    Level,
    NetworkEvent,
    PluginEvent,
    PromotionEvent,
    SystemEvent,
    TrustDecisionEvent,
)

from ..text import printable

__all__ = ["ConsoleSink", "describe"]


class ConsoleSink:
    """Writes one line an event.

    Args:
        write: takes a line without its end, free of control characters.
        level: events below it are left out.
    """

    def __init__(self, write: Callable[[str, Level], None], *, level: Level = Level.INFO) -> None:
        self._write = write
        self._severity = level.severity

    async def handle(self, event: Event) -> None:
        """Write the event."""
        if event.level.severity >= self._severity:
            clock = time.strftime("%H:%M:%S", time.localtime(event.at))
            self._write(f"{clock} {event.level.value:<7} {describe(event)}", event.level)


def describe(event: Event) -> str:
    """The event in one line without control characters."""
    match event:
        case SystemEvent():
            text = event.detail or event.action
        case NetworkEvent():
            text = event.detail or " ".join(
                part for part in (event.action, event.node_id, event.addr, event.reason) if part
            )
        case PluginEvent():
            text = f"[{event.plugin}] {event.detail or event.action}"
        case PromotionEvent():
            done = "moved" if event.success else "not moved"
            way = f"from {event.from_store} to {event.to_store} by {event.operator}"
            text = f"key {event.fingerprint} {done} {way}"
        case TrustDecisionEvent():
            key = f"key {event.fingerprint}" if event.fingerprint else "no key"
            done = "admitted" if event.decision == "accept" else "refused"
            why = f"{event.reason} (mode {event.mode})"
            text = f"trust policy: {event.peer_addr or 'a peer'} {done}, {why}, {key}"
    return printable(text)
