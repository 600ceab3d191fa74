"""What precedes a session: both sides shake hands, and the dialling one waits to be admitted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from thenodes_plugin_api import (
    Direction,
    Disconnect,
    Frame,
    Hello,
    Message,
    PeerInfo,
    Verified,
)

from ..clock import Clock, timeout
from ..errors import LinkClosed, ProtocolError
from ..limits import Limits
from ..node_id import fingerprint
from ..protocol.close import CloseCode, Ending
from ..protocol.codec import Codec, Part, UnknownKind
from ..protocol.handshake import Handshake, Refused, Role
from ..transport.base import Link
from .farewell import Farewell
from .tally import UNKNOWN, Flow

__all__ = ["Opening"]

# Messages read after the end of a handshake, for the reason that may be among them.
_HEARD_OUT = 4


class Opening:
    """Drives one session's handshake over its link, within limits of bytes and time.

    Args:
        link: the connection.
        role: which side this is.
        handshake: not yet opened.
        codec: the encoding of the link's subprotocol.
        farewell: tells a peer why it is refused, and knows what it said itself.
        send: sends messages, each in a WebSocket message of its own.
        read: reads a WebSocket message of a peer that has proven who it is.
        limits: the bounds.
        clock: times the deadlines.
        flow: counts what comes.

    Attributes:
        early: what came right behind the handshake, counted already; a session's first.
    """

    def __init__(
        self,
        link: Link,
        role: Role,
        handshake: Handshake,
        codec: Codec,
        farewell: Farewell,
        *,
        send: Callable[[Sequence[bytes]], Awaitable[None]],
        read: Callable[[bytes], list[Part]],
        limits: Limits,
        clock: Clock,
        flow: Flow,
    ) -> None:
        self.early: list[Part] = []
        self._link = link
        self._role = role
        self._handshake = handshake
        self._codec = codec
        self._farewell = farewell
        self._send = send
        self._read = read
        self._limits = limits
        self._clock = clock
        self._flow = flow

    async def establish(self, introduce: Callable[[PeerInfo], None]) -> Ending | None:
        """Shake hands.

        Args:
            introduce: told who the peer is, as soon as nothing of the handshake is left;
                a dialling side may not be admitted yet.

        Returns:
            None once established, or how it ended instead; then the peer has been told and
            the link is closed.
        """
        self._link.limit(self._limits.handshake_bytes)
        try:
            async with timeout(self._clock, self._limits.handshake_seconds):
                await self._shake_hands()
                introduce(self._describe())
                if self._role is Role.DIALER and self._handshake.verified is Verified.NONE:
                    await self._await_admission()
        except Refused as error:
            return await self._farewell.refuse(error.ending)
        except ProtocolError as error:
            return await self._farewell.refuse(Ending.here(CloseCode.PROTOCOL, str(error)))
        except TimeoutError:
            seconds = self._limits.handshake_seconds
            detail = f"handshake not complete within {seconds:g} s"
            return await self._farewell.refuse(Ending.here(CloseCode.TIMEOUT, detail))
        except LinkClosed as error:
            await self._hear_out()
            return self._farewell.ending_of(error)
        return None

    async def _shake_hands(self) -> None:
        handshake, room = self._handshake, self._limits.handshake_bytes
        await self._send(handshake.open())
        while not handshake.is_established:
            data = await self._link.receive()
            room -= len(data)
            if room < 0:
                raise ProtocolError(f"more than {self._limits.handshake_bytes} bytes of handshake")
            messages = self._codec.decode(data)
            self._count(messages, data)
            for number, message in enumerate(messages):
                if handshake.is_established:
                    self.early = _without_first(self._read(data), number)
                    break
                if isinstance(message, UnknownKind):
                    continue
                if isinstance(message.body, Disconnect):
                    self._farewell.heard = message.body
                    continue
                if isinstance(message.body, Hello) and len(messages) > 1:
                    raise ProtocolError("HELLO has to be alone in its WebSocket message")
                answer = handshake.receive(message.body, data)
                if self._role is Role.DIALER or handshake.is_established:
                    # Before the answer is sent: what it lets the peer send may be long.
                    self._link.limit(self._limits.message_bytes)
                await self._send(answer)
                handshake.read_ahead()

    async def _await_admission(self) -> None:
        """Wait for the acceptor's first frame, which says that its checks are passed too.

        An acceptor that does not send one is taken at its word after a while.
        """
        try:
            async with timeout(self._clock, self._limits.admission_seconds):
                while not self.early:
                    data = await self._link.receive()
                    early = self._read(data)
                    self._count([message for part in early for message in part], data)
                    if not any([self._farewell.hear(part) for part in early]):
                        self.early = early
        except TimeoutError:
            return

    async def _hear_out(self) -> None:
        """Read what came before the end: the peer may have said why."""
        try:
            for _ in range(_HEARD_OUT):
                self._farewell.hear(self._codec.decode(await self._link.receive()))
        except (LinkClosed, ProtocolError):
            return

    def _count(self, messages: Sequence[Message | UnknownKind | Frame], data: bytes) -> None:
        """Count a message: most bring a single frame."""
        if len(messages) == 1 and not isinstance(messages[0], Frame):
            code = getattr(messages[0].body, "code", UNKNOWN)
            self._flow.add(code, 1, len(data))
        elif self._codec.coalesces:
            self._flow.add_mixed(data)

    def _describe(self) -> PeerInfo:
        hello = self._handshake.peer
        dialler = self._role is Role.DIALER
        return PeerInfo(
            node_id=hello.node_id,
            address=self._link.remote,
            direction=Direction.OUTBOUND if dialler else Direction.INBOUND,
            connected_at=self._clock.time(),
            listen_addr=hello.listen_addr,
            node_type=hello.node_type,
            capabilities=hello.capabilities or (),
            encoding=self._codec.name,
            verified=self._handshake.verified,
            fingerprint=None if hello.public_key is None else fingerprint(hello.public_key),
        )


def _without_first(parts: list[Part], number: int) -> list[Part]:
    """Leave out the handshake's own messages, with which the first part begins."""
    first, *others = parts
    rest = first[number:]
    return [rest, *others] if rest else others
