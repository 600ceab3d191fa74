"""Close codes: why a session ended, as the WebSocket close frame and DISCONNECT say it."""

from __future__ import annotations

import enum

import msgspec

from thenodes_plugin_api import Disconnect, Reason

from ..text import printable

__all__ = ["CloseCode", "Ending"]


_DETAIL_CHARACTERS = 300


class CloseCode(enum.IntEnum):
    """WebSocket close codes of TheNodes; `word` is the close reason's text."""

    NORMAL = 1000
    PROTOCOL = 4000
    REALM = 4001
    IDENTITY = 4002
    NODE_TYPE = 4003
    REPLACED = 4004
    SELF = 4005
    OVERLOADED = 4006
    VERSION = 4007
    RATE_LIMITED = 4008
    RESTARTING = 4009
    TIMEOUT = 4010

    @property
    def word(self) -> str:
        """The single word in the close frame."""
        return self.name.lower().replace("_", "-")

    @property
    def reason(self) -> Reason:
        """The reason that DISCONNECT carries."""
        return _REASONS[self]


_REASONS = {
    CloseCode.NORMAL: Reason.PEER_LEFT,
    CloseCode.PROTOCOL: Reason.BAD_FRAME,
    CloseCode.REALM: Reason.POLICY_DENIED,
    CloseCode.IDENTITY: Reason.UNAUTHENTICATED,
    CloseCode.NODE_TYPE: Reason.POLICY_DENIED,
    CloseCode.REPLACED: Reason.REPLACED,
    CloseCode.SELF: Reason.DECLINED,
    CloseCode.OVERLOADED: Reason.OVERLOAD,
    CloseCode.VERSION: Reason.DECLINED,
    CloseCode.RATE_LIMITED: Reason.RATE_LIMITED,
    CloseCode.RESTARTING: Reason.RESTARTING,
    CloseCode.TIMEOUT: Reason.TIMEOUT,
}


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a session ended, or is to end.

    Attributes:
        code: a `CloseCode`, or another WebSocket close code where the peer sent one.
        detail: the cause for people; from a peer where `by_peer`.
        reason: the reason code.
        retry_after: seconds until the peer may come again, or None.
        by_peer: True where the other side ended it.
    """

    code: int
    detail: str = ""
    reason: Reason = Reason.PEER_LEFT
    retry_after: float | None = None
    by_peer: bool = False

    @classmethod
    def here(
        cls,
        code: CloseCode,
        detail: str,
        *,
        reason: Reason | None = None,
        retry_after: float | None = None,
    ) -> Ending:
        """An ending that this side decides; a detail that quotes the peer is escaped and cut."""
        detail = printable(detail, most=_DETAIL_CHARACTERS)
        return cls(code=code, detail=detail, reason=reason or code.reason, retry_after=retry_after)

    @classmethod
    def there(cls, code: int, word: str, told: Disconnect) -> Ending:
        """An ending that the peer decided; what it says is escaped and cut.

        Args:
            code: the close code.
            word: the close frame's text.
            told: the peer's DISCONNECT, empty where it sent none.
        """
        return cls(
            code=code,
            detail=printable(told.detail or word, most=_DETAIL_CHARACTERS),
            reason=told.reason or Reason.PEER_LEFT,
            retry_after=told.retry_after,
            by_peer=True,
        )

    @property
    def word(self) -> str:
        """The close code's word, or its number."""
        try:
            return CloseCode(self.code).word
        except ValueError:
            return str(self.code)

    def disconnect(self) -> Disconnect:
        """The message that tells the peer."""
        return Disconnect(self.reason, self.detail or None, self.retry_after)

    def __str__(self) -> str:
        who = "peer" if self.by_peer else "here"
        return f"{self.word} ({who})" + (f": {self.detail}" if self.detail else "")
