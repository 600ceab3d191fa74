"""An end of the process that waits for nothing, and leaves the terminal as it was."""

from __future__ import annotations

import contextlib
import os
import sys
import termios
import threading
from typing import NoReturn

__all__ = ["Exit", "TerminalMode"]

_STOP_SECONDS = 1.9


class TerminalMode:
    """How a terminal takes keys: as it was found, before a prompt changed that.

    Args:
        number: the descriptor of what may be one.
    """

    def __init__(self, number: int = 0) -> None:
        self._number = number
        self._was = None
        with contextlib.suppress(OSError, termios.error):
            self._was = termios.tcgetattr(number)

    def restore(self) -> None:
        """Have it so again; that of another job in the foreground is left alone."""
        if self._was is None:
            return
        with contextlib.suppress(OSError, termios.error):
            if os.tcgetpgrp(self._number) == os.getpgrp():
                termios.tcsetattr(self._number, termios.TCSANOW, self._was)


class Exit:
    """Ends the process, whatever still runs in it. To be made before a prompt is."""

    def __init__(self) -> None:
        self._terminal = TerminalMode()

    def now(self, code: int = 0) -> NoReturn:
        """End it. May be called from any thread."""
        self._terminal.restore()
        os._exit(code)

    def at_the_latest(self, seconds: float = _STOP_SECONDS) -> None:
        """End it even where a plugin's task or a thread does not end."""

        def end() -> None:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError, AttributeError):
                    stream.flush()
            self.now()

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
