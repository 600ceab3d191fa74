"""Peer-to-peer nodes for asyncio.

```python
async with Node(Config(port=0)) as node:
    print(node.id, node.address)
```

Names are imported from their modules on first use, so that a program that only
talks to a running node does not load the WebSocket and key libraries.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from .clock import ManualClock, SystemClock
    from .config import (
        Config,
        DiscoveryTable,
        EncryptionTable,
        HealthTable,
        Locks,
        LoggingTable,
        NetworkTable,
        NodeTable,
        PersistenceTable,
        PluginsTable,
        RealmAccessTable,
        RealmTable,
        RelayTable,
        Settings,
        TransportTable,
        TrustPolicyTable,
        load_config,
    )
    from .errors import ConfigError, ListenError, StartError, StateDirError, StateDirInUse
    from .limits import Limits
    from .node import Node
    from .plugins.watchdog import Stall
    from .transport.memory import MemoryNetwork

__all__ = [
    "Config",
    "ConfigError",
    "DiscoveryTable",
    "EncryptionTable",
    "HealthTable",
    "Limits",
    "ListenError",
    "Locks",
    "LoggingTable",
    "ManualClock",
    "MemoryNetwork",
    "NetworkTable",
    "Node",
    "NodeTable",
    "PersistenceTable",
    "PluginsTable",
    "RealmAccessTable",
    "RealmTable",
    "RelayTable",
    "Settings",
    "Stall",
    "StartError",
    "StateDirError",
    "StateDirInUse",
    "SystemClock",
    "TransportTable",
    "TrustPolicyTable",
    "__version__",
    "load_config",
]

_MODULES = {
    "clock": ("ManualClock", "SystemClock"),
    "config": (
        "Config",
        "DiscoveryTable",
        "EncryptionTable",
        "HealthTable",
        "Locks",
        "LoggingTable",
        "NetworkTable",
        "NodeTable",
        "PersistenceTable",
        "PluginsTable",
        "RealmAccessTable",
        "RealmTable",
        "RelayTable",
        "Settings",
        "TransportTable",
        "TrustPolicyTable",
        "load_config",
    ),
    "errors": ("ConfigError", "ListenError", "StartError", "StateDirError", "StateDirInUse"),
    "limits": ("Limits",),
    "node": ("Node",),
    "plugins.watchdog": ("Stall",),
    "transport.memory": ("MemoryNetwork",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
