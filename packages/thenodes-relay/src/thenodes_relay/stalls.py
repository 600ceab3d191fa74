"""Targets that take nothing: they are named."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import msgspec

from thenodes_plugin_api import Level, NetworkEvent, PluginContext

from .counters import Counter, Tally
from .flow import Flow

__all__ = ["STALLED_SECONDS", "Stall", "Stalls"]

STALLED_SECONDS = 3.0
"""A target that took nothing for so long, while something waits for it, is stalled."""

_NAMED_MAX = 1000
_REMEMBERED = 16


class Stall(msgspec.Struct, frozen=True):
    """A target that stopped taking frames.

    Attributes:
        target: its node id.
        at: Unix seconds.
    """

    target: str
    at: float


class Stalls:
    """Watches for targets that stopped taking frames.

    Args:
        flows: the targets, by id.
        tally: counts them, by id.
        ctx: tells the operator.
    """

    def __init__(self, flows: Mapping[str, Flow], tally: Tally, ctx: PluginContext) -> None:
        self._flows = flows
        self._tally = tally
        self._ctx = ctx
        self._named: set[str] = set()
        self.recent: deque[Stall] = deque(maxlen=_REMEMBERED)

    def current(self) -> list[str]:
        """Who is stalled now."""
        return sorted(node for node, flow in self._flows.items() if flow.is_stalled)

    def look(self) -> None:
        """Look at everybody."""
        now = self._ctx.clock.monotonic()
        for node, flow in self._flows.items():
            since = flow.blocked_since
            if since is None:
                flow.is_stalled = False
            elif not flow.is_stalled and now - since >= STALLED_SECONDS:
                flow.is_stalled = True
                self._tell(node)

    def _tell(self, node: str) -> None:
        if len(self._named) < _NAMED_MAX:
            self._named.add(node)
        at = self._ctx.clock.time()
        self._tally.add(Counter.STALLED, reason=node if node in self._named else "others")
        self.recent.append(Stall(node, at))
        detail = f"{node} has taken nothing for {STALLED_SECONDS:g} s; what is for it waits"
        self._ctx.events.emit(
            NetworkEvent(
                level=Level.WARNING,
                action="relay_target_stalled",
                detail=detail,
                node_id=node,
                at=at,
            )
        )
