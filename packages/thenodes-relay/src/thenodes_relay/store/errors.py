"""Why a store cannot be opened.

```
TheNodesError
└── StoreError           it cannot be used; the file was not touched
    ├── StoreTooNew      a newer version wrote it
    └── StoreInUse       another relay has it open
```
"""

from __future__ import annotations

from thenodes_plugin_api import TheNodesError

__all__ = ["StoreError", "StoreInUse", "StoreTooNew"]


class StoreError(TheNodesError):
    """The store cannot be used."""


class StoreTooNew(StoreError):
    """A newer version of this package wrote it."""


class StoreInUse(StoreError):
    """Another relay has it open."""
