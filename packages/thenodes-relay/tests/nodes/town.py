"""Relays and their users in one process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

from thenodes_core import (
    Config,
    DiscoveryTable,
    ManualClock,
    MemoryNetwork,
    NetworkTable,
    Node,
    NodeTable,
    RelayTable,
)
from thenodes_core.clock import settle
from thenodes_core.transport.memory import MemoryLink
from thenodes_plugin_api import (
    DeliveryOptions,
    Message,
    Payload,
    Plugin,
    PluginContext,
    RelayNotify,
    SendError,
    Text,
)

__all__ = ["Town", "User", "town"]

T = TypeVar("T")

_PORTS = {"relay-a": 1001, "relay-b": 1002}


class Inbox(Plugin):
    """Keeps what comes."""

    abi = 1

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.notices: list[RelayNotify] = []
        self.ctx: PluginContext

    async def on_start(self, ctx: PluginContext) -> None:
        self.ctx = ctx

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        if isinstance(message.body, RelayNotify):
            self.notices.append(message.body)
        else:
            self.messages.append(message)

    def texts(self) -> list[str]:
        """The payloads, in order."""
        return [message.payload.as_text() for message in self.messages if message.payload]


class User:
    """A node that uses relays.

    Attributes:
        node: the node.
        inbox: its plugin.
    """

    def __init__(self, node: Node, inbox: Inbox) -> None:
        self.node = node
        self.inbox = inbox


class Town:
    """Nodes of one network in memory; the same name has the same key each time.

    Attributes:
        network: between them.
        clock: time of all.
    """

    def __init__(self, state: Path) -> None:
        self.clock = ManualClock()
        self.network = MemoryNetwork(clock=self.clock)
        self._state = state
        self._running: dict[str, AsyncExitStack] = {}

    async def relay(self, name: str = "relay-a", *, stores: bool = False) -> Node:
        """Start a relay."""
        table = RelayTable(enabled=True, store_forward=stores)
        return await self._start(name, table, None, port=_PORTS[name])

    async def user(self, name: str, *relays: str, rendezvous: bool = True) -> User:
        """Start a node that uses these relays; `relay-a` where none is given."""
        use = tuple(f"127.0.0.1:{_PORTS[relay]}" for relay in relays or ("relay-a",))
        table = RelayTable(use=use, selection="rendezvous" if rendezvous else "none")
        inbox = Inbox()
        return User(await self._start(name, table, inbox, port=0), inbox)

    def kill(self, relay: str) -> None:
        """Let a relay be gone: its links break, and nobody answers at its port."""
        for link in self._links(relay):
            link.abort()
        self.network.forget(_PORTS[relay])

    def silence(self, relay: str, *, for_good: bool = True) -> None:
        """Let whatever is on a relay's links be lost, though they stay open.

        For good, it has no new links either.
        """
        void = MemoryNetwork(clock=self.clock, loss=1.0)
        for link in self._links(relay):
            link._network = void
        if for_good:
            self.network.forget(_PORTS[relay])

    def _links(self, relay: str) -> list[MemoryLink]:
        address = f"127.0.0.1:{_PORTS[relay]}"
        near = [link for link in self.network.links if link.remote == address]
        return [*near, *(link.other for link in near)]

    async def reach(self, sender: User, receiver: User) -> float:
        """Send until something arrives; returns the seconds that took."""
        begun, had = self.clock.time(), len(receiver.inbox.messages)
        options = DeliveryOptions(store=False)

        async def keep_sending() -> None:
            while len(receiver.inbox.messages) == had:
                with contextlib.suppress(SendError):
                    await sender.inbox.ctx.send(
                        receiver.node.id,
                        Text(""),
                        Payload.text("again"),
                        timeout_seconds=1.0,
                        options=options,
                    )
                await self.clock.sleep(0.1)

        await self.result(keep_sending(), 60.0)
        return self.clock.time() - begun

    async def stop(self, name: str) -> None:
        """Stop a node."""
        await self._running.pop(name).aclose()
        await settle()

    async def close(self) -> None:
        """Stop every node, those that were started last first."""
        for name in reversed(list(self._running)):
            await self.stop(name)

    async def until(self, condition: Callable[[], object], seconds: float = 10.0) -> None:
        """Let time pass until `condition()` is true; a disk may take its own time."""
        waited = 0.0
        while not condition():
            assert waited < seconds, f"not within {seconds} s"
            await self.clock.advance(0.1)
            waited += 0.1
            # Threads that write to disk go by no clock.
            await asyncio.sleep(0.005)

    async def result(self, work: Coroutine[object, object, T], seconds: float = 10.0) -> T:
        """Let time pass until that is done."""
        task = asyncio.ensure_future(work)
        await self.until(task.done, seconds)
        return await task

    async def _start(self, name: str, table: RelayTable, inbox: Inbox | None, *, port: int) -> Node:
        config = Config(
            port=port,
            node=NodeTable(state_dir=str(self._state / name)),
            discovery=DiscoveryTable(enabled=False),
            network=NetworkTable(relay=table),
        )
        plugins = {} if inbox is None else {"inbox": inbox}
        stack = AsyncExitStack()
        node = Node(config, plugins=plugins, transport=self.network, clock=self.clock)
        await stack.enter_async_context(node)
        self._running[name] = stack
        await settle()
        return node


@asynccontextmanager
async def town(state: Path) -> AsyncIterator[Town]:
    """A town that is stopped in the end."""
    made = Town(state)
    try:
        yield made
    finally:
        await made.close()
