"""The last words of a session: why it ends, as this side says it and as the peer did."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from thenodes_plugin_api import Disconnect, Frame, Message

from ..clock import Clock, timeout
from ..errors import LinkClosed
from ..limits import Limits
from ..protocol.close import CloseCode, Ending
from ..protocol.codec import Codec, UnknownKind
from ..transport.base import Link

__all__ = ["Farewell"]

_UNEXPLAINED = {1001: "going away", 1006: "connection lost", 1009: "message too big"}


class Farewell:
    """What each side says of the end of one session.

    Args:
        link: the connection.
        codec: the encoding of what is said.
        send: sends messages past all that is queued.
        limits: how long to wait for a peer that does not read.
        clock: times that.

    Attributes:
        heard: the peer's DISCONNECT, once it came.
    """

    __slots__ = ("_clock", "_codec", "_limits", "_link", "_send", "heard")

    def __init__(
        self,
        link: Link,
        codec: Codec,
        send: Callable[[Sequence[bytes]], Awaitable[None]],
        *,
        limits: Limits,
        clock: Clock,
    ) -> None:
        self.heard: Disconnect | None = None
        self._link = link
        self._codec = codec
        self._send = send
        self._limits = limits
        self._clock = clock

    def hear(self, messages: Sequence[Message | UnknownKind | Frame]) -> bool:
        """Look for the peer's DISCONNECT among messages; True where it is there."""
        for message in messages:
            if isinstance(message, Message) and isinstance(message.body, Disconnect):
                self.heard = message.body
                return True
        return False

    async def say(self, ending: Ending) -> None:
        """Tell the peer why the session ends, and close the link.

        Raises:
            LinkClosed: the peer is gone already.
        """
        message = Message(ending.disconnect(), sender="TheNodes", to=self._link.remote)
        await self._send([self._codec.encode(message)])
        code = CloseCode(ending.code)
        await self._link.close(code, code.word)

    async def refuse(self, ending: Ending) -> Ending:
        """As `say`, to a peer that may be gone or not read; then cut. Returns `ending`."""
        try:
            async with timeout(self._clock, self._limits.close_seconds):
                await self.say(ending)
        except (LinkClosed, TimeoutError):
            pass  # The peer is gone or does not read: it cannot be told.
        self._link.abort()
        return ending

    def ending_of(self, closed: LinkClosed) -> Ending:
        """How a session ended whose link closed, in the peer's words where it said any."""
        word = closed.reason or _UNEXPLAINED.get(closed.code, "")
        if closed.by_peer:
            return Ending.there(closed.code, word, self.heard or Disconnect())
        return Ending(code=closed.code, detail=word)
