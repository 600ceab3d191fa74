"""For whom the last frames were: a relay that tells of one names its message id alone."""

from __future__ import annotations

from collections import deque

__all__ = ["Recent"]

_FRAMES = 1024


class Recent:
    """Remembers the last 1024 frames that are not reliable; adding one costs next to nothing."""

    __slots__ = ("_frames", "add")

    def __init__(self) -> None:
        self._frames: deque[tuple[bytes, str]] = deque(maxlen=_FRAMES)
        self.add = self._frames.append
        """Takes a pair: message id, and the target."""

    def target(self, message_id: bytes) -> str | None:
        """For whom a frame was, if it is among the last ones."""
        for known, to in reversed(self._frames):
            if known == message_id:
                return to
        return None
