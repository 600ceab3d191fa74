"""The far process: how it is started, and how it says what it measured."""

from __future__ import annotations

import json
import subprocess
import sys
from types import TracebackType
from typing import Any, Self, TypeAlias

__all__ = ["LAST", "Far", "Row", "report"]

Row: TypeAlias = dict[str, Any]
"""One line of a table: values by the names of their columns."""

LAST = b"."
"""The message that ends a run."""


def report(values: dict[str, Any]) -> None:
    """Tell the measuring process; called in the far one."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


class Far:
    """The far process of one run.

    Args:
        kind: `bare`, or the subprotocol that nodes are to use.
        role: what it does, see `__main__`.
    """

    def __init__(self, kind: str, role: str = "far") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks", role, kind], stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid
        first = self.result()
        self.port = int(first["port"])
        self.node_id = str(first.get("node_id", ""))

    def result(self) -> dict[str, Any]:
        """What it says next."""
        assert self._process.stdout is not None
        values: dict[str, Any] = json.loads(self._process.stdout.readline())
        return values

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
