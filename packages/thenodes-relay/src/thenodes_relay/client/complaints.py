"""What the operator reads of frames that relays refuse, or do not deliver."""

from __future__ import annotations

from thenodes_plugin_api import PluginContext, Reason, RelayNotify

from ..counters import ClientCounter

__all__ = ["Complaints"]

_AGAIN_SECONDS = 3600.0
_SHOWN = 256

# Of a target that is away, or a route that is asked for anew: nothing is wrong.
_USUAL = frozenset(
    (Reason.PEER_LEFT, Reason.NOT_BOUND, Reason.UNKNOWN_TARGET, Reason.RESTARTING, Reason.UNKNOWN)
)


class Complaints:
    """Logs the first notification of each reason, once an hour; the counters have every one.

    Args:
        ctx: the plugin's context.
    """

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._told: dict[Reason, float] = {}

    def notified(self, relay: str, notify: RelayNotify) -> None:
        """A relay told something."""
        reason = notify.notif_type
        if notify.message_id is None or reason in _USUAL:
            return
        now = self._ctx.clock.monotonic()
        told = self._told.get(reason)
        if told is not None and now - told < _AGAIN_SECONDS:
            return
        self._told[reason] = now
        self._ctx.logger.warning(
            "%s does not deliver a message of this node: %s, %s; more are counted as %s.%s",
            relay,
            reason,
            (notify.detail or "it says no more")[:_SHOWN],
            ClientCounter.NOTIFIED,
            reason,
        )
