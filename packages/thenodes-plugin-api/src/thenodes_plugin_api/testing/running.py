"""One plugin of a mesh node: its inbox, its task, and the wall around its hooks."""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections import Counter, deque
from collections.abc import Awaitable, Callable

from ..errors import PayloadError, SendError
from ..events import Level, PluginEvent
from ..messages import Message
from ..peers import PeerJoined, PeerLeft
from .clock import settle, timeout
from .errors import PromptFailed
from .loading import Registered
from .node_context import NodeContext
from .wall import describe, raise_if_ours

__all__ = ["RunningPlugin", "State"]

_INBOX_ITEMS = 8192
_INBOX_BYTES = 16 * 1024 * 1024
_START_SECONDS = 5.0
_STOP_SECONDS = 0.5
_PROMPT_SECONDS = 30.0
_FAULTS = 10
_FAULT_SECONDS = 60.0

# How long the system gets, such as for a file that on_start reads in a thread.
_SYSTEM_SECONDS = 2.0

Item = Message | PeerJoined | PeerLeft


def _nothing() -> None:
    pass


class State(enum.StrEnum):
    """Where a plugin stands."""

    LOADED = "loaded"
    RUNNING = "running"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    STOPPED = "stopped"


class RunningPlugin:
    """Runs one plugin as a host does.

    The inbox is bounded: 8192 items and 16 MiB of payload. Nobody waits; what does not
    fit is dropped and counted. Hooks run one at a time. Ten faults within a minute put the
    plugin into quarantine: it gets nothing more.

    Attributes:
        registered: manifest and object.
        context: what it was given, with everything that it did.
        state: where it stands.
    """

    def __init__(self, registered: Registered, context: NodeContext, dropped: Counter[str]) -> None:
        self.registered = registered
        self.context = context
        self.state = State.LOADED
        self._dropped = dropped
        self._inbox: deque[tuple[Item, Callable[[], object]]] = deque()
        self._inbox_bytes = 0
        self._wake = asyncio.Event()
        self._one_hook_at_a_time = asyncio.Lock()
        self._started = asyncio.Event()
        self._stop_requested = False
        self._task: asyncio.Task[None] | None = None
        self._fault_times: deque[float] = deque(maxlen=_FAULTS)
        context.told = self._faulted

    @property
    def is_idle(self) -> bool:
        """True where nothing waits for a hook."""
        return not self._inbox or self.state is not State.RUNNING

    def offer(self, item: Item, done: Callable[[], object] = _nothing) -> None:
        """Put an item into the inbox, or drop it where it has no room.

        `done` is called when the hook has returned or raised, or the item was dropped.
        """
        size = _size(item)
        if self.state not in (State.LOADED, State.RUNNING):
            self._dropped["plugin_not_running"] += 1
            done()
        elif len(self._inbox) >= _INBOX_ITEMS or self._inbox_bytes + size > _INBOX_BYTES:
            self._dropped["plugin_inbox_full"] += 1
            done()
        else:
            self._inbox.append((item, done))
            self._inbox_bytes += size
            self._wake.set()

    async def start(self) -> None:
        """Start the task, and wait for `on_start` unless it waits for the clock."""
        self._task = asyncio.create_task(self._run(), name=self.registered.id)
        clock = self.context.clock
        late = clock.call_later(
            _START_SECONDS, lambda: self._report("slow_start", "on_start has not returned")
        )
        others = clock.sleepers
        await settle()
        if not self._started.is_set() and clock.sleepers <= others:
            # It does not wait for the clock, so it waits for the system.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._started.wait(), _SYSTEM_SECONDS)
        if self._started.is_set():
            late.cancel()

    async def stop(self) -> None:
        """Give it what is in the inbox, call `on_stop`, and cut off what does not end."""
        if self._task is None:
            return
        self._stop_requested = True
        self._wake.set()
        clock = self.context.clock
        others = clock.sleepers
        await settle()
        # Beside the budget of on_stop: somebody in it waits for the clock.
        if not self._task.done() and clock.sleepers > others + 1:
            await clock.advance(_STOP_SECONDS)
        else:
            await asyncio.wait([self._task], timeout=_SYSTEM_SECONDS)
        if not self._task.done():
            self._report("slow_stop", f"has not stopped within {_STOP_SECONDS:g} s")
            self._task.cancel()
            await settle()
        await self.context.close()

    async def prompt(self, line: str) -> str | None:
        """Let the plugin answer a line.

        Raises:
            PromptFailed: it is not running, or `on_prompt` raised.
        """
        name = self.registered.id
        if self.state is not State.RUNNING:
            raise PromptFailed(f"plugin {name} is {self.state}")
        try:
            async with timeout(self.context.clock, _PROMPT_SECONDS):
                return await self._ask(line)
        except TimeoutError as error:
            raise PromptFailed(
                f"plugin {name} did not answer within {_PROMPT_SECONDS:g} s"
            ) from error

    async def _ask(self, line: str) -> str | None:
        async with self._one_hook_at_a_time:
            try:
                answer = await self.registered.plugin.on_prompt(line, self.context)
                if not isinstance(answer, str | None):
                    raise TypeError(f"expected str or None, got {type(answer).__name__}")
                return answer
            except BaseException as error:
                raise_if_ours(error)
                self.context.report_fault("on_prompt", error)
                name = self.registered.id
                raise PromptFailed(f"plugin {name} failed: {describe(error)}") from error

    async def _run(self) -> None:
        plugin, context = self.registered.plugin, self.context
        started = await self._hook("on_start", lambda: plugin.on_start(context))
        self.state = State.RUNNING if started else State.FAILED
        self._started.set()
        if not started:
            self._drop_inbox()
            context.shut()
            return
        while self._inbox or not self._stop_requested:
            if self._inbox:
                item, done = self._inbox.popleft()
                await self._give(item)
                done()
            else:
                self._wake.clear()
                await self._wake.wait()
        try:
            async with timeout(context.clock, _STOP_SECONDS):
                await self._hook("on_stop", lambda: plugin.on_stop(context))
        except TimeoutError:
            self._report("slow_stop", f"on_stop has not returned within {_STOP_SECONDS:g} s")
        self.state = State.STOPPED

    async def _give(self, item: Item) -> None:
        plugin = self.registered.plugin
        self._inbox_bytes -= _size(item)
        hook = "on_message" if isinstance(item, Message) else "on_peer"
        try:
            async with self._one_hook_at_a_time:
                if isinstance(item, Message):
                    await plugin.on_message(item, self.context)
                else:
                    await plugin.on_peer(item, self.context)
        except PayloadError as error:
            self._dropped["bad_payload"] += 1
            self._report("bad_payload", f"a message cannot be used: {error}")
        except SendError as error:
            self._dropped["not_sent"] += 1
            self._report("not_sent", f"{hook} could not send: {error}", level=Level.DEBUG)
        except BaseException as error:
            raise_if_ours(error)
            self.context.report_fault(hook, error)

    async def _hook(self, name: str, call: Callable[[], Awaitable[None]]) -> bool:
        try:
            async with self._one_hook_at_a_time:
                await call()
        except BaseException as error:
            raise_if_ours(error)
            self.context.report_fault(name, error)
            return False
        return True

    def _faulted(self) -> None:
        now = self.context.clock.monotonic()
        self._fault_times.append(now)
        few = len(self._fault_times) < _FAULTS or now - self._fault_times[0] > _FAULT_SECONDS
        if few or self.state is not State.RUNNING:
            return
        self.state = State.QUARANTINED
        self._drop_inbox()
        self._report("quarantined", f"{_FAULTS} faults within {_FAULT_SECONDS:g} s")
        self.context.shut()
        if self._task is not None:
            self._task.cancel()

    def _drop_inbox(self) -> None:
        self._dropped["plugin_not_running"] += len(self._inbox)
        for _, done in self._inbox:
            done()
        self._inbox.clear()

    def _report(self, action: str, detail: str, *, level: Level = Level.WARNING) -> None:
        self.context.event_log.emit(
            PluginEvent(
                plugin=self.registered.id,
                action=action,
                detail=detail,
                level=level,
                at=self.context.clock.time(),
            )
        )


def _size(item: Item) -> int:
    if not isinstance(item, Message) or item.payload is None:
        return 0
    return len(item.payload.data)
