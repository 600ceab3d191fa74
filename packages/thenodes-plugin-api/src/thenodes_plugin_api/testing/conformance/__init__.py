"""What every host does with plugins: behaviours, written once, for the kit and for the node.

A behaviour is a coroutine function that gets a `Rig` and asserts. The kit's `Mesh` and the
core's `Node` each have a rig, so neither can come to differ from the other.
"""

from __future__ import annotations

from .containment import CONTAINMENT
from .delivery import DELIVERY
from .life import LIFE
from .mesh_rig import MeshRig
from .questions import QUESTIONS
from .relaying import RELAYING
from .rig import Behaviour, Probe, Rig, Spec

__all__ = ["BEHAVIOURS", "Behaviour", "MeshRig", "Probe", "Rig", "Spec"]

BEHAVIOURS: tuple[Behaviour, ...] = DELIVERY + RELAYING + QUESTIONS + CONTAINMENT + LIFE
"""All of them, in the order in which they are best read."""
