"""The receivers' own word: who waits for it, and who is given it (design: wire.md, Kinds)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from uuid import UUID

from msgspec import structs

from thenodes_plugin_api import (
    Body,
    DeliveryAck,
    DeliveryClass,
    DeliveryOutcome,
    DeliveryStatus,
    Message,
    OutboxFull,
    SendError,
)

from ..clock import Clock, timeout
from ..events.counters import Counters
from ..plugins.tracked import Fate, Tracked
from ..supervisor import Supervisor

__all__ = ["Confirmations", "Confirmer", "Word"]

_MOST_WAITING = 16_384
_MOST_UNSENT = 65_536
# After so many words, which never wait, the event loop's other tasks have a turn.
_SENDS_A_TURN = 256


class Word:
    """The word of one node on one message, which somebody waits for.

    Args:
        given: done when it is there.
        clock: times the wait.
        forget: called when nobody waits any more.
    """

    def __init__(
        self, given: asyncio.Future[None], clock: Clock, forget: Callable[[], object]
    ) -> None:
        self._given = given
        self._clock = clock
        self._forget = forget

    def __enter__(self) -> Word:
        return self

    def __exit__(self, *error: object) -> None:
        self._forget()

    async def wait(self, outcome: DeliveryOutcome, seconds: float) -> DeliveryOutcome:
        """Wait for it.

        Args:
            outcome: how far the message had come before.
            seconds: how long to wait.

        Returns:
            `outcome`, as `DELIVERED` where the word came.
        """
        try:
            async with timeout(self._clock, seconds):
                await self._given
        except TimeoutError:
            return outcome
        return structs.replace(outcome, status=DeliveryStatus.DELIVERED)


class Confirmations:
    """Who waits for the word of which node on which message.

    At most 16,384 messages are waited for at once; whoever sends one more is refused.

    Args:
        counters: counts what is confirmed, and words that nobody waits for.
        clock: times the waits.
    """

    def __init__(self, counters: Counters, clock: Clock) -> None:
        self._counters = counters
        self._clock = clock
        self._waiting: dict[tuple[str, bytes], asyncio.Future[None]] = {}

    def expect(self, node_id: str, message_id: bytes) -> Word:
        """Begin to wait for a word, until the end of its context.

        Raises:
            OutboxFull: too many are waited for.
        """
        if len(self._waiting) >= _MOST_WAITING:
            raise OutboxFull(f"{_MOST_WAITING} messages wait to be confirmed already")
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[node_id, message_id] = given
        return Word(given, self._clock, lambda: self._waiting.pop((node_id, message_id), None))

    def arrived(self, node_id: str, ack: DeliveryAck) -> None:
        """A node gave its word."""
        given = self._waiting.get((node_id, ack.message_id.bytes))
        if given is None or given.done():
            self._counters.add("confirmations_dropped", reason="not_expected")
            return
        self._counters.add("confirmations_received")
        given.set_result(None)


class Confirmer:
    """Gives this node's word on messages whose senders ask for it.

    What waits to be sent is bounded; beyond that, and where there is no way, a word is
    dropped and counted: its sender then knows as much as without.

    Args:
        send: sends a message to a node without waiting for it to take it.
        supervisor: runs what sends them.
        counters: counts those that were sent, and those that were not.
    """

    def __init__(
        self,
        send: Callable[[str, Body], Awaitable[None]],
        supervisor: Supervisor,
        counters: Counters,
    ) -> None:
        self._send = send
        self._supervisor = supervisor
        self._counters = counters
        self._unsent: deque[tuple[str, UUID]] = deque()
        self._sending = False

    def follow(self, message: Message) -> Tracked | None:
        """Follow a message through the plugins, where its sender asks for this node's word."""
        delivery = message.delivery
        if delivery is None or delivery.delivery_class is DeliveryClass.FIRE_AND_FORGET:
            return None
        sender, message_id = message.sender, delivery.message_id

        def told(fate: Fate) -> None:
            if fate is Fate.HAD:
                self.confirm(sender, message_id)

        return Tracked(message, told)

    def confirm(self, node_id: str, message_id: UUID) -> None:
        """Tell a node that this one's plugins had its message."""
        if len(self._unsent) >= _MOST_UNSENT:
            self._counters.add("confirmations_dropped", reason="overload")
            return
        self._unsent.append((node_id, message_id))
        if not self._sending:
            self._sending = True
            self._supervisor.spawn(self._send_all, "confirmations")

    async def _send_all(self) -> None:
        try:
            while self._unsent:
                if not len(self._unsent) % _SENDS_A_TURN:
                    await asyncio.sleep(0)
                node_id, message_id = self._unsent.popleft()
                try:
                    await self._send(node_id, DeliveryAck(message_id, "ok"))
                    self._counters.add("confirmations_sent")
                except SendError:
                    self._counters.add("confirmations_dropped", reason="not_sent")
        finally:
            self._sending = False
