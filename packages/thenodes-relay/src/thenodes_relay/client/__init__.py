"""The node's side of relays; the relay itself knows nothing of it."""

from .client import ClientStatus, RelayClient, RelayUse

__all__ = ["ClientStatus", "RelayClient", "RelayUse"]
