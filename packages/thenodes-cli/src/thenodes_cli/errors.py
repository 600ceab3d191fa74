"""What each error means for the person at the terminal: a message and an exit code.

| exit code | meaning |
| --- | --- |
| 0 | fine |
| 1 | failed while running: port taken, directory in use, no node there, output closed |
| 2 | usage or configuration |
| 78 | plugins were rejected, and `--strict-plugins` or `plugins.strict` is set |
| 130 | Ctrl-C while a running node has not answered yet |
"""

from __future__ import annotations

from thenodes_core.errors import CommandError, CommandFailed, ConfigError, PluginsRejected
from thenodes_plugin_api import TheNodesError

__all__ = ["FAILED", "INTERRUPTED", "REJECTED", "USAGE", "exit_code"]

FAILED = 1
USAGE = 2
REJECTED = 78
INTERRUPTED = 130


def exit_code(error: TheNodesError) -> int:
    """The exit code for an error."""
    if isinstance(error, PluginsRejected):
        return REJECTED
    if isinstance(error, CommandFailed):
        return FAILED
    return USAGE if isinstance(error, ConfigError | CommandError) else FAILED
