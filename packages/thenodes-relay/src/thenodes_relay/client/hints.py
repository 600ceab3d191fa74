"""What the reasons of refused binds mean, for whoever reads them."""

from __future__ import annotations

from collections.abc import Mapping

from thenodes_plugin_api import Reason

__all__ = ["MAILBOX_HINTS", "ROUTE_HINTS"]

MAILBOX_HINTS: Mapping[Reason, str] = {
    Reason.POLICY_DENIED: ": network.relay.allow or deny there keeps it out",
    Reason.OVERLOAD: ": it has as many as it takes",
    Reason.QUOTA: ": it has as many of strangers as it takes",
    Reason.RESTARTING: ": it is about to stop",
    Reason.CAPABILITY_MISSING: ": it is no relay",
}
"""Of mailboxes; to be put behind the reason."""

ROUTE_HINTS: Mapping[Reason, str] = {
    Reason.POLICY_DENIED: ": network.relay.allow or deny there keeps this node out",
    Reason.UNKNOWN_TARGET: ": that node has no mailbox there, and has one once it uses that relay",
    Reason.QUOTA: ": this node has as many routes there as it may",
    Reason.OVERLOAD: ": it has no room",
    Reason.RESTARTING: ": it is about to stop",
    Reason.CAPABILITY_MISSING: ": it is no relay",
}
"""Of routes; to be put behind the reason."""
