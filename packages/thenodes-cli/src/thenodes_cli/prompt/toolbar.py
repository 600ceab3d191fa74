"""The line below the input: what an operator wants to see at a glance."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import msgspec

from thenodes_core.control.access import Access
from thenodes_core.text import printable
from thenodes_plugin_api import TheNodesError

__all__ = ["Glance", "Glances", "Part", "fit"]

Part = tuple[str, str]
"""A style's name, and the text in it."""

_COMMAND = "glance"
_SECONDS = 1.0
_SHOWN_ID = 12
_SHOWN_NAME = 24
_GAP = "  "
# What is left out first where a terminal is narrow.
_LEAST = ("realm", "relay", "id", "peers")


class Glance(msgspec.Struct, frozen=True):
    """What the command `glance` tells.

    Attributes:
        node_id: the node's id.
        realm: its realm.
        peers: how many are connected.
        relay: what it has to do with relays, in a word; None where it has nothing.
        errors: warnings and errors that nobody looked at yet.
    """

    node_id: str
    realm: str
    peers: int
    relay: str | None = None
    errors: int = 0


def fit(glance: Glance, columns: int) -> list[Part]:
    """As much of it as so many columns hold, the weightiest first."""
    errors = f"{glance.errors} unread {'error' if glance.errors == 1 else 'errors'}"
    shown = {
        "id": _short(glance.node_id, _SHOWN_ID),
        "realm": _short(glance.realm, _SHOWN_NAME),
        "peers": f"{glance.peers} {'peer' if glance.peers == 1 else 'peers'}",
        "relay": _short(glance.relay, _SHOWN_NAME) if glance.relay else "",
        "errors": errors if glance.errors else "",
    }
    shown = {name: text for name, text in shown.items() if text}
    for name in _LEAST:
        if _width(shown) <= columns:
            break
        if len(shown) > 1:
            shown.pop(name, None)
    return [(name, text[: max(columns - 2, 0)]) for name, text in shown.items()]


def _width(shown: dict[str, str]) -> int:
    return sum(len(text) for text in shown.values()) + len(_GAP) * (len(shown) - 1) + 2


def _short(text: str, most: int) -> str:
    text = printable(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


class Glances:
    """Asks for a glance once a second.

    Args:
        access: the node's commands.
        changed: called when there is another.
        seconds: from one to the next.
    """

    def __init__(
        self, access: Access, changed: Callable[[], None], *, seconds: float = _SECONDS
    ) -> None:
        self._access = access
        self._changed = changed
        self._seconds = seconds
        self.last: Glance | None = None

    async def run(self) -> None:
        """Ask for ever; where the node tells nothing, there is none."""
        while True:
            before, self.last = self.last, await self._ask()
            if self.last != before:
                self._changed()
            await asyncio.sleep(self._seconds)

    async def _ask(self) -> Glance | None:
        try:
            async with aclosing(self._access.answers(_COMMAND)) as replies:
                async for reply in replies:
                    return msgspec.convert(reply.data, Glance, from_attributes=True)
        except (TheNodesError, msgspec.ValidationError):
            pass
        return None
