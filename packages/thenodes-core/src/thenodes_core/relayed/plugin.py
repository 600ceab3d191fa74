"""The plugin that does a node's relaying: which it is, and what is told where it is missing."""

from __future__ import annotations

from collections.abc import Sequence

from ..config import RelayTable
from ..errors import StartError
from ..plugins.host import PluginHost

__all__ = ["check_relay", "relay_plugins"]

_PLUGIN = "relay"
_PACKAGE = "thenodes-relay"
_NOT_INSTALLED = "TN-P010"
_TABLE = "network.relay"


def relay_plugins(table: RelayTable) -> Sequence[str]:
    """The installed plugins that `[network.relay]` asks for."""
    return [_PLUGIN] if table.is_on else []


def check_relay(table: RelayTable, host: PluginHost) -> None:
    """See to it that a node that is to use relays can.

    Raises:
        StartError: no plugin does that; says why, and the way out.
    """
    if not table.is_on or host.serves(_TABLE):
        return
    rejected = [verdict for verdict in host.rejected if _PLUGIN in (verdict.id, verdict.origin)]
    if any(_NOT_INSTALLED in verdict.codes for verdict in rejected):
        why = "and it is not installed"
    elif rejected:
        why = f"and it was rejected: {rejected[0]}"
    elif any(status.id == _PLUGIN for status in host.status()):
        why = "and the plugin of that id is another: its manifest does not name that table"
    else:
        why = "and there is none"
    raise StartError(
        f"[{_TABLE}] is on, which needs the plugin {_PLUGIN}, {why}. Install it into the node's "
        f"environment (pip install {_PACKAGE}), or leave [{_TABLE}] out"
    )
