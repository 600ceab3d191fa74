"""Nodes in this process that know relays and not each other, over real connections."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from thenodes_core import Config, DiscoveryTable, NetworkTable, Node, RelayTable
from thenodes_plugin_api import (
    DeliveryOptions,
    DeliveryOutcome,
    DeliveryStatus,
    Message,
    Payload,
    Plugin,
    PluginContext,
    QoS,
    SendError,
    Text,
)

__all__ = ["Inbox", "User", "users"]

RELIABLE = DeliveryOptions(qos=QoS.RELIABLE)
_UNSTORED = DeliveryOptions(store=False)


class Inbox(Plugin):
    """Keeps what comes: the texts of each sender, in order."""

    abi = 1

    def __init__(self) -> None:
        self.texts: dict[str, list[str]] = {}
        self.count = 0
        self.ctx: PluginContext

    async def on_start(self, ctx: PluginContext) -> None:
        self.ctx = ctx

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        if isinstance(message.body, Text) and message.payload is not None:
            self.texts.setdefault(message.sender, []).append(message.payload.as_text())
            self.count += 1

    def twice(self) -> list[str]:
        """What came more than once."""
        return [
            text
            for texts in self.texts.values()
            for text, times in Counter(texts).items()
            if times > 1
        ]


class User:
    """A node that uses relays.

    Args:
        name: a word for it.
        addresses: of the relays, in the order in which it uses them.
    """

    def __init__(self, name: str, addresses: Sequence[str]) -> None:
        self.name = name
        self.inbox = Inbox()
        config = Config(
            port=0,
            discovery=DiscoveryTable(enabled=False),
            network=NetworkTable(relay=RelayTable(use=tuple(addresses))),
        )
        self.node = Node(config, plugins={"inbox": self.inbox})

    async def send(
        self,
        to: str,
        text: str,
        options: DeliveryOptions = RELIABLE,
        *,
        timeout_seconds: float = 60.0,
    ) -> DeliveryOutcome:
        """Send a text."""
        return await self.inbox.ctx.send(
            to, Text(""), Payload.text(text), options=options, timeout_seconds=timeout_seconds
        )

    async def store(self, to: str, text: str, *, timeout_seconds: float = 60.0) -> None:
        """Send a reliable text, which a relay is to store."""
        outcome = await self.send(to, text, timeout_seconds=timeout_seconds)
        assert outcome.status is DeliveryStatus.STORED, outcome

    async def reach(self, other: User, seconds: float) -> float:
        """Send until something arrives; returns the seconds that took."""
        begun, had = time.monotonic(), other.inbox.count
        async with asyncio.timeout(seconds):
            while other.inbox.count == had:
                with contextlib.suppress(SendError):
                    await self.send(other.node.id, "again", _UNSTORED, timeout_seconds=1.0)
                await asyncio.sleep(0.05)
        return time.monotonic() - begun

    async def reach_reliably(self, other: User, seconds: float) -> float:
        """Send one text that may not be lost; returns the seconds until it has arrived."""
        begun = time.monotonic()
        text = f"once {begun}"
        async with asyncio.timeout(seconds):
            await self.store(other.node.id, text)
            while text not in other.inbox.texts.get(self.node.id, ()):
                await asyncio.sleep(0.01)
        return time.monotonic() - begun

    @property
    def is_alone(self) -> bool:
        """Whether it has no session with anybody."""
        return not self.node.peers.all()

    def counter(self, name: str) -> int:
        """One of its counters."""
        return self.node.counters.get(name)


@asynccontextmanager
async def users(addresses: Sequence[str], *names: str) -> AsyncIterator[list[User]]:
    """Start nodes."""
    made = [User(name, addresses) for name in names]
    async with AsyncExitStack() as stack:
        for user in made:
            await stack.enter_async_context(user.node)
        yield made
