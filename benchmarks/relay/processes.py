"""The far processes of these measurements: how one is started, and what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

__all__ = ["FILES", "Process"]

FILES = 10_000
"""What each process may open, as far as the system lets it: a socket for each peer."""


class Process:
    """One far process; it says what it is in its first line, and its results after.

    Args:
        part: what it does, see `__main__` of this package.
        options: what it needs to know.
    """

    def __init__(self, part: str, **options: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.relay", part, json.dumps(options)],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        self.said = self.result()

    def result(self) -> dict[str, Any]:
        """What it says next."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a far process ended with {self._process.wait()}")
        values: dict[str, Any] = json.loads(line)
        return values

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.communicate(timeout=10)
