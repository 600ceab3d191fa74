"""The event log of a node that does not run: what operators do to it is written there too."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from thenodes_core.config import expand
from thenodes_core.errors import StateDirError
from thenodes_core.events.json_lines import EVENTS_FILE, JsonLinesSink
from thenodes_plugin_api import Event

from .node_files import NodeFiles

__all__ = ["record"]


def record(files: NodeFiles, events: Sequence[Event]) -> None:
    """Write events to the log that the node would write them to, if it keeps one.

    Raises:
        StateDirError: they cannot be written.
    """
    table = files.config.logging
    if not events or table.json_path == "":
        return
    path = expand(table.json_path) if table.json_path else files.state_dir / EVENTS_FILE
    sink = JsonLinesSink(path, max_bytes=table.json_max_bytes, keep=table.json_rotate)
    try:
        asyncio.run(sink.handle_batch(events))
    except OSError as error:
        raise StateDirError(
            f"{path}: what was done cannot be written to the event log: {error.strerror}"
        ) from error
