"""How long a plugin's hooks take."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["HookTimes"]


class HookTimes:
    """Calls and seconds by hook; seconds count what a hook waits for, too."""

    def __init__(self) -> None:
        self._calls: dict[str, int] = {}
        self._seconds: dict[str, float] = {}

    def __iter__(self) -> Iterator[tuple[str, int, float]]:
        """Name, calls and seconds of every hook that was called."""
        return iter([(name, calls, self._seconds[name]) for name, calls in self._calls.items()])

    def add(self, hook: str, calls: int, seconds: float) -> None:
        """Count calls, and what they took together."""
        if calls:
            self._calls[hook] = self._calls.get(hook, 0) + calls
            self._seconds[hook] = self._seconds.get(hook, 0.0) + seconds
