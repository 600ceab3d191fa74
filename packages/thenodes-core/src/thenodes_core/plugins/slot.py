"""A plugin's place in a node, whichever instance of it runs there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from thenodes_plugin_api import Plugin

from ..clock import Clock, timeout
from ..errors import CommandFailed
from .hook_times import HookTimes
from .inbox import Inbox, Item
from .loader import Loaded
from .runtime import PluginRuntime, State
from .source import Source

__all__ = ["Make", "Slot", "Supervise"]

_STOP_SECONDS = 2.0
_CANCEL_SECONDS = 0.5

Supervise = Callable[[Awaitable[object]], Awaitable[object]]
Make = Callable[[Loaded, Inbox, HookTimes], PluginRuntime]


class Slot:
    """Holds what is loaded, and runs one instance of it at a time.

    Args:
        loaded: the plugin.
        source: where it can be loaded from again; None of an embedded one.
        make: makes an instance that serves an inbox, and counts what its hooks take.
        clock: times the end of an instance.
    """

    def __init__(self, loaded: Loaded, source: Source | None, make: Make, clock: Clock) -> None:
        self.loaded = loaded
        self.source = source
        self.inbox = Inbox()
        self.hook_times = HookTimes()
        self.disabled = False
        self.reason = ""
        self.capabilities: tuple[str, ...] = ()
        self._make = make
        self._clock = clock
        self._supervise: Supervise | None = None
        self._task: asyncio.Task[object] | None = None
        self._faults_before = 0
        self.runtime = make(loaded, self.inbox, self.hook_times)

    @property
    def plugin_id(self) -> str:
        """Whose place it is."""
        return self.loaded.manifest.plugin.id

    @property
    def top(self) -> str:
        """Its top-level package."""
        return self.loaded.manifest.plugin.entry.partition(":")[0].partition(".")[0]

    @property
    def state(self) -> str:
        """Where the plugin stands."""
        return "disabled" if self.disabled else self.runtime.state

    @property
    def why(self) -> str:
        """Why it stands there, where that is no good, or what went wrong with a change."""
        return self.runtime.reason or self.reason

    @property
    def faults(self) -> int:
        """How often something of it raised since the node started."""
        return self._faults_before + self.runtime.faults

    @property
    def is_up(self) -> bool:
        """True where it runs or is about to."""
        return not self.disabled and self.runtime.state in (State.LOADED, State.RUNNING)

    @property
    def listens(self) -> bool:
        """Whether the plugin does anything with a message; a service need not."""
        return getattr(type(self.loaded.plugin), "on_message", None) is not Plugin.on_message

    @property
    def reads_text(self) -> bool:
        """Whether TEXT is for the plugin."""
        return self.loaded.manifest.messages.text

    @property
    def task(self) -> asyncio.Task[object] | None:
        """The task of the instance that runs."""
        return self._task if self._task is not None and not self._task.done() else None

    def offer(self, items: Sequence[Item]) -> bool:
        """Put items into the inbox; see `PluginRuntime.offer`."""
        return self.runtime.offer(items)

    async def prompt(self, line: str) -> str | None:
        """Ask the plugin to answer a line; see `PluginRuntime.prompt`."""
        if self.disabled:
            way_out = f"plugin enable {self.plugin_id} starts it"
            raise CommandFailed(f"plugin {self.plugin_id} is disabled; {way_out}")
        return await self.runtime.prompt(line)

    def run(self, supervise: Supervise) -> None:
        """Begin to run the instance that is there.

        Args:
            supervise: reports a defect of ours that ends it.
        """
        self._supervise = supervise
        # Not in a TaskGroup: a plugin that does not end must not hold up the stop.
        self._task = asyncio.ensure_future(_run(supervise, self.runtime))
        self._task.set_name(self.plugin_id)

    async def renew(self, loaded: Loaded) -> bool:
        """Run another instance, which serves the same inbox; True once it has started."""
        if self._supervise is None:
            return False
        self._faults_before = self.faults
        self.runtime = self._make(loaded, self.inbox, self.hook_times)
        self.run(self._supervise)
        await self.runtime.wait_started()
        return self.runtime.state is State.RUNNING

    async def end(self, *, hold: bool) -> bool:
        """End the instance that runs, and leave it behind where it does not end.

        Args:
            hold: keep what is in the inbox for the next.

        Returns:
            False where it was left behind.
        """
        runtime, task = self.runtime, self.task
        if hold:
            runtime.hold()
        else:
            runtime.stop()
        ended = task is None or await self._wait(task, _STOP_SECONDS)
        if task is not None and not ended:
            task.cancel()
            ended = await self._wait(task, _CANCEL_SECONDS)
        if hold:
            runtime.abandon()
        else:
            runtime.retire()
        return ended

    async def _wait(self, task: asyncio.Task[object], seconds: float) -> bool:
        try:
            async with timeout(self._clock, seconds):
                await asyncio.wait({task})
        except TimeoutError:
            return False
        return True


async def _run(supervise: Supervise, runtime: PluginRuntime) -> None:
    await supervise(runtime.run())
