"""The public API of this package as data, and what a change of it means for plugins.

`api.json` beside the package's sources is the snapshot. A test fails where the code
differs from it, and `python -m thenodes_plugin_api.testing.public_api` takes a new one.
"""

from __future__ import annotations

from .changes import Change, Level, changes
from .describe import PLUGIN_IMPLEMENTED, Api, Class, Member, Name, describe
from .snapshot import Snapshot, problems, take

__all__ = [
    "PLUGIN_IMPLEMENTED",
    "Api",
    "Change",
    "Class",
    "Level",
    "Member",
    "Name",
    "Snapshot",
    "changes",
    "describe",
    "problems",
    "take",
]
