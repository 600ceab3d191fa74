"""The commands of trust for a node that does not run."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from thenodes_core.clock import SystemClock
from thenodes_core.control.commands import CommandTable, Reply
from thenodes_core.control.trust import add_trust_commands
from thenodes_core.errors import StateDirError, StateDirInUse
from thenodes_core.peers.trust_keeper import TrustKeeper
from thenodes_core.security.certificates import Certificate, read_certificates
from thenodes_core.store.state_dir import StateDir
from thenodes_plugin_api import Event, Level, SystemEvent

from .audit import record
from .node_files import NodeFiles
from .output import warn

__all__ = ["run_stopped"]


def run_stopped(files: NodeFiles, line: str) -> Reply:
    """Run a command on a node's files, which no node may hold meanwhile.

    What is done is written to the event log that the node would keep; what is
    wrong with files is told.

    Raises:
        StateDirError: there is no such directory, a node is on it, or what was done
            cannot be written to the event log.
        CommandError: the command is wrong.
        CommandFailed: it failed.
    """
    directory = files.state_dir
    if not directory.is_dir():
        raise StateDirError(
            f"{directory}: no such state directory; name the node's with --state-dir or --config"
        )
    events: list[Event] = []
    try:
        with StateDir(directory):
            reply = asyncio.run(_run(files, line, events))
            record(files, [event for event in events if event.level is not Level.WARNING])
    except StateDirInUse as error:
        who = f"process {error.pid}" if error.pid else "another process"
        raise StateDirInUse(
            f"{directory} is in use by {who}, which does not answer; try again in a moment",
            error.pid,
        ) from error
    finally:
        for event in events:
            if isinstance(event, SystemEvent) and event.level is Level.WARNING:
                warn(event.detail)
    return reply


async def _run(files: NodeFiles, line: str, events: list[Event]) -> Reply:
    keeper = TrustKeeper(
        files.state_dir, files.config.encryption, files.realm, events.append, SystemClock()
    )
    keeper.load()
    keeper.own = _own(files)
    table = CommandTable()
    add_trust_commands(table, keeper)
    return await table.run(line)


def _own(files: NodeFiles) -> tuple[Certificate, Path] | None:
    path = files.certificate
    if not os.path.lexists(path):
        return None
    try:
        return read_certificates(path)[0], path
    except StateDirError as error:
        warn(str(error))
        return None
