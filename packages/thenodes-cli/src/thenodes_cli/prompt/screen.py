"""A terminal that is written to in a thread: one that takes nothing holds up nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TextIO

from ..writing import write_all

__all__ = ["Screen"]

_WAITING_CHARACTERS = 256 * 1024
_CLOSE_SECONDS = 0.5


class Screen:
    """Stands in for standard output.

    The thread that made it never waits: once 256 Ki characters are not taken, what it writes
    further is left out until they are, and then `restored` is called, since what a terminal
    shows is worth nothing with a part of it missing. Other threads wait until there is room.

    Args:
        stream: the terminal.
        restored: called, in a thread, when the terminal takes what is written again.
        most: how many characters wait at most.
    """

    def __init__(
        self,
        stream: TextIO,
        restored: Callable[[], None] = lambda: None,
        *,
        most: int = _WAITING_CHARACTERS,
    ) -> None:
        self.encoding = stream.encoding or "utf-8"
        self.errors = stream.errors or "replace"
        self._stream = stream
        self._number = stream.fileno()
        self._restored = restored
        self._most = most
        self._waiting: list[str] = []
        self._count = 0
        self._left_out = False
        self._closing = False
        self._changed = threading.Condition()
        self._owner = threading.get_ident()
        self._thread = threading.Thread(target=self._run, name="screen", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        """Have text written, or leave it out.

        Raises:
            TypeError: it is bytes, by which libraries tell one kind of stream from the other.
        """
        if not isinstance(text, str):
            raise TypeError(f"expected str, got {type(text).__name__}")
        with self._changed:
            if threading.get_ident() != self._owner:
                self._changed.wait_for(lambda: self._has_room or self._closing)
            if self._closing or not self._has_room:
                self._left_out = True
            else:
                self._waiting.append(text)
                self._count += len(text)
                self._changed.notify_all()
        return len(text)

    def flush(self) -> None:
        """Nothing: what is written is on its way."""

    def fileno(self) -> int:
        """The terminal's."""
        return self._number

    def isatty(self) -> bool:
        """Whether it is one, still."""
        return self._stream.isatty()

    def close(self) -> None:
        """Write what waits, as far as that takes no longer than half a second."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(_CLOSE_SECONDS)

    @property
    def _has_room(self) -> bool:
        return self._count < self._most

    def _run(self) -> None:
        while (text := self._take()) is not None:
            try:
                write_all(self._number, text.encode(self.encoding, "replace"))
            except OSError:
                # The terminal is gone; whoever reads from it notices.
                with self._changed:
                    self._closing = True
                    self._changed.notify_all()
                return
            self._wrote(len(text))

    def _take(self) -> str | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            if not self._waiting:
                return None
            text = "".join(self._waiting)
            self._waiting.clear()
            return text

    def _wrote(self, count: int) -> None:
        with self._changed:
            self._count -= count
            self._changed.notify_all()
            is_restored = self._left_out and not self._waiting
            if is_restored:
                self._left_out = False
        if is_restored:
            self._restored()
