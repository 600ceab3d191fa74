"""Reliable messages from relays: each to plugins once, and acknowledged when they had it.

An id is claimed while plugins have its message, kept on disk when their handlers have
returned, and acknowledged after that. What comes again meanwhile waits for the same word.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from thenodes_plugin_api import (
    DeliveryAck,
    DeliveryClass,
    ForwardHeader,
    Frame,
    Message,
    Settled,
)

from ..events.counters import Counters
from ..plugins.tracked import Fate, Tracked
from ..security.refusal import MOST_AGE_MS, DropReason, Refused
from ..store.received import Claim, ReceivedIds

__all__ = ["ReliableInbound", "SettledCallback"]

_MOST_WAITING = 4
_LOOK_EVERY = 4096
_DAY_MS = 24 * 60 * 60 * 1000

SettledCallback: TypeAlias = Callable[[Frame, Settled], None]

_Name: TypeAlias = tuple[str, bytes]


class _Handled:
    """A message that plugins have, or had, and who waits for the word of that."""

    __slots__ = ("expires_at", "message", "name", "waiting")

    def __init__(self, name: _Name | None, expires_at: int, message: Message) -> None:
        self.name = name
        self.expires_at = expires_at
        self.message = message
        self.waiting: list[tuple[Frame, SettledCallback]] = []


class ReliableInbound:
    """Knows which reliable messages plugins have and had.

    Args:
        received: remembers those that they had.
        confirm: told of each whose sender wants to hear from this node that they had it.
        counters: counts what comes again, and what is not taken.
    """

    def __init__(
        self, received: ReceivedIds, confirm: Callable[[Message], None], counters: Counters
    ) -> None:
        self._received = received
        self._confirm = confirm
        self._counters = counters
        self._now_ms = 0
        # Those that plugins have, or whose ids are on their way to the disk.
        self._handled: dict[_Name, _Handled] = {}
        # Those that plugins had, and whose ids could not be written; until when, in ms.
        self._unsaved: dict[_Name, int] = {}

    def take(
        self,
        sender: str,
        message: Message,
        frame: Frame,
        settled: SettledCallback,
        now_ms: int,
    ) -> Tracked | None:
        """Take a message on.

        Args:
            sender: by which name its messages are known again.
            message: what to give to plugins.
            frame: what brought it.
            settled: told what becomes of it.
            now_ms: Unix milliseconds.

        Returns:
            What to give to plugins; None where it was here before, or cannot be remembered.

        Raises:
            Refused: it has nothing to go by that says until when to remember it.
        """
        self._now_ms = now_ms
        delivery = frame.header.delivery
        if delivery is None:
            # Nothing to know it by again: it can only be handed on.
            return self._hand_over(_Handled(None, 0, message), frame, settled)
        name = sender, delivery.message_id
        running = self._handled.get(name)
        if running is not None:
            self._drop(DropReason.DUPLICATE)
            running.waiting = [*running.waiting[1 - _MOST_WAITING :], (frame, settled)]
            return None
        expires_at = _expiry(frame.header, now_ms)
        handled = _Handled(name, expires_at, message)
        match self._received.claim(*name, expires_at):
            case Claim.FULL:
                self._drop(DropReason.RECEIVED_FULL)
            case Claim.KNOWN:
                self._drop(DropReason.DUPLICATE)
                handled.waiting.append((frame, settled))
                if name in self._unsaved:
                    self._keep(name, handled)
                else:
                    self._acknowledge(handled, first="dup")
            case Claim.NEW:
                self._handled[name] = handled
                return self._hand_over(handled, frame, settled)
        return None

    def _hand_over(self, handled: _Handled, frame: Frame, settled: SettledCallback) -> Tracked:
        handled.waiting.append((frame, settled))
        return Tracked(handled.message, partial(self._ended, handled))

    def _ended(self, handled: _Handled, fate: Fate) -> None:
        name = handled.name
        if fate is Fate.HAD:
            if name is None:
                self._acknowledge(handled, first="ok")
            else:
                self._keep(name, handled)
            return
        if name is not None:
            del self._handled[name]
            self._received.release(*name, handled.expires_at)
        self._drop(DropReason.NOT_TAKEN)
        if fate is Fate.UNCLAIMED:
            refused = Refused(DropReason.NOT_TAKEN, "no plugin here takes messages of that kind")
            for frame, settled in handled.waiting:
                settled(frame, Settled("error", refused.told, refused.detail))

    def _keep(self, name: _Name, handled: _Handled) -> None:
        self._handled[name] = handled
        done = partial(self._kept, name, handled)
        self._received.keep(*name, handled.expires_at, done)

    def _kept(self, name: _Name, handled: _Handled, is_on_disk: bool) -> None:
        del self._handled[name]
        if is_on_disk:
            self._unsaved.pop(name, None)
            self._acknowledge(handled, first="ok")
        else:
            self._note_unsaved(name, handled.expires_at)

    def _note_unsaved(self, name: _Name, expires_at: int) -> None:
        self._unsaved[name] = expires_at
        if not len(self._unsaved) % _LOOK_EVERY:
            now_ms = self._now_ms
            self._unsaved = {n: until for n, until in self._unsaved.items() if until > now_ms}

    def _acknowledge(self, handled: _Handled, *, first: str) -> None:
        status = first
        for frame, settled in handled.waiting:
            settled(frame, Settled(status))
            status = "dup"
        message = handled.message
        delivery = message.delivery
        if delivery is None or delivery.delivery_class is DeliveryClass.FIRE_AND_FORGET:
            return
        # A word has no word of its own, whatever its sender asks.
        if type(message.body) is not DeliveryAck:
            self._confirm(message)

    def _drop(self, reason: DropReason) -> None:
        self._counters.add("relayed_dropped", reason=reason)


def _expiry(header: ForwardHeader, now_ms: int) -> int:
    """When a frame expires: of the same frame always the same."""
    delivery = header.delivery
    assert delivery is not None
    if delivery.expires_at is not None:
        return delivery.expires_at
    if delivery.created_at is not None:
        return delivery.created_at + MOST_AGE_MS
    # A UUIDv7 begins with when it was made.
    made_at = int.from_bytes(delivery.message_id[:6], "big")
    if not now_ms - MOST_AGE_MS < made_at <= now_ms + _DAY_MS:
        raise Refused(DropReason.OVER_AGE, "says neither when it was made nor when it expires")
    return made_at + MOST_AGE_MS
