"""One running plugin: its inbox, its task, and the wall around its hooks."""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence

from thenodes_plugin_api import (
    Level,
    Message,
    PayloadError,
    PeerJoined,
    PeerLeft,
    Plugin,
    PluginEvent,
    SendError,
)

from ..clock import Clock, timeout
from ..errors import CommandFailed
from ..events.counters import Counters
from ..events.dispatcher import Dispatcher
from .containment import CONTAINED, raise_if_ours
from .context import Context

__all__ = ["PluginRuntime", "State"]

_INBOX_ITEMS = 8192
_INBOX_BYTES = 16 * 1024 * 1024
_BATCH_ITEMS = 64

# How long a plugin that never waits may keep the event loop to itself.
_ROUND_SECONDS = 0.005
_START_SECONDS = 5.0
_STOP_SECONDS = 0.5
_PROMPT_SECONDS = 30.0

Item = Message | PeerJoined | PeerLeft


class State(enum.StrEnum):
    """Where a plugin stands."""

    LOADED = "loaded"
    RUNNING = "running"
    FAILED = "failed"
    STOPPED = "stopped"


class PluginRuntime:
    """Runs one plugin.

    The inbox is bounded: 8192 items, whose headers the codecs bound, and 16 MiB of
    payload. Nobody waits; what does not fit is dropped, counted and reported, and
    harms this plugin alone. Hooks run one at a time. Whatever a hook raises becomes
    an event; a peer's bad payload, or a peer that takes no answer, is no fault.

    Args:
        plugin_id: from its manifest.
        plugin: the object.
        ctx: its context.
        events: told of faults.
        counters: counts them.
        clock: times the budgets.
    """

    def __init__(
        self,
        plugin_id: str,
        plugin: Plugin,
        ctx: Context,
        events: Dispatcher,
        counters: Counters,
        clock: Clock,
    ) -> None:
        self.plugin_id = plugin_id
        self.plugin = plugin
        self.state = State.LOADED
        self.faults = 0
        self._ctx = ctx
        self._events = events
        self._counters = counters
        self._clock = clock
        self._inbox: deque[Item] = deque()
        self._inbox_bytes = 0
        self._dropping = False
        self._wake: asyncio.Future[None] | None = None
        self._one_hook_at_a_time = asyncio.Lock()
        self._started = asyncio.Event()
        self._stop_requested = False
        self._prompts_waiting = 0

    def offer(self, items: Sequence[Item]) -> bool:
        """Put items into the inbox, and drop what has no room. True where it is half full."""
        if self.state not in (State.LOADED, State.RUNNING):
            self._counters.add("messages_dropped", len(items), reason="plugin_not_running")
            return False
        size = sum([_size(item) for item in items])
        inbox = self._inbox
        room = _INBOX_ITEMS - len(inbox)
        if len(items) > room or self._inbox_bytes + size > _INBOX_BYTES:
            self._offer_what_fits(items)
        else:
            inbox.extend(items)
            self._inbox_bytes += size
        if self._wake is not None:
            self._wake_up()
        return len(inbox) >= _INBOX_ITEMS // 2 or self._inbox_bytes >= _INBOX_BYTES // 2

    def _offer_what_fits(self, items: Sequence[Item]) -> None:
        dropped = 0
        for item in items:
            size = _size(item)
            if len(self._inbox) >= _INBOX_ITEMS or self._inbox_bytes + size > _INBOX_BYTES:
                dropped += 1
            else:
                self._inbox.append(item)
                self._inbox_bytes += size
        self._counters.add("messages_dropped", dropped, reason="plugin_inbox_full")
        if not self._dropping:
            self._dropping = True
            self._report(
                "inbox_full", f"is too slow: {len(self._inbox)} wait, new ones are dropped"
            )

    async def run(self) -> None:
        """Start the plugin, give it what comes, stop it. Returns when it has stopped."""
        async with asyncio.TaskGroup() as tasks:
            self._ctx.open(
                lambda work, name: tasks.create_task(self._contain(work), name=name), self._fault
            )
            started = await self._hook("on_start", lambda: self.plugin.on_start(self._ctx))
            self.state = State.RUNNING if started else State.FAILED
            self._started.set()
            if started:
                await self._serve_inbox()
                await self._last_hook()
                self.state = State.STOPPED
            self._inbox.clear()
            self._ctx.close()

    async def wait_started(self) -> None:
        """Wait until `on_start` has returned; not for ever, a slow one is reported."""
        try:
            async with timeout(self._clock, _START_SECONDS):
                await self._started.wait()
        except TimeoutError:
            self._report("slow_start", f"on_start has not returned within {_START_SECONDS:g} s")

    def stop(self) -> None:
        """Ask `run` to end: what is in the inbox is still given to the plugin."""
        self._stop_requested = True
        self._wake_up()

    async def prompt(self, line: str) -> str | None:
        """Ask the plugin to answer a line.

        Raises:
            CommandFailed: it is not running, raised, or took too long.
        """
        if self.state is not State.RUNNING:
            raise CommandFailed(f"plugin {self.plugin_id} is {self.state}")
        self._prompts_waiting += 1
        try:
            async with timeout(self._clock, _PROMPT_SECONDS):
                return await self._ask(line)
        except TimeoutError as error:
            raise CommandFailed(
                f"plugin {self.plugin_id} did not answer within {_PROMPT_SECONDS:g} s"
            ) from error
        finally:
            self._prompts_waiting -= 1

    async def _ask(self, line: str) -> str | None:
        async with self._one_hook_at_a_time:
            try:
                answer = await self.plugin.on_prompt(line, self._ctx)
                if not isinstance(answer, str | None):
                    raise TypeError(f"expected str or None, got {type(answer).__name__}")
                return answer
            except CONTAINED as error:
                raise_if_ours(error)
                self._fault("on_prompt", error)
                raise CommandFailed(f"plugin {self.plugin_id} failed: {_name(error)}") from error

    async def _serve_inbox(self) -> None:
        inbox = self._inbox
        while True:
            if not inbox:
                if self._stop_requested:
                    return
                self._wake = asyncio.get_running_loop().create_future()
                await self._wake
                self._wake = None
            async with self._one_hook_at_a_time:
                await self._round()
            if inbox:
                await asyncio.sleep(0)

    async def _round(self) -> None:
        """Give the plugin what is in the inbox, until the event loop's other tasks are due."""
        inbox, on_message, ctx = self._inbox, self.plugin.on_message, self._ctx
        until = self._clock.monotonic() + _ROUND_SECONDS
        while inbox and self._clock.monotonic() < until and not self._prompts_waiting:
            try:
                for _ in range(min(len(inbox), _BATCH_ITEMS)):
                    if self._prompts_waiting:
                        break
                    item = inbox.popleft()
                    if type(item) is Message:
                        self._inbox_bytes -= _size(item)
                        await on_message(item, ctx)
                    else:
                        await self.plugin.on_peer(item, ctx)  # type: ignore[arg-type]
            except PayloadError as error:
                self._bad_payload(item, error)
            except SendError as error:
                self._not_sent(error)
            except CONTAINED as error:
                raise_if_ours(error)
                self._fault("on_message" if type(item) is Message else "on_peer", error)
        self._dropping = self._dropping and len(inbox) >= _INBOX_ITEMS // 2

    async def _last_hook(self) -> None:
        try:
            async with timeout(self._clock, _STOP_SECONDS):
                await self._hook("on_stop", lambda: self.plugin.on_stop(self._ctx))
        except TimeoutError:
            self._report("slow_stop", f"on_stop has not returned within {_STOP_SECONDS:g} s")

    async def _hook(self, name: str, call: Callable[[], Awaitable[None]]) -> bool:
        try:
            async with self._one_hook_at_a_time:
                await call()
        except CONTAINED as error:
            raise_if_ours(error)
            self._fault(name, error)
            return False
        return True

    async def _contain(self, work: Coroutine[object, object, object]) -> None:
        try:
            await work
        except CONTAINED as error:
            raise_if_ours(error)
            self._fault("background work", error)

    def _fault(self, where: str, error: BaseException) -> None:
        self.faults += 1
        self._counters.add("plugin_faults", reason=self.plugin_id)
        self._ctx.logger.error("%s raised", where, exc_info=error)
        self._report("fault", f"{where} raised {_name(error)}", level=Level.ERROR)

    def _bad_payload(self, item: Item, error: PayloadError) -> None:
        sender = item.sender if isinstance(item, Message) else "?"
        self._counters.add("messages_dropped", reason="bad_payload")
        self._report("bad_payload", f"a message of {sender} cannot be used: {error}")

    def _not_sent(self, error: SendError) -> None:
        self._counters.add("messages_dropped", reason="not_sent")
        self._report("not_sent", f"on_message could not send: {error}", level=Level.DEBUG)

    def _report(self, action: str, detail: str, *, level: Level = Level.WARNING) -> None:
        self._events.emit(
            PluginEvent(plugin=self.plugin_id, action=action, detail=detail, level=level)
        )

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


def _name(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _size(item: Item) -> int:
    if type(item) is not Message or item.payload is None:
        return 0
    return len(item.payload.data)
