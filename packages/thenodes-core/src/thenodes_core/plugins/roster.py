"""The plugins that run in a node: who claims what, who stands where, who holds the loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from types import FrameType
from typing import Protocol

from thenodes_plugin_api import (
    Body,
    DataRequest,
    DataResponse,
    Extension,
    Level,
    Message,
    PluginEvent,
    RelayNotify,
    SystemEvent,
    Text,
)

from ..errors import CommandFailed
from ..events.counters import Counters
from ..events.dispatcher import Dispatcher
from .claims import Claims
from .inbox import Item
from .modules import is_shared
from .questions import Questions
from .slot import Slot, Supervise
from .tracked import Fate, Tracked, share
from .watchdog import Culprit, Stall, Watchdog, plugin_frame

__all__ = ["Roster"]

_FOR_ALL = frozenset({DataRequest, DataResponse, RelayNotify})

_log = logging.getLogger("thenodes.node")


class Texts(Protocol):
    """Takes the texts that no plugin does."""

    def offer(self, items: Sequence[Item]) -> bool:
        """Take texts; False, as from an inbox that has room."""
        ...

    def take(self, message: Message) -> bool:
        """Take a text; False where it is one too many."""
        ...


class Roster:
    """Every plugin that was loaded, in the order of their ids.

    Args:
        events: told of stalls and changes.
        counters: counts them.
    """

    def __init__(self, events: Dispatcher, counters: Counters) -> None:
        self.claims: Claims[Slot] = Claims()
        self._events = events
        self._counters = counters
        self._slots: dict[str, Slot] = {}
        self._tops: dict[str, str] = {}
        self._listeners: list[Callable[[], None]] = []
        self._follow: Callable[[Message], Tracked | None] = lambda message: None
        self._texts: Texts | None = None
        self._readers: Sequence[Slot | Texts] = ()

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._slots.values())

    def add(self, slot: Slot) -> None:
        """Take a plugin in; it is not run yet."""
        self._slots[slot.plugin_id] = slot
        self._claim()

    def get(self, plugin_id: str) -> Slot | None:
        """A plugin's place."""
        return self._slots.get(plugin_id)

    def find(self, plugin_id: str) -> Slot:
        """A plugin's place.

        Raises:
            CommandFailed: there is none of that id.
        """
        slot = self._slots.get(plugin_id)
        if slot is None:
            known = ", ".join(self._slots) or "none"
            raise CommandFailed(f"no plugin {plugin_id!r} is loaded; loaded: {known}")
        return slot

    def run(self, supervise: Supervise) -> None:
        """Begin to run all that were taken in.

        Args:
            supervise: reports a defect of ours that ends one.
        """
        for slot in self:
            slot.run(supervise)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever another set of plugins runs, or other ones."""
        self._listeners.append(listener)

    def follow(self, follow: Callable[[Message], Tracked | None]) -> None:
        """Let `follow` say whether somebody wants to know what becomes of a message.

        It is asked of those that come with delivery data.
        """
        self._follow = follow

    def take_texts(self, texts: Texts) -> None:
        """Give TEXT to `texts` where no plugin listens."""
        self._texts = texts
        self._claim()

    def changed(self) -> None:
        """Let claims, and all who listen, follow what runs now."""
        self._claim()
        for listener in self._listeners:
            listener()

    def capabilities(self) -> tuple[str, ...]:
        """What the plugins that run advertise."""
        up = [slot for slot in self if slot.is_up]
        return tuple(
            dict.fromkeys(
                c for slot in up for c in (*slot.capabilities, *slot.runtime.capabilities)
            )
        )

    def deliver(self, messages: Sequence[Message], questions: Questions) -> bool:
        """Give messages to the plugins they are for. True where an inbox is half full.

        Args:
            messages: of one peer, in order.
            questions: take the replies among them.
        """
        batches: dict[Slot | Texts, list[Item]] = {}
        targets: Sequence[list[Item]] = ()
        previous: Body | None = None
        for message in messages:
            body = message.body
            # Messages of one kind come in runs and share their decoded body. What is to be
            # followed is a matter of each message.
            if body is not previous or message.delivery is not None:
                if message.delivery is not None and (item := self._follow(message)) is not None:
                    self._track(item, batches, questions)
                    previous = None
                    continue
                previous = body
                found = self._slots_for(message, questions)
                targets = [batches.setdefault(slot, []) for slot in found]
            for batch in targets:
                batch.append(message)
            if not targets:
                previous = None
        crowded = [slot.offer(batch) for slot, batch in batches.items()]
        return any(crowded)

    def deliver_tracked(self, items: Sequence[Tracked], questions: Questions) -> bool:
        """As `deliver`, of messages whose fate somebody wants to know."""
        batches: dict[Slot | Texts, list[Item]] = {}
        for item in items:
            self._track(item, batches, questions)
        crowded = [slot.offer(batch) for slot, batch in batches.items()]
        return any(crowded)

    def _track(
        self, item: Tracked, batches: dict[Slot | Texts, list[Item]], questions: Questions
    ) -> None:
        body = item.message.body
        if type(body) is Extension and body.reply_to is not None:
            answered = questions.answer(item.message)
            if not answered:
                self._counters.add("messages_dropped", reason="unexpected_reply")
            item.end(Fate.HAD if answered else Fate.UNCLAIMED)
            return
        found = self._slots_for(item.message, questions)
        if self._texts is not None and self._texts in found:
            item.end(Fate.HAD if self._texts.take(item.message) else Fate.UNCLAIMED)
            return
        slots = [slot for slot in found if isinstance(slot, Slot) and slot.listens]
        if not slots:
            item.end(Fate.UNCLAIMED)
            return
        for slot, one in zip(slots, share(item, len(slots)), strict=True):
            batches.setdefault(slot, []).append(one)

    def _slots_for(self, message: Message, questions: Questions) -> Collection[Slot | Texts]:
        body = message.body
        if type(body) is Extension:
            if body.reply_to is not None:
                if not questions.answer(message):
                    self._counters.add("messages_dropped", reason="unexpected_reply")
                return ()
            slot = self.claims.find(body.kind)
            if slot is not None:
                return (slot,)
            self._counters.add("messages_dropped", reason="unclaimed_kind")
        elif type(body) is Text:
            return self._readers
        elif type(body) in _FOR_ALL:
            return self._slots.values()
        else:
            self._counters.add("messages_dropped", reason="not_handled")
        return ()

    def offer_all(self, items: Sequence[Item]) -> None:
        """Give the same to every plugin."""
        for slot in self:
            slot.offer(items)

    def watch(self, on_stall: Callable[[Stall], None] | None = None, **times: float) -> Watchdog:
        """Watch the running event loop, inside the context that this returns.

        Args:
            on_stall: told in the watchdog's thread, while the loop is held.
            times: of `Watchdog`.
        """
        loop = asyncio.get_running_loop()

        def notice(stall: Stall) -> None:
            self._hold_off(stall)
            with contextlib.suppress(RuntimeError):  # The loop is closed.
                loop.call_soon_threadsafe(self._judge, stall, time.time())
            if on_stall is not None:
                on_stall(stall)

        return Watchdog(self, notice, **times)

    def _claim(self) -> None:
        claims: Claims[Slot] = Claims()
        tops = {}
        for slot in self:
            for claim in slot.loaded.manifest.messages.handles:
                claims.add(claim, slot)
            if slot.source is not None:
                tops[slot.top] = slot.plugin_id
        self.claims, self._tops = claims, tops
        readers = [slot for slot in self if slot.listens and slot.reads_text]
        self._readers = readers or ([] if self._texts is None else [self._texts])

    def accuse(self, task: asyncio.Task[object] | None, frame: FrameType) -> Culprit | None:
        """Whose code runs. May be called from any thread."""
        for slot in list(self._slots.values()):
            where = slot.runtime.held_by(task)
            if where is not None:
                return Culprit(slot.plugin_id, where, id(slot.runtime.item))
        plugin_id = plugin_frame(frame, self._tops)
        # Code of a package that another node runs too may be that node's.
        if plugin_id is None or is_shared(self._slots[plugin_id].top):
            return None
        return Culprit(plugin_id, "a callback or task of its own")

    def _hold_off(self, stall: Stall) -> None:
        """Log a stall, and give its plugin nothing more; in the watchdog's thread."""
        slot = self._slots.get(stall.plugin_id or "")
        if slot is not None:
            slot.runtime.halt()
        logger = _log if slot is None else logging.getLogger(f"thenodes.plugin.{slot.plugin_id}")
        logger.error("%s", stall)

    def _judge(self, stall: Stall, at: float) -> None:
        """Tell of a stall once the loop is free again, and quarantine its plugin."""
        text = str(stall)
        slot = self._slots.get(stall.plugin_id or "")
        if slot is None:
            self._counters.add("loop_stalls")
            self._events.emit(
                SystemEvent(action="loop_stalled", detail=text, level=Level.WARNING, at=at)
            )
            return
        self._counters.add("plugin_stalls", reason=slot.plugin_id)
        self.tell(slot.plugin_id, "stall", text, level=Level.ERROR, at=at)
        slot.runtime.quarantine(f"{stall.where} held the event loop: {stall.stack}")

    def tell(
        self,
        plugin_id: str,
        action: str,
        detail: str,
        *,
        level: Level = Level.INFO,
        at: float | None = None,
    ) -> None:
        """Emit an event of a plugin."""
        self._events.emit(
            PluginEvent(
                plugin=plugin_id,
                action=action,
                detail=detail,
                level=level,
                at=time.time() if at is None else at,
            )
        )
