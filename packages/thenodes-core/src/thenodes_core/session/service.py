"""A session as services see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from thenodes_plugin_api import (
    Ack,
    Body,
    KindNotAllowed,
    Message,
    PayloadError,
    PayloadTooLarge,
    PeerInfo,
    Reason,
    RelayBind,
    RelayBindAck,
    RelayNotify,
    RelayUnbind,
)

from ..protocol.close import CloseCode, Ending
from ..protocol.forward import message_of
from .session import Session

__all__ = ["SessionService"]

_OWN_KINDS = frozenset({RelayBind, RelayBindAck, RelayUnbind, RelayNotify, Ack})

_CODES = {code.reason: code for code in CloseCode}


class SessionService:
    """What the plugin API promises as `ServiceSession`.

    Args:
        session: established.
        local_id: this node's id.
        dropped: told of a frame that a JSON peer cannot be given, which counts as taken.

    Attributes:
        is_configured: whether it was dialled at an address of the operator's.
    """

    __slots__ = ("_coalesces", "_dropped", "_local_id", "_outbox", "_session", "is_configured")

    def __init__(
        self,
        session: Session,
        local_id: str,
        *,
        is_configured: bool,
        dropped: Callable[[], None],
    ) -> None:
        self.is_configured = is_configured
        self._session = session
        self._outbox = session.outbox
        self._coalesces = session.codec.coalesces
        self._local_id = local_id
        self._dropped = dropped

    @property
    def peer(self) -> PeerInfo:
        """Who it is."""
        return self._session.info

    @property
    def instance(self) -> bytes | None:
        """Random, of the peer's process."""
        return self._session.hello.instance

    @property
    def card(self) -> bytes | None:
        """The identity card that the peer showed, checked."""
        return self._session.hello.card

    @property
    def is_open(self) -> bool:
        """False once nothing more is taken."""
        return not self._outbox.closed

    @property
    def waiting_bytes(self) -> int:
        """Bytes queued for the peer and not yet handed to its socket."""
        return self._outbox.size_bytes

    @property
    def waiting_frames(self) -> int:
        """Frames queued for the peer and not yet handed to its socket."""
        return len(self._outbox)

    def offer(self, frames: Sequence[bytes]) -> int:
        """Queue RELAY_FWD frames, in order, as far as there is room; never waits.

        Returns:
            How many were taken: the first ones.
        """
        if self._coalesces:
            return self._outbox.offer_all(frames)
        for number, frame in enumerate(frames):
            try:
                envelope = self._translated(frame)
            except (PayloadTooLarge, PayloadError):
                self._dropped()
                continue
            if not self._outbox.offer_all((envelope,)):
                return number
        return len(frames)

    def send(self, body: Body) -> bool:
        """Queue a message of the service's own; False where there is no room. Never waits.

        Raises:
            KindNotAllowed: it is of a kind that is not a service's own.
            PayloadTooLarge: it is over a limit that the peer enforces.
        """
        if type(body) not in _OWN_KINDS:
            raise KindNotAllowed(f"{body.token} is not a kind that a service may send")
        return self._outbox.offer(self._encode(Message(body)), body.code)

    def on_room(self, action: Callable[[], None]) -> None:
        """Call `action` once, when the peer has taken what is queued down to half the room."""
        self._outbox.on_room(action)

    def watch_closely(self, interval_seconds: float) -> None:
        """Ask the peer for a sign of life after so much silence, instead of the usual."""
        self._session.watch_closely(interval_seconds)

    def end(self, reason: Reason, detail: str, *, retry_after: float | None = None) -> None:
        """End the session: what is queued is sent, then the peer is told why."""
        code = _CODES.get(reason, CloseCode.NORMAL)
        self._session.end(Ending.here(code, detail, reason=reason, retry_after=retry_after))

    def _translated(self, frame: bytes) -> bytes:
        return self._session.codec.encode(message_of(frame, self._local_id, self.peer.node_id))

    def _encode(self, message: Message) -> bytes:
        if self._coalesces:
            return self._session.codec.encode(message)
        hop = Message(message.body, sender=self._local_id, to=self.peer.node_id)
        return self._session.codec.encode(hop)
