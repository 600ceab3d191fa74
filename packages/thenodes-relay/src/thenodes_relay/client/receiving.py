"""Frames that relays bring to this node: handed to its plugins, then acknowledged."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Sequence

from thenodes_plugin_api import Ack, PluginContext
from thenodes_plugin_api.service import Frame, ServiceSession, Settled

from ..counters import ClientCounter

__all__ = ["Receiver"]

_MOST_WAITING = 8192


class _Answers:
    """ACKs for one session that had no room for them; beyond 8192 the oldest go.

    A frame whose ACK is lost comes again, and is answered as a duplicate.
    """

    def __init__(self, session: ServiceSession) -> None:
        self._session = session
        self._waiting: deque[Ack] = deque(maxlen=_MOST_WAITING)

    def give(self, ack: Ack) -> None:
        """Send an ACK, now or when there is room."""
        if self._waiting or not self._session.send(ack):
            if not self._waiting:
                self._session.on_room(self._go_on)
            self._waiting.append(ack)

    def _go_on(self) -> None:
        while self._waiting:
            if not self._session.send(self._waiting[0]):
                self._session.on_room(self._go_on)
                return
            self._waiting.popleft()


class Receiver:
    """Hands frames on, and answers reliable ones over the session that brought them.

    Args:
        ctx: the plugin's context.
    """

    def __init__(self, ctx: PluginContext) -> None:
        self._door = ctx.service
        self._node_id = ctx.node_id
        self._answers: dict[ServiceSession, _Answers] = {}

    def take(self, session: ServiceSession, frames: Sequence[Frame]) -> None:
        """Take frames for this node, in order."""
        answers = self._answers.get(session)
        if answers is None:
            answers = self._answers[session] = _Answers(session)

        def settled(frame: Frame, outcome: Settled) -> None:
            if session.is_open:
                answers.give(self._answer(frame, outcome))

        self._door.count(ClientCounter.RECEIVED, len(frames))
        self._door.deliver(session.peer.node_id, frames, settled)

    def left(self, session: ServiceSession) -> None:
        """A session ended: what it brought and is not answered comes again."""
        self._answers.pop(session, None)

    def _answer(self, frame: Frame, outcome: Settled) -> Ack:
        header = frame.header
        delivery = header.delivery
        message_id = None if delivery is None else uuid.UUID(bytes=delivery.message_id)
        self._door.count(ClientCounter.ACKED, reason=outcome.status)
        return Ack(header.sender, self._node_id, header.sequence or 0, outcome.status, message_id)
