"""A terminal that a program believes in, and whose screen can be looked at."""

from __future__ import annotations

import re
import time
from pathlib import Path
from types import TracebackType

import pexpect
import pyte

__all__ = ["NotShown", "Terminal"]

_STEP_SECONDS = 0.05
_SHELL = ("bash", ["--norc", "--noprofile", "-i"])


class NotShown(Exception):
    """What was waited for did not come; the message has the screen."""


class Terminal:
    """A shell in a terminal of its own, for as long as the context lasts.

    Args:
        directory: Where the shell is.
        environment: Of the shell.
        columns: Of the screen.
        lines: Of the screen.
    """

    def __init__(
        self, directory: Path, environment: dict[str, str], columns: int = 100, lines: int = 24
    ) -> None:
        self.screen = pyte.Screen(columns, lines)
        # What a terminal answers by itself, such as where its cursor is, goes to the program.
        vars(self.screen)["write_process_input"] = self._answer
        self._stream = pyte.Stream(self.screen)
        self._child = pexpect.spawn(
            *_SHELL,
            cwd=str(directory),
            env=environment | {"PS1": "$ ", "TERM": "xterm-256color", "COLORTERM": "truecolor"},
            dimensions=(lines, columns),
            encoding="utf-8",
            codec_errors="replace",
        )

    def __enter__(self) -> Terminal:
        self.wait(r"\$ $")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._child.close(force=True)

    def text(self) -> str:
        """What the screen shows, without the empty lines at its end."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip("\n")

    def type(self, keys: str, *, each_seconds: float = 0.0) -> None:
        """Press keys; a return is `\\r`, a tab `\\t`."""
        for key in keys if each_seconds else [keys]:
            self._child.send(key)
            if each_seconds:
                self.rest(each_seconds)

    def run(self, line: str, until: str, *, seconds: float = 20.0) -> None:
        """Type a line, and wait until the screen shows what the pattern `until` says."""
        self.type(line + "\r")
        self.wait(until, seconds=seconds)

    def wait(self, pattern: str, *, seconds: float = 20.0) -> None:
        """Wait until the screen shows it.

        Raises:
            NotShown: It did not, in that time.
        """
        end = time.monotonic() + seconds
        while not re.search(pattern, self._looked()):
            if time.monotonic() > end:
                raise NotShown(f"no {pattern!r} within {seconds:g} s on\n{self.text()}")

    def rest(self, seconds: float) -> None:
        """Let the program draw."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._looked()

    def _looked(self) -> str:
        try:
            self._stream.feed(self._child.read_nonblocking(65536, timeout=_STEP_SECONDS))
        except pexpect.TIMEOUT:
            pass
        except pexpect.EOF:
            time.sleep(_STEP_SECONDS)
        # Where the cursor is, blanks are kept: "$ " is a prompt and "$" is none.
        shown = list(self.screen.display[: self.screen.cursor.y + 1])
        shown[-1] = shown[-1][: self.screen.cursor.x]
        below = self.screen.display[self.screen.cursor.y + 1 :]
        return "\n".join([*(line.rstrip() for line in below), *shown])

    def _answer(self, data: str) -> None:
        self._child.send(data)
