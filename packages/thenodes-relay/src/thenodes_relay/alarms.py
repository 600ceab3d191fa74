"""What the operator is told of refusals: the first of each node and reason, not every one."""

from __future__ import annotations

from thenodes_plugin_api import Level, NetworkEvent, PluginContext, Reason

from .causes import Refused

__all__ = ["Alarms"]

_REMEMBERED = 4096
_DETAIL_MAX = 500
_AT_ONCE = 20
_AGAIN_SECONDS = 3600.0
_TOLD = frozenset(
    (
        Reason.UNAUTHENTICATED,
        Reason.BAD_FRAME,
        Reason.RATE_LIMITED,
        Reason.QUOTA,
        Reason.OVERLOAD,
        Reason.POLICY_DENIED,
    )
)


class Alarms:
    """Tells the operator which node was refused something, once an hour for each reason.

    Of the nodes told, the last 4096 are remembered. Of all together 20 are told at once, and
    one a second.

    Args:
        ctx: the plugin's context.
    """

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._told: dict[tuple[str, Reason], float] = {}
        self._left = float(_AT_ONCE)
        self._at = ctx.clock.monotonic()

    def refused(self, node: str, refused: Refused) -> None:
        """A node was refused something."""
        if refused.reason not in _TOLD:
            return
        key = (node, refused.reason)
        now = self._ctx.clock.monotonic()
        told = self._told.get(key)
        if told is not None and now - told < _AGAIN_SECONDS:
            return
        self._left = min(_AT_ONCE, self._left + now - self._at)
        self._at = now
        if self._left < 1:
            return
        self._left -= 1
        self._told.pop(key, None)
        if len(self._told) >= _REMEMBERED:
            del self._told[next(iter(self._told))]
        self._told[key] = now
        self._ctx.events.emit(
            NetworkEvent(
                level=Level.WARNING,
                action="relay_refused",
                detail=f"refused {node}: {refused.reason}, {refused.detail}"[:_DETAIL_MAX],
                node_id=node,
                reason=refused.reason,
                at=self._ctx.clock.time(),
            )
        )
