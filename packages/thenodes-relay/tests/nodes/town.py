"""Relays and their users in one process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from msgspec import structs

from thenodes_core import (
    Config,
    DiscoveryTable,
    EncryptionTable,
    Limits,
    ManualClock,
    MemoryNetwork,
    NetworkTable,
    Node,
    NodeTable,
    RelayTable,
)
from thenodes_core.clock import Timer, settle
from thenodes_core.transport.memory import MemoryLink
from thenodes_plugin_api import (
    DeliveryOptions,
    Event,
    Extension,
    Message,
    Payload,
    Plugin,
    PluginContext,
    RelayNotify,
    SendError,
    Text,
)

__all__ = ["Log", "Town", "TownClock", "User", "town"]

T = TypeVar("T")

_LATE_STEPS = 2000

_PORTS = {"relay-a": 1001, "relay-b": 1002}


class Inbox(Plugin):
    """Keeps what comes, and answers questions with what was asked."""

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
        elif isinstance(message.body, Extension) and message.body.request_id is not None:
            await ctx.reply(message, message.payload)
        else:
            self.messages.append(message)

    def texts(self) -> list[str]:
        """The payloads, in order."""
        return [message.payload.as_text() for message in self.messages if message.payload]


class TownClock:
    """A node's own clock: it goes as the town's does, and may be set otherwise.

    Attributes:
        ahead_seconds: how far its time of day is ahead of the town's.
    """

    def __init__(self, clock: ManualClock) -> None:
        self.ahead_seconds = 0.0
        self._clock = clock

    def time(self) -> float:
        """Unix seconds, as it is set."""
        return self._clock.time() + self.ahead_seconds

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._clock.sleep(seconds)

    def call_later(self, seconds: float, action: Callable[[], object]) -> Timer:
        """Call `action` once, after `seconds`."""
        return self._clock.call_later(seconds, action)


class Log:
    """Keeps a node's events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def handle(self, event: Event) -> None:
        """Take one."""
        self.events.append(event)

    def details(self, action: str) -> list[str]:
        """What was told under that name."""
        found = [event for event in self.events if getattr(event, "action", None) == action]
        return [getattr(event, "detail", "") for event in found]


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
        clocks: each node's own, by name.
        logs: each node's events, by name.
    """

    def __init__(self, state: Path) -> None:
        self.clock = ManualClock()
        self.network = MemoryNetwork(clock=self.clock)
        self.clocks: dict[str, TownClock] = {}
        self.logs: dict[str, Log] = {}
        self._state = state
        self._running: dict[str, AsyncExitStack] = {}

    def state(self, name: str) -> Path:
        """The state directory of a node."""
        return self._state / name

    async def relay(
        self,
        name: str = "relay-a",
        *,
        stores: bool = False,
        limits: Limits | None = None,
        **table: Any,
    ) -> Node:
        """Start a relay; `table` is what else its `[network.relay]` says."""
        relay = RelayTable(enabled=True, store_forward=stores, **table)
        config = Config(port=_PORTS[name], limits=limits or Limits())
        return await self._start(name, config, relay, None)

    async def user(
        self,
        name: str,
        *relays: str,
        rendezvous: bool = True,
        encryption: EncryptionTable | None = None,
        limits: Limits | None = None,
        **table: Any,
    ) -> User:
        """Start a node that uses these relays; `relay-a` where none is given."""
        use = tuple(f"127.0.0.1:{_PORTS[relay]}" for relay in relays or ("relay-a",))
        relay = RelayTable(use=use, selection="rendezvous" if rendezvous else "none", **table)
        inbox = Inbox()
        config = Config(
            port=0,
            encryption=encryption or EncryptionTable(),
            limits=limits or Limits(),
        )
        return User(await self._start(name, config, relay, inbox), inbox)

    async def outsider(
        self, name: str, *relays: str, port: int = 0, dials: tuple[str, ...] = ()
    ) -> Node:
        """Start a node without the plugin, with sessions to these relays and addresses."""
        dialled = tuple(f"127.0.0.1:{_PORTS[relay]}" for relay in relays)
        config = Config(port=port, bootstrap_nodes=dialled + dials)
        return await self._start(name, config, RelayTable(), None)

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
        waited, late = 0.0, 0
        while not condition():
            if waited < seconds:
                await self.clock.advance(0.1)
                waited += 0.1
            else:
                assert late < _LATE_STEPS, f"not within {seconds} s"
                late += 1
            # Threads that write to disk go by no clock, and on a busy machine they are late.
            await asyncio.sleep(0.005)

    async def result(self, work: Coroutine[object, object, T], seconds: float = 10.0) -> T:
        """Let time pass until that is done."""
        task = asyncio.ensure_future(work)
        await self.until(task.done, seconds)
        return await task

    async def _start(
        self, name: str, config: Config, table: RelayTable, inbox: Inbox | None
    ) -> Node:
        config = structs.replace(
            config,
            node=NodeTable(state_dir=str(self.state(name))),
            discovery=DiscoveryTable(enabled=False),
            network=NetworkTable(relay=table),
        )
        plugins = {} if inbox is None else {"inbox": inbox}
        stack = AsyncExitStack()
        clock = self.clocks.setdefault(name, TownClock(self.clock))
        log = self.logs.setdefault(name, Log())
        node = Node(config, plugins=plugins, sinks=(log,), transport=self.network, clock=clock)
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
