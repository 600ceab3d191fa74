"""A terminal's whole screen, drawn again and again in place."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from thenodes_core.text import printable

__all__ = ["Screen", "can_draw", "terminal_size"]

_ENTER = "\x1b[?1049h\x1b[?25l"
_LEAVE = "\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
_ENDS = frozenset(b"qQ\x04")
_SMALLEST = 20, 5


def can_draw() -> bool:
    """True where the output is a terminal that understands more than lines."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def terminal_size() -> tuple[int, int]:
    """Columns and rows of the terminal, now."""
    columns, rows = shutil.get_terminal_size()
    return max(columns, _SMALLEST[0]), max(rows, _SMALLEST[1])


class Screen:
    """The terminal, until the context ends; then it is as it was before.

    Keys are not shown meanwhile, and each comes at once.
    """

    def __init__(self) -> None:
        self._before: list[Any] | None = None

    def __enter__(self) -> Self:
        """Take the screen."""
        if sys.stdin.isatty():
            self._before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
        _write(_ENTER)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A terminal that is gone needs nothing.
        with contextlib.suppress(OSError):
            _write(_LEAVE)
        if self._before is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines, and nothing else; what does not fit is cut."""
        columns, rows = terminal_size()
        shown = [printable(line, most=10_000)[:columns] for line in lines[:rows]]
        _write(_HOME + "\r\n".join(line + _REST_OF_LINE for line in shown) + _REST_OF_SCREEN)

    @contextmanager
    def ended_by(self, end: Callable[[], object]) -> Iterator[None]:
        """Call `end` at the key q, and where the process is asked to end; in an event loop."""
        loop = asyncio.get_running_loop()

        def on_key() -> None:
            keys = os.read(sys.stdin.fileno(), 64)
            if not keys or not _ENDS.isdisjoint(keys):
                loop.remove_reader(sys.stdin)
                end()

        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, end)
        if self._before is not None:
            loop.add_reader(sys.stdin, on_key)
        try:
            yield
        finally:
            loop.remove_reader(sys.stdin)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
