"""The test kit: what a plugin's own tests need, without a node.

`RecordingContext` for hooks that a test calls itself, `Mesh` for plugins that talk to
each other, `ManualClock` for both, `check_plugin` for what every host expects. With
pytest, the fixtures `context`, `clock`, `plugin` and `mesh` are there without an import.
"""

from __future__ import annotations

from .check import check_plugin
from .clock import ManualClock, settle
from .errors import NonConformance, PromptFailed, RegistrationError
from .loading import Registered, embed, find_manifest, load_manifest, make_config, register
from .mesh import Mesh
from .mesh_node import MeshNode
from .node_context import NodeContext
from .peer import make_peer
from .recording import Answer, RecordingContext
from .records import (
    Asked,
    Bound,
    Broadcast,
    Fault,
    Forwarded,
    LogLine,
    Repeated,
    Replied,
    Sent,
    Spawned,
)
from .scripted_relay import ScriptedRelay

__all__ = [
    "Answer",
    "Asked",
    "Bound",
    "Broadcast",
    "Fault",
    "Forwarded",
    "LogLine",
    "ManualClock",
    "Mesh",
    "MeshNode",
    "NodeContext",
    "NonConformance",
    "PromptFailed",
    "RecordingContext",
    "Registered",
    "RegistrationError",
    "Repeated",
    "Replied",
    "ScriptedRelay",
    "Sent",
    "Spawned",
    "check_plugin",
    "embed",
    "find_manifest",
    "load_manifest",
    "make_config",
    "make_peer",
    "register",
    "settle",
]
