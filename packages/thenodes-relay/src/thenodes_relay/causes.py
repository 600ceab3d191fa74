"""Why the relay refuses: one table of every cause, with the reason that the peer is told."""

from __future__ import annotations

import enum

import msgspec

from thenodes_plugin_api import QoS, Reason

__all__ = ["Cause", "Refused"]

_SHOWN = 256


class Refused(msgspec.Struct, frozen=True):
    """A bind or a frame that the relay does not take.

    Attributes:
        cause: which row of the table.
        reason: what the peer is told.
        detail: the same in words: what was met, which limit, and the way out.
        retry_after: seconds after which it may go; None where time alone does not help.
    """

    cause: Cause
    reason: Reason
    detail: str
    retry_after: float | None = None


class Cause(enum.Enum):
    """Every cause: its name, the reason told, and the words.

    The first part is about binds, the second about frames, the third about room, where a
    reliable frame is told `quota` instead of `overload` (design: relay.md, QoS).
    """

    UNPROVEN = (Reason.POLICY_DENIED, "only a node that proved its key may bind")
    NOT_ALLOWED = (
        Reason.POLICY_DENIED,
        "this relay serves those alone whom its operator named in network.relay.allow",
    )
    DENIED = (Reason.POLICY_DENIED, "this relay's operator named it in network.relay.deny")
    STORE_OFF = (
        Reason.POLICY_DENIED,
        "network.relay.store_forward is off here: bind without it and not as reliable",
    )
    UNKNOWN_QOS = (
        Reason.POLICY_DENIED,
        "qos {wanted!r}: expected low_latency, high_throughput, bulk or reliable",
    )
    EXPIRED_BIND = (Reason.TIMEOUT, "expires_at is past: it is {now:.0f} here, in Unix seconds")
    BAD_NONCE = (Reason.POLICY_DENIED, "the nonce has more than 64 bits: take a smaller one")
    REPEATED_NONCE = (
        Reason.ALREADY_BOUND,
        "{binding_id} stands, and was asked for with this nonce: renew it with another",
    )
    NO_TARGET = (Reason.UNKNOWN_TARGET, "{target!r} is no target: expected a node id or *")
    SELF_TARGET = (Reason.UNKNOWN_TARGET, "{node} is the binder itself: its mailbox is *")
    NO_MAILBOX_TO_STORE = (
        Reason.UNKNOWN_TARGET,
        "{target} has no mailbox here, so nothing can be stored for it",
    )
    MAILBOXES_FULL = (
        Reason.OVERLOAD,
        "network.relay.mailboxes_max = {limit} mailboxes are open: take another relay",
    )
    STRANGERS_MAILBOXES_FULL = (
        Reason.QUOTA,
        "strangers have half of network.relay.mailboxes_max open, {limit}: be allowed, or trusted",
    )
    TOO_MANY_BINDINGS = (
        Reason.QUOTA,
        "network.relay.max_bindings_per_node = {limit} bindings stand: unbind one",
    )

    FORGED_SENDER = (Reason.UNAUTHENTICATED, "the frame is from {sender!r}, the session of {node}")
    BAD_FRAME = (Reason.BAD_FRAME, "{problem}")
    TOO_FAST = (Reason.RATE_LIMITED, "over network.relay.{key} = {limit}: slow down")
    NOT_BOUND = (Reason.NOT_BOUND, "no binding to {target}: bind first")
    NO_MAILBOX = (Reason.UNKNOWN_TARGET, "{target} has no mailbox here")
    NO_STORE = (
        Reason.POLICY_DENIED,
        "a reliable frame is stored first, but {target} or the binding asked for no storing",
    )
    STORES_NOTHING = (
        Reason.POLICY_DENIED,
        "a reliable frame is stored first, and network.relay.store_forward is off at this relay",
    )
    ABSENT = (Reason.PEER_LEFT, "{target} is away, and the frame is not to be stored")
    EXPIRED = (Reason.TIMEOUT, "it expired before {target} had it")
    TARGET_FAILED = (Reason.DECLINED, "{target} had it and could not take it")
    UNPROVEN_SENDER = (Reason.UNAUTHENTICATED, "only a node that proved its key may forward")
    RESTARTING = (Reason.RESTARTING, "the relay is about to stop: take another one")
    MAILBOX_ENDED = (Reason.PEER_LEFT, "the mailbox of {target} ended before it had the frame")

    SHARE_OF_TARGET_FULL = (
        Reason.OVERLOAD,
        "one sender may have {limit} waiting for {target}: a quarter of network.relay.{key}",
    )
    SHARE_OF_ALL_FULL = (
        Reason.OVERLOAD,
        "one sender may have {limit} waiting here: a twentieth of network.relay.{key}",
    )
    STRANGERS_FULL = (
        Reason.OVERLOAD,
        "strangers may have {limit} waiting here: half of network.relay.{key}",
    )
    TARGET_FULL = (Reason.OVERLOAD, "{limit} may wait for {target}: network.relay.{key}")
    RELAY_FULL = (Reason.OVERLOAD, "{limit} may wait here: network.relay.{key}")
    DISK_FULL = (Reason.OVERLOAD, "the relay cannot store it: {problem}")
    EVICTED = (Reason.OVERLOAD, "it made room for another frame to {target}")

    @property
    def reason(self) -> Reason:
        """What the peer is told, where the frame is not reliable."""
        return self.value[0]

    def refuse(
        self, *, qos: QoS | None = None, retry_after: float | None = None, **words: object
    ) -> Refused:
        """Refuse for this cause.

        Args:
            qos: of the frame that there is no room for.
            retry_after: seconds.
            **words: what the detail speaks of; of a text no more than its beginning.
        """
        reason, detail = self.value
        if qos is QoS.RELIABLE and self in _QUOTAS:
            reason = Reason.QUOTA
        # A frame may name a target of any length, and the peer takes no longer header.
        shown = {
            name: word[:_SHOWN] if isinstance(word, str) else word for name, word in words.items()
        }
        return Refused(self, reason, detail.format_map(shown), retry_after)


_QUOTAS = frozenset(
    (
        Cause.TARGET_FULL,
        Cause.SHARE_OF_TARGET_FULL,
        Cause.SHARE_OF_ALL_FULL,
        Cause.STRANGERS_FULL,
        Cause.RELAY_FULL,
    )
)
