"""When a plugin has failed too often."""

from __future__ import annotations

from collections import deque

__all__ = ["FAULTS", "FAULT_SECONDS", "FaultWindow"]

FAULTS = 10
FAULT_SECONDS = 60.0


class FaultWindow:
    """Counts faults: 10 within a minute are too many."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=FAULTS)

    def add(self, now: float) -> bool:
        """Note a fault at `now`, in seconds of a clock that does not go back.

        Returns:
            True where it is one too many.
        """
        self._times.append(now)
        return len(self._times) == FAULTS and now - self._times[0] <= FAULT_SECONDS
