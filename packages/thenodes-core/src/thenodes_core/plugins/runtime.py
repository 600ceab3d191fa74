"""One running plugin: its task, and the wall around its hooks."""

from __future__ import annotations

import asyncio
import enum
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
    TheNodesError,
)

from ..clock import Clock, Timer, timeout
from ..errors import CommandFailed
from ..events.counters import Counters
from ..events.dispatcher import Dispatcher
from .containment import describe, is_ours, raise_if_ours
from .context import Context
from .hook_times import HookTimes
from .inbox import Inbox, Item
from .quarantine import FAULT_SECONDS, FAULTS, FaultWindow
from .tracked import Fate, Tracked, give_up

__all__ = ["PluginRuntime", "State"]

_BATCH_ITEMS = 64

# How long a plugin that never waits may keep the event loop to itself.
_ROUND_SECONDS = 0.005
_START_SECONDS = 5.0
_STOP_SECONDS = 0.5
_PROMPT_SECONDS = 30.0
# A hook that waits delays its own plugin alone, so it is told and not ended.
_ITEM_SECONDS = 15.0


class State(enum.StrEnum):
    """Where a plugin stands."""

    LOADED = "loaded"
    RUNNING = "running"
    RELOADING = "reloading"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    STOPPED = "stopped"


_RECEIVING = frozenset({State.LOADED, State.RUNNING, State.RELOADING})


class PluginRuntime:
    """Runs one instance of a plugin.

    Hooks run one at a time. Whatever a hook raises becomes an event; a peer's bad
    payload, or a peer that takes no answer, is no fault. Ten faults within a minute, or
    a hook that held the event loop, put the plugin into quarantine: its hooks are called
    no more, its work is cancelled, and what is for it is dropped.

    Args:
        plugin_id: from its manifest.
        plugin: the object.
        ctx: its context.
        events: told of faults.
        counters: counts them.
        clock: times the budgets.
        inbox: what waits for it; it may be another instance's before and after.
        hook_times: counts what its hooks take; as the inbox, maybe another instance's.
        on_change: called where its state has changed by itself.

    Attributes:
        state: where it stands.
        reason: why it stands there, where that is no good.
        faults: how often something of it raised.
    """

    def __init__(
        self,
        plugin_id: str,
        plugin: Plugin,
        ctx: Context,
        events: Dispatcher,
        counters: Counters,
        clock: Clock,
        *,
        inbox: Inbox | None = None,
        hook_times: HookTimes | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.plugin_id = plugin_id
        self.plugin = plugin
        self.state = State.LOADED
        self.reason = ""
        self.faults = 0
        self._ctx = ctx
        self._events = events
        self._counters = counters
        self._clock = clock
        self._inbox = Inbox() if inbox is None else inbox
        self.hook_times = HookTimes() if hook_times is None else hook_times
        self._on_change = on_change
        self._recent = FaultWindow()
        self._dropping = False
        self._wake: asyncio.Future[None] | None = None
        self._one_hook_at_a_time = asyncio.Lock()
        self._started = asyncio.Event()
        self._stop_requested = False
        self._halted = False
        self._abandoned = False
        self._prompts_waiting = 0
        # Which task is inside which hook, and with what: the watchdog's thread reads these.
        self._task: asyncio.Task[object] | None = None
        self._asker: asyncio.Task[object] | None = None
        self._hook_name = ""
        self._item: Item | None = None
        self._seen: Item | None = None
        self._timer: Timer | None = None

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What it advertises through its door, if it is a service."""
        return self._ctx.capabilities

    def offer(self, items: Sequence[Item]) -> bool:
        """Put items into the inbox, and drop what has no room. True where it is half full."""
        if self.state not in _RECEIVING:
            self._counters.add("messages_dropped", len(items), reason="plugin_not_running")
            give_up(items)
            return False
        dropped = self._inbox.put(items)
        if dropped:
            self._report_dropped(dropped)
        if self._wake is not None:
            self._wake_up()
        return self._inbox.crowded

    def _report_dropped(self, count: int) -> None:
        self._counters.add("messages_dropped", count, reason="plugin_inbox_full")
        if not self._dropping:
            self._dropping = True
            waiting = len(self._inbox.items)
            self._report("inbox_full", f"is too slow: {waiting} wait, new ones are dropped")

    async def run(self) -> None:
        """Start the plugin, give it what comes, stop it. Returns when it has stopped."""
        self._task = asyncio.current_task()
        try:
            async with asyncio.TaskGroup() as tasks:
                self._ctx.open(
                    lambda work, name: tasks.create_task(self._contain(work), name=name),
                    self._fault,
                )
                try:
                    await self._live()
                finally:
                    if self.state in _RECEIVING and not self._stop_requested:
                        self._task = None
                        self.quarantine("its own task was cancelled, and not by the node")
                    self.abandon()
        finally:
            self._task = None

    async def _live(self) -> None:
        started = await self._hook("on_start", lambda: self.plugin.on_start(self._ctx))
        if self.state is State.LOADED:
            self.state = State.RUNNING if started else State.FAILED
        self.reason = "" if started else self.reason
        self._started.set()
        if started:
            self._look()
            await self._serve_inbox()
            await self._last_hook()
            if self.state is State.RUNNING:
                self.state = State.STOPPED
        if self.state not in _RECEIVING and not self._abandoned:
            self._empty()

    async def wait_started(self) -> None:
        """Wait until `on_start` has returned; not for ever, a slow one is reported."""
        try:
            async with timeout(self._clock, _START_SECONDS):
                await self._started.wait()
        except TimeoutError:
            self.reason = f"on_start has not returned within {_START_SECONDS:g} s"
            self._report("slow_start", self.reason)

    def stop(self) -> None:
        """Ask `run` to end: what is in the inbox is still given to the plugin."""
        self._stop_requested = True
        self._wake_up()

    def drain(self) -> None:
        """Tell a service that the node takes nothing new and will stop."""
        self._ctx.drain()

    @property
    def waiting(self) -> int:
        """How many items wait for it; none where it takes nothing."""
        return len(self._inbox.items) if self.state in _RECEIVING else 0

    @property
    def is_drained(self) -> bool:
        """Whether nothing waits for it, none of its hooks runs, and a service says so, too."""
        if self.state not in _RECEIVING:
            return True
        is_busy = self.waiting or self._prompts_waiting or self._hook_name
        return not is_busy and self._ctx.is_drained

    def hold(self) -> None:
        """Ask `run` to end, and leave what is in the inbox, and what comes, for another."""
        self._halted = True
        if self.state in _RECEIVING:
            self.state = State.RELOADING
        self.stop()

    def halt(self) -> None:
        """Give the plugin nothing more. May be called from any thread."""
        self._halted = True

    def abandon(self) -> None:
        """End its background work and sinks, whether or not it has ended itself."""
        self._halted = self._abandoned = True
        if self._timer is not None:
            self._timer.cancel()
        self._ctx.close()

    def retire(self) -> None:
        """Take nothing more, whether or not it has ended."""
        self.abandon()
        if self.state in _RECEIVING:
            self.state = State.STOPPED
            self._empty()

    def quarantine(self, reason: str) -> None:
        """Call none of its hooks any more, cancel its work, and drop what is for it."""
        if self._abandoned:
            return
        self.state, self.reason = State.QUARANTINED, reason
        self._started.set()
        self._counters.add("plugins_quarantined", reason=self.plugin_id)
        self._report(
            "quarantined",
            f"is quarantined: {reason}; plugin enable {self.plugin_id} brings it back",
            level=Level.ERROR,
        )
        self._empty()
        self.abandon()
        if self._task is not None:
            self._task.cancel()
        self._on_change()

    def held_by(self, task: asyncio.Task[object] | None) -> str | None:
        """What of this plugin a task does just now. May be called from any thread."""
        if task is None:
            return None
        if task is self._task:
            return self._hook_name or None
        if task is self._asker:
            return "on_prompt"
        return "background work" if self._ctx.has_task(task) else None

    @property
    def item(self) -> Item | None:
        """What `on_message` or `on_peer` was called with last. May be read from any thread."""
        return self._item

    async def prompt(self, line: str) -> str | None:
        """Ask the plugin to answer a line.

        Raises:
            CommandFailed: it is not running, raised, or took too long.
        """
        if self.state is not State.RUNNING:
            why = f": {self.reason}" if self.reason else ""
            raise CommandFailed(f"plugin {self.plugin_id} is {self.state}{why}")
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
            if self.state is not State.RUNNING:
                raise CommandFailed(f"plugin {self.plugin_id} is {self.state}")
            self._asker = asyncio.current_task()
            began = self._clock.monotonic()
            try:
                answer = await self.plugin.on_prompt(line, self._ctx)
                if not isinstance(answer, str | None):
                    raise TypeError(f"expected str or None, got {type(answer).__name__}")
                return answer
            except BaseException as error:
                raise_if_ours(error)
                self._fault("on_prompt", error)
                told = describe(error)
                raise CommandFailed(f"plugin {self.plugin_id} failed: {told}") from error
            finally:
                self._asker = None
                self.hook_times.add("on_prompt", 1, self._clock.monotonic() - began)

    async def _serve_inbox(self) -> None:
        waiting = self._inbox.items
        while True:
            if self._halted or not waiting:
                if self._stop_requested:
                    return
                self._wake = asyncio.get_running_loop().create_future()
                await self._wake
                self._wake = None
                continue
            async with self._one_hook_at_a_time:
                await self._round()
            if waiting:
                await asyncio.sleep(0)

    async def _round(self) -> None:
        """Give the plugin what is in the inbox, until the event loop's other tasks are due."""
        inbox, waiting = self._inbox, self._inbox.items
        on_message, ctx = self.plugin.on_message, self._ctx
        now = self._clock.monotonic()
        until = now + _ROUND_SECONDS
        while waiting and now < until and not self._interrupted:
            # Timed by batch, whose end is the next one's beginning: no look at the clock is added.
            freed, calls, told, began = 0, 0, 0, now
            try:
                for calls in range(1, 1 + min(len(waiting), _BATCH_ITEMS)):
                    if self._prompts_waiting or self._halted:
                        calls -= 1
                        break
                    self._item = item = waiting.popleft()
                    if type(item) is Message:
                        # Per batch, and not one by one: a call each would be felt.
                        if item.payload is not None:
                            freed += len(item.payload.data)
                        self._hook_name = "on_message"
                        await on_message(item, ctx)
                    elif type(item) is Tracked:
                        if item.message.payload is not None:
                            freed += len(item.message.payload.data)
                        self._hook_name = "on_message"
                        await self._give_tracked(item)
                    else:
                        now = self._clock.monotonic()
                        self.hook_times.add("on_message", calls - 1 - told, now - began)
                        told = calls
                        self._hook_name = "on_peer"
                        began = await self._give_change(item, now)  # type: ignore[arg-type]
            except PayloadError as error:
                self._bad_payload(item, error)
            except SendError as error:
                self._not_sent(error)
            except BaseException as error:
                raise_if_ours(error)
                self._fault(self._hook_name, error)
            finally:
                inbox.free(freed)
                now = self._clock.monotonic()
                self.hook_times.add("on_message", calls - told, now - began)
        self._hook_name, self._item = "", None
        self._dropping = self._dropping and not self._inbox.roomy

    async def _give_change(self, change: PeerJoined | PeerLeft, began: float) -> float:
        """Give it a change of peers; returns when that was done."""
        try:
            await self.plugin.on_peer(change, self._ctx)
        finally:
            ended = self._clock.monotonic()
            self.hook_times.add("on_peer", 1, ended - began)
        return ended

    async def _give_tracked(self, item: Tracked) -> None:
        try:
            await self.plugin.on_message(item.message, self._ctx)
        except BaseException as error:
            # One that raises had it; one that was cut off had not.
            item.end(Fate.DROPPED if is_ours(error) else Fate.HAD)
            raise
        item.end(Fate.HAD)

    @property
    def _interrupted(self) -> bool:
        return self._prompts_waiting > 0 or self._halted

    async def _last_hook(self) -> None:
        if self._abandoned:
            return
        try:
            async with timeout(self._clock, _STOP_SECONDS):
                await self._hook("on_stop", lambda: self.plugin.on_stop(self._ctx))
        except TimeoutError:
            self._report("slow_stop", f"on_stop has not returned within {_STOP_SECONDS:g} s")

    async def _hook(self, name: str, call: Callable[[], Awaitable[None]]) -> bool:
        try:
            async with self._one_hook_at_a_time:
                self._hook_name = name
                began = self._clock.monotonic()
                try:
                    await call()
                finally:
                    self.hook_times.add(name, 1, self._clock.monotonic() - began)
        except BaseException as error:
            raise_if_ours(error)
            self.reason = f"{name} raised {describe(error)}"
            self._fault(name, error)
            return False
        finally:
            self._hook_name = ""
        return True

    async def _contain(self, work: Coroutine[object, object, object]) -> None:
        try:
            await work
        except BaseException as error:
            raise_if_ours(error)
            self._fault("background work", error)

    def _look(self) -> None:
        """Tell of a hook that has been with the same item since the last look."""
        if self._halted:
            return
        item = self._item
        if item is not None and item is self._seen and not self.reason:
            self.reason = f"{self._hook_name} has not returned for {_ITEM_SECONDS:g} s"
            self._report("slow_hook", f"{self.reason}; what comes for it waits")
        elif item is not self._seen:
            self.reason = ""
        self._seen = item
        self._timer = self._clock.call_later(_ITEM_SECONDS, self._look)

    def _fault(self, where: str, error: BaseException) -> None:
        self.faults += 1
        told = f"{where} raised {describe(error)}"
        self._counters.add("plugin_faults", reason=self.plugin_id)
        # Why a plugin cannot start, in its own words, is the operator's to mend, not its author's.
        if where != "on_start" or not isinstance(error, TheNodesError):
            self._ctx.logger.error("%s raised", where, exc_info=error)
        self._report("fault", told, level=Level.ERROR)
        if self._recent.add(self._clock.monotonic()):
            self.quarantine(f"{FAULTS} faults within {FAULT_SECONDS:g} s, the last: {told}")

    def _empty(self) -> None:
        dropped = self._inbox.clear()
        if dropped:
            self._counters.add("messages_dropped", dropped, reason="plugin_not_running")

    def _bad_payload(self, item: Item, error: PayloadError) -> None:
        message = item.message if isinstance(item, Tracked) else item
        sender = message.sender if isinstance(message, Message) else "?"
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
