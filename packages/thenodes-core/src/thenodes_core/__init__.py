"""Peer-to-peer nodes for asyncio.

```python
async with Node(Config(port=0)) as node:
    print(node.id, node.address)
```
"""

from ._version import __version__
from .clock import ManualClock, SystemClock
from .config import (
    Config,
    EncryptionTable,
    NodeTable,
    PluginsTable,
    RealmAccessTable,
    RealmTable,
    TransportTable,
    load_config,
)
from .errors import ConfigError, ListenError, StartError, StateDirError, StateDirInUse
from .limits import Limits
from .node import Node
from .transport.memory import MemoryNetwork

__all__ = [
    "Config",
    "ConfigError",
    "EncryptionTable",
    "Limits",
    "ListenError",
    "ManualClock",
    "MemoryNetwork",
    "Node",
    "NodeTable",
    "PluginsTable",
    "RealmAccessTable",
    "RealmTable",
    "StartError",
    "StateDirError",
    "StateDirInUse",
    "SystemClock",
    "TransportTable",
    "__version__",
    "load_config",
]
