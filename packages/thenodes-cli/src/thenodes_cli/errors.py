"""What each error means for the person at the terminal: a message and an exit code.

| exit code | meaning |
| --- | --- |
| 0 | fine |
| 1 | failed while running: port taken, state directory in use, no node there |
| 2 | usage or configuration |
| 130 | Ctrl-C while asking a running node |
"""

from __future__ import annotations

from thenodes_core.errors import CommandError, CommandFailed, ConfigError
from thenodes_plugin_api import TheNodesError

__all__ = ["FAILED", "INTERRUPTED", "USAGE", "exit_code"]

FAILED = 1
USAGE = 2
INTERRUPTED = 130


def exit_code(error: TheNodesError) -> int:
    """The exit code for an error."""
    if isinstance(error, CommandFailed):
        return FAILED
    return USAGE if isinstance(error, ConfigError | CommandError) else FAILED
