"""Sorts what a session brings, by who takes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, cast

from thenodes_plugin_api import Frame, Message

from ..clock import Clock
from ..limits import Limits
from ..protocol.codec import Part, UnknownKind
from ..rate import TokenBucket
from .takers import CONTROL, Takers
from .tally import FORWARDED, UNKNOWN, Flow

if TYPE_CHECKING:
    from .session import Session

__all__ = ["Intake", "Receiver", "TooManyControlMessages"]

_CONTROL_BURST = 10


class Receiver(Protocol):
    """Takes what a session receives."""

    def deliver(self, session: Session, messages: Sequence[Message]) -> bool:
        """Take messages, in order. Returns True to be given a turn of the event loop."""
        ...

    def control(self, session: Session, message: Message) -> None:
        """Take a message that the node answers itself: PEER_REQUEST, PEER_LIST."""
        ...

    def unknown_kinds(self, session: Session, kind: str, count: int, *, first: bool) -> None:
        """Told of messages of kinds that this version does not know.

        Args:
            session: whose they are.
            kind: what the first of them calls itself.
            count: how many there are.
            first: True for the first of this session.
        """
        ...


class TooManyControlMessages(Exception):
    """Raised where a peer floods the node itself."""


class Intake:
    """Gives what comes to the session itself, to services, and to the receiver, in order.

    Args:
        session: whose it is.
        receiver: takes what is for plugins, and is told of unknown kinds.
        takers: services that take what plugins do not get.
        handle: takes what concerns the session.
        limits: how many control messages there may be.
        clock: times them.
        flow: counts what comes.
    """

    def __init__(
        self,
        session: Session,
        receiver: Receiver,
        takers: Takers,
        handle: Callable[[Message, Receiver], None],
        *,
        limits: Limits,
        clock: Clock,
        flow: Flow,
    ) -> None:
        self._session = session
        self._receiver = receiver
        self._takers = takers
        self._handle = handle
        self._clock = clock
        self._flow = flow
        self._unknown_seen = False
        rate = limits.control_per_second
        self._rate = TokenBucket(rate, rate * _CONTROL_BURST, clock.monotonic())

    def take(self, parts: Sequence[Part], data: bytes | None = None) -> bool:
        """Take the parts of one WebSocket message; True where plugins need a turn.

        Args:
            parts: in their order.
            data: the message, where it is not counted yet.

        Raises:
            TooManyControlMessages: more than the limits allow.
            ProtocolError: a kind that has no place in an established session.
        """
        plugins_due = False
        if data is not None and len(parts) > 1:
            self._flow.add_mixed(data)
            data = None
        for part in parts:
            if type(part[0]) is not Frame:
                messages = cast("list[Message | UnknownKind]", part)
                plugins_due = self._take_messages(messages, data) or plugins_due
                continue
            if data is not None:
                self._flow.add(FORWARDED, len(part), len(data))
            if self._takers.frames is not None:
                plugins_due = self._takers.frames(self._session, part) or plugins_due
        return plugins_due

    def _take_messages(self, messages: Sequence[Message | UnknownKind], data: bytes | None) -> bool:
        kinds = {type(message.body) for message in messages}
        if data is not None:
            flow, body = self._flow, messages[0].body
            code = UNKNOWN if body is None else body.code
            if len(kinds) > 1:
                flow.add_mixed(data)
            elif code == flow.code:
                # Most that comes, without a call.
                flow.frames += len(messages)
                flow.bytes += len(data)
            else:
                flow.add(code, len(messages), len(data))
        apart = self._takers.apart
        if apart.isdisjoint(kinds):
            return self._receiver.deliver(self._session, cast("Sequence[Message]", messages))
        if not CONTROL.isdisjoint(kinds):
            self._take_control(messages)
        if apart is not CONTROL:
            self._take_served(messages)
        rest = [m for m in messages if type(m.body) not in apart]
        return bool(rest) and self._receiver.deliver(self._session, cast("Sequence[Message]", rest))

    def _take_control(self, messages: Sequence[Message | UnknownKind]) -> None:
        control = [m for m in messages if type(m.body) in CONTROL]
        if not self._rate.take(self._clock.monotonic(), len(control)):
            raise TooManyControlMessages
        unknown = [message.kind for message in control if isinstance(message, UnknownKind)]
        if unknown:
            first, self._unknown_seen = not self._unknown_seen, True
            self._receiver.unknown_kinds(self._session, unknown[0], len(unknown), first=first)
        for message in control:
            if isinstance(message, Message):
                self._handle(message, self._receiver)

    def _take_served(self, messages: Sequence[Message | UnknownKind]) -> None:
        for message in messages:
            if isinstance(message, Message):
                taker = self._takers.get(type(message.body))
                if taker is not None:
                    taker(self._session, message)
