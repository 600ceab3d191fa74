"""Whether a node is ready to be sent work, and why not."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

__all__ = ["Phase", "Readiness"]


class Phase(enum.StrEnum):
    """Where a node is between its start and its end."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPING = "stopping"


_REASONS: Mapping[Phase, Sequence[str]] = {
    Phase.STARTING: ("the node is starting",),
    Phase.RUNNING: (),
    Phase.DRAINING: ("the node is draining: it takes nothing new, and stops soon",),
    Phase.STOPPING: ("the node is stopping",),
}


class Readiness:
    """Where the node is, as whoever starts and stops it says.

    Attributes:
        phase: the phase.
    """

    def __init__(self) -> None:
        self.phase = Phase.STARTING

    @property
    def is_running(self) -> bool:
        """True from the end of the start until the stop begins."""
        return self.phase in (Phase.RUNNING, Phase.DRAINING)

    @property
    def reasons(self) -> Sequence[str]:
        """Why the node is not ready; none where it is."""
        return _REASONS[self.phase]
