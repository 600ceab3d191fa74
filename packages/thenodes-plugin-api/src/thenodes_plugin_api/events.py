"""What happens on a node, told to sinks: the console, a file, a plugin."""

from __future__ import annotations

import enum
import time
from typing import Protocol, TypeAlias

import msgspec

from .messages import Reason
from .peers import Direction

__all__ = [
    "BindingStatus",
    "Event",
    "EventSink",
    "Level",
    "NetworkEvent",
    "PluginEvent",
    "PromotionEvent",
    "SystemEvent",
    "TrustDecisionEvent",
]


class Level(enum.StrEnum):
    """How much an event matters."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def severity(self) -> int:
        """The number that the logging module gives this level."""
        return _SEVERITY[self]


_SEVERITY = {Level.DEBUG: 10, Level.INFO: 20, Level.WARNING: 30, Level.ERROR: 40}


class _EventBase(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    level: Level = Level.INFO
    at: float = msgspec.field(default_factory=time.time)


class SystemEvent(_EventBase, frozen=True, kw_only=True, tag="system"):
    """The node itself: started, stopping, a setting applied.

    Attributes:
        level: how much it matters.
        at: when, in Unix seconds.
        action: what happened, one word or a few joined by `_`.
        detail: the same for people.
    """

    action: str
    detail: str = ""


class NetworkEvent(_EventBase, frozen=True, kw_only=True, tag="network"):
    """A peer, a session or an address.

    Attributes:
        action: what happened, such as `"peer_joined"` or `"dial_failed"`.
        detail: the same for people.
        addr: the address concerned.
        node_id: the peer concerned.
        reason: why, where there is a reason code.
    """

    action: str
    detail: str = ""
    addr: str | None = None
    node_id: str | None = None
    reason: Reason | None = None


class PluginEvent(_EventBase, frozen=True, kw_only=True, tag="plugin"):
    """A plugin was loaded, failed, or has something to tell.

    Attributes:
        plugin: the plugin's id.
        action: what happened.
        detail: the same for people.
    """

    plugin: str
    action: str
    detail: str = ""


class BindingStatus(enum.StrEnum):
    """Whether a certificate's subject names the realm."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLIED = "not_applied"


class TrustDecisionEvent(_EventBase, frozen=True, kw_only=True, tag="trust_decision"):
    """A peer was admitted or refused by the trust policy."""

    role: Direction
    decision: str
    reason: str
    mode: str
    fingerprint: str | None = None
    pinned_fingerprint_match: bool | None = None
    pinned_subject_match: bool | None = None
    realm_binding: BindingStatus = BindingStatus.NOT_APPLIED
    chain_valid: bool | None = None
    chain_reason: str | None = None
    time_valid: bool | None = None
    time_reason: str | None = None
    stored: str | None = None
    peer_addr: str | None = None
    realm: str | None = None
    dry_run: bool = False
    override_action: str | None = None


class PromotionEvent(_EventBase, frozen=True, kw_only=True, tag="promotion"):
    """A key was moved from one trust store to another."""

    fingerprint: str
    from_store: str
    to_store: str
    operator: str
    success: bool


Event: TypeAlias = SystemEvent | NetworkEvent | PluginEvent | TrustDecisionEvent | PromotionEvent


class EventSink(Protocol):
    """Receives events, in order, each sink in its own task.

    A sink that is slow loses events (they are counted); one that raises is
    reported and goes on with the next event.
    """

    async def handle(self, event: Event) -> None:
        """Take one event."""
        ...
