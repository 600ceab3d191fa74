"""Terminals on which tests type."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

import pexpect

__all__ = ["plain", "spawn"]

_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[a-zA-Z]|[()][A-Z0-9]|[=>])")


def spawn(
    *words: str, rows: int = 24, columns: int = 100, **environment: str
) -> pexpect.spawn[str]:
    """Run `thenodes` on a terminal of that size."""
    return pexpect.spawn(
        sys.executable,
        ["-m", "thenodes_cli", *words],
        dimensions=(rows, columns),
        encoding="utf-8",
        env={
            **os.environ,
            "TERM": "xterm-256color",
            "PROMPT_TOOLKIT_NO_CPR": "1",  # pexpect is no terminal: no answers
            **environment,
        },
        timeout=15,
    )


def plain(text: Any) -> str:
    """What was written to a terminal, without what moves its cursor and colours it."""
    return _ESCAPES.sub("", str(text)).replace("\r", "")
