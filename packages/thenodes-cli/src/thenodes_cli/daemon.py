"""A node in a process of its own: its console, its signals, its service manager."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from thenodes_core import Node, Settings, Stall
from thenodes_core.control.access import LocalAccess
from thenodes_core.events.json_lines import EVENTS_FILE
from thenodes_core.text import printable
from thenodes_plugin_api import Level

from .console import Console
from .ending import Ending
from .exit import Exit
from .first_run import first_run_lines, is_first_run
from .log_levels import LogLevels
from .log_lines import EventLines, LogFormat, LogRecords, left_out
from .prompt.session import Prompt
from .service_manager import ServiceManager
from .settings.commands import ReadSettings, add_config_commands
from .settings_reload import SettingsReload

__all__ = ["Daemon", "run_daemon"]

_START_SECONDS = 0.1
_HELD_CODE = 70
_LINES_PER_SECOND = 100
_STATUS_SECONDS = 5.0

_log = logging.getLogger("thenodes.cli")


class Daemon(msgspec.Struct, frozen=True, kw_only=True):
    """What `thenodes run` was asked for.

    Attributes:
        settings: of the node.
        config_file: where they are from, if from a file.
        read: reads them again.
        level: events and log records below it are not shown.
        log_format: how they are shown.
        prompt: whether there is a prompt.
        drain_seconds: how long SIGTERM lets the node drain.
    """

    settings: Settings
    config_file: Path | None
    read: ReadSettings
    level: Level
    log_format: LogFormat
    prompt: bool
    drain_seconds: float


async def run_daemon(daemon: Daemon) -> None:
    """Run a node until it is told to end.

    Raises:
        TheNodesError: it cannot start.
    """
    manager = ServiceManager.of(os.environ)
    console, events, levels = _make_output(daemon)
    config = daemon.settings.config
    leave = Exit()
    held = functools.partial(_held, console, leave, ends=config.plugins.stall == "exit")
    sinks = () if events is None else (events,)
    node = Node(daemon.settings, sinks=sinks, on_stall=held)
    levels.add_command(node.commands)
    prompt = Prompt(LocalAccess(node.commands)) if daemon.prompt else None
    is_first = is_first_run(daemon.settings, daemon.config_file)
    welcomes = is_first and _format(daemon) is LogFormat.TEXT
    serving = asyncio.ensure_future(
        _serve(node, console, manager, prompt, leave, welcomes=welcomes)
    )
    ending = Ending(
        node,
        serving,
        leave,
        drain_seconds=daemon.drain_seconds,
        on_stop=lambda: manager.stopping("stopping"),
    )
    source = None if daemon.config_file is None else str(daemon.config_file)
    reload = SettingsReload(node, daemon.settings, source, daemon.read)
    add_config_commands(
        node.commands, lambda: node.config, daemon.config_file, daemon.read, reload.run
    )
    hang_up = _HangUp(node, ending, reload, manager)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, _interrupt, prompt, ending)
    loop.add_signal_handler(signal.SIGTERM, ending.terminate)
    loop.add_signal_handler(signal.SIGHUP, hang_up.run)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await serving
    finally:
        console.close()


def _make_output(daemon: Daemon) -> tuple[Console, EventLines | None, LogLevels]:
    table = daemon.settings.config.logging
    chosen = _format(daemon)
    console = Console(
        sys.stderr,
        per_second=_LINES_PER_SECOND if chosen is LogFormat.TEXT else None,
        more=_where_all_are(daemon.settings),
        note=functools.partial(left_out, log_format=chosen),
    )
    records = LogRecords(console, chosen)
    logging.basicConfig(level=daemon.level.severity, handlers=[records], force=True)
    events = None
    if not table.disable_console:
        events = EventLines(console, chosen, level=daemon.level)
    return console, events, LogLevels(events, daemon.level)


def _format(daemon: Daemon) -> LogFormat:
    for_people = daemon.prompt or (sys.stderr is not None and sys.stderr.isatty())
    return daemon.log_format.chosen(for_people=for_people)


def _where_all_are(settings: Settings) -> str:
    config = settings.config
    path = config.logging.json_path
    if path is None and config.node.state_dir is not None:
        path = str(Path(config.node.state_dir) / EVENTS_FILE)
    return f"; {path} has every event" if path else ""


def _held(console: Console, leave: Exit, stall: Stall, *, ends: bool) -> None:
    """Tell of a plugin that holds the event loop, and where the operator wants it, end."""
    console.alert(str(stall), Level.ERROR)
    if ends and stall.plugin_id is not None:
        # Nothing can be stopped in order: whatever would, waits for the event loop.
        end = f"the node ends with {_HELD_CODE}, since plugins.stall is exit"
        console.alert(end, Level.ERROR)
        _log.error("%s", end)
        console.close()
        leave.now(_HELD_CODE)


class _HangUp:
    """SIGHUP: reload, once the node has started; but that of a closed terminal stops.

    Args:
        node: the node.
        ending: ends it.
        reload: reads the settings again.
        manager: told of it.
    """

    def __init__(
        self, node: Node, ending: Ending, reload: SettingsReload, manager: ServiceManager
    ) -> None:
        self._node = node
        self._ending = ending
        self._reload = reload
        self._manager = manager
        self._terminals = _terminals()

    def run(self) -> None:
        """Do what is to be done now."""
        node = self._node
        if self._terminals and not any(os.isatty(number) for number in self._terminals):
            self._ending.interrupt()
        elif node.is_draining:
            _log.info("nothing is reloaded: the node is about to stop")
        elif node.is_running:
            self._manager.reloading()
            try:
                self._reload.run()
            finally:
                self._manager.ready(_status(node))
        elif not node.stop_requested:
            asyncio.get_running_loop().call_later(_START_SECONDS, self.run)


def _interrupt(prompt: Prompt | None, ending: Ending) -> None:
    """Ctrl-C ends an answer that goes on for ever, where one is given; else the node."""
    if prompt is None or not prompt.interrupt():
        ending.interrupt()


def _terminals() -> Sequence[int]:
    """Which of the standard streams are a terminal."""
    return [number for number in (0, 1, 2) if os.isatty(number)]


async def _serve(
    node: Node,
    console: Console,
    manager: ServiceManager,
    prompt: Prompt | None,
    leave: Exit,
    *,
    welcomes: bool,
) -> None:
    async with node:
        manager.ready(_status(node))
        if welcomes:
            _welcome(node, console, prompt=prompt is not None)
        # Not a TaskGroup, which would wrap what the prompt raises.
        told = asyncio.gather(_keep_alive(manager), _keep_told(node, manager))
        try:
            await _until_stopped(node, console, prompt)
            leave.at_the_latest()
        finally:
            told.cancel()


def _welcome(node: Node, console: Console, *, prompt: bool) -> None:
    if node.state_dir is None:
        return
    bootstrap = node.config.bootstrap_nodes
    told = first_run_lines(node.state_dir, node.id, node.address, bootstrap, prompt=prompt)
    for line in told:
        console.write(printable(line), Level.INFO)


async def _until_stopped(node: Node, console: Console, prompt: Prompt | None) -> None:
    ends = {asyncio.ensure_future(node.wait_stopped())}
    if prompt is not None:
        ends.add(asyncio.ensure_future(prompt.run(console, node.state_dir)))
    done, left = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    for task in done:
        task.result()


async def _keep_alive(manager: ServiceManager) -> None:
    """Show the service manager's watchdog that the event loop goes on."""
    if manager.watchdog_seconds is None:
        return
    while True:
        manager.alive()
        await asyncio.sleep(manager.watchdog_seconds / 2)


async def _keep_told(node: Node, manager: ServiceManager) -> None:
    if not manager.is_there:
        return
    while True:
        await asyncio.sleep(_STATUS_SECONDS)
        if not node.is_draining:
            manager.status(_status(node))


def _status(node: Node) -> str:
    count = len(node.peers.all())
    peers = {0: "no peers", 1: "1 peer"}.get(count, f"{count} peers")
    return f"{peers}; {node.id} listens on {node.address}, realm {node.realm}"
