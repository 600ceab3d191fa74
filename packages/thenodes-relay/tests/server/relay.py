"""The plugin in a context without a node, with the door of a test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from thenodes_plugin_api.testing import ManualClock, RecordingContext
from thenodes_relay import RelayService

from .door import Door

__all__ = ["Relay", "start"]


class ServiceContext(RecordingContext):
    """A recording context that has a door."""

    def __init__(self, door: Door, data_dir: Path, clock: ManualClock) -> None:
        super().__init__("relay", node_id="relay-node", data_dir=data_dir, clock=clock)
        self._door = door

    @property
    def service(self) -> Door:
        return self._door


class Relay:
    """A relay that runs; `door` is the test's way to it."""

    def __init__(self, plugin: RelayService, door: Door, context: ServiceContext) -> None:
        self.plugin = plugin
        self.door = door
        self.context = context
        self.clock = context.clock
        self.counters = door.counters

    async def stop(self) -> None:
        """Stop it."""
        await self.plugin.on_stop(self.context)
        await self.context.close()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what the store's threads bring about."""
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.001)

    async def moved(self, counter: str, number: int = 1) -> None:
        """Wait until a counter stands at that number."""
        await self.until(lambda: self.counters[counter] >= number)

    async def moved_in_time(self, counter: str, number: int = 1) -> None:
        """Let time pass until a counter stands at that number."""
        async with asyncio.timeout(10):
            while self.counters[counter] < number:
                await self.clock.advance(0.5)
                await asyncio.sleep(0.001)

    async def command(self, line: str) -> str:
        """Run a command, and return its text."""
        words = line.split()
        name = max(
            (name for name in self.door.commands if words[: len(name.split())] == name.split()),
            key=len,
        )
        reply = await self.door.commands[name].run(words[len(name.split()) :])
        return reply.text


async def start(data_dir: Path, table: Mapping[str, object], **limits: int) -> Relay:
    """Start a relay with these settings, and limits of its node."""
    door = Door({"enabled": True, **table}, **limits)
    context = ServiceContext(door, data_dir, ManualClock())
    plugin = RelayService()
    await plugin.on_start(context)
    return Relay(plugin, door, context)
