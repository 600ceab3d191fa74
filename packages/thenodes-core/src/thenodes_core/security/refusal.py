"""Why a frame that came through a relay is not given to plugins."""

from __future__ import annotations

import enum

from thenodes_plugin_api import Reason

__all__ = ["MOST_AGE_MS", "DropReason", "Refused"]

MOST_AGE_MS = 30 * 24 * 60 * 60 * 1000
"""How long after it was made a frame may still be delivered; no relay keeps one for longer."""


class DropReason(enum.StrEnum):
    """The reasons of the counter `relayed_dropped`."""

    MISADDRESSED = "misaddressed"
    """It is for another node."""
    BAD_FRAME = "bad_frame"
    """It, or what it encloses, is malformed or lacks what every frame has."""
    NOT_ALLOWED = "not_allowed"
    """It encloses what may not travel so: another relayed frame, or session control."""
    UNSEALED = "unsealed"
    """It is not sealed, and `network.relay.seal` is `required`."""
    UNKNOWN_KEY = "unknown_key"
    """It is sealed for a key that is not, or no longer, this node's."""
    BAD_CARD = "bad_card"
    """The sender's card is forged, damaged, or not valid when the frame was made."""
    OTHER_SENDER = "other_sender"
    """The card, or the seal, is of another node than the frame says."""
    OTHER_REALM = "other_realm"
    """The card is of another realm."""
    BAD_WRAP = "bad_wrap"
    """The session key is not signed by the sender for this node."""
    TOO_MANY_KEYS = "too_many_keys"
    """It came under one more new session key than is verified, or behind too many of them; it
    may come again."""
    TAMPERED = "tampered"
    """What the seal protects is not as the sender sealed it."""
    EXPIRED = "expired"
    """It came too late."""
    OVER_AGE = "over_age"
    """It was made longer ago, or is to live longer, than any relay keeps a frame."""
    AHEAD = "ahead"
    """It is dated more than a day ahead."""
    OTHER_KEY = "other_key"
    """The sender's id is known here with another key, or with one and nothing is proven."""
    UNKNOWN_ID = "unknown_id"
    """The sender chose its id, and this node does not know its key."""
    UNTRUSTED = "untrusted"
    """The trust policy does not admit the sender."""
    DUPLICATE = "duplicate"
    """Plugins had it already, or have it now."""
    RECEIVED_FULL = "received_full"
    """No more ids of reliable frames can be remembered; it will come again."""
    NOT_TAKEN = "not_taken"
    """No plugin is there for it, or none had room."""


_TOLD: dict[DropReason, Reason] = {
    DropReason.UNSEALED: Reason.UNAUTHENTICATED,
    DropReason.UNKNOWN_KEY: Reason.NO_CARD,
    DropReason.BAD_CARD: Reason.UNAUTHENTICATED,
    DropReason.OTHER_SENDER: Reason.UNAUTHENTICATED,
    DropReason.OTHER_REALM: Reason.UNAUTHENTICATED,
    DropReason.BAD_WRAP: Reason.UNAUTHENTICATED,
    DropReason.TAMPERED: Reason.UNAUTHENTICATED,
    DropReason.EXPIRED: Reason.TIMEOUT,
    DropReason.OVER_AGE: Reason.TIMEOUT,
    DropReason.OTHER_KEY: Reason.POLICY_DENIED,
    DropReason.UNKNOWN_ID: Reason.POLICY_DENIED,
    DropReason.UNTRUSTED: Reason.POLICY_DENIED,
    DropReason.NOT_TAKEN: Reason.CAPABILITY_MISSING,
}


class Refused(Exception):
    """A frame is refused for good; whoever sent it may be told.

    Attributes:
        reason: why, for the counter.
        detail: the same in words.
    """

    def __init__(self, reason: DropReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    @property
    def told(self) -> Reason:
        """What the origin is told."""
        return _TOLD.get(self.reason, Reason.BAD_FRAME)
