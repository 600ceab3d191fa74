"""`thenodes run`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from thenodes_core import Node, Settings, Stall
from thenodes_core.descriptors import raise_descriptor_limit
from thenodes_core.events.console import ConsoleSink
from thenodes_plugin_api import Level

from ..console import Console
from ..settings_reload import SettingsReload
from .target import DEFAULT_STATE_DIR, config_option, read_settings

__all__ = ["command"]

_STOP_SECONDS = 1.9
_START_SECONDS = 0.1
_HELD_CODE = 70

_log = logging.getLogger("thenodes.cli")


@click.command(
    epilog="""\b
Examples:
  thenodes run --prompt
  thenodes run --port 50001 --state-dir data/second --bootstrap 127.0.0.1:50000 --prompt
  thenodes run --plugin dist/thenodes_my-0.1.0-py3-none-any.whl --prompt
  thenodes run --config node.toml --log-level warning
  printf 'peers\\nquit\\ny\\n' | thenodes run --prompt"""
)
@config_option("A TOML file; environment variables and the options below win over it.")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="TCP port; 0 takes a free one.  [default: 50000]"
)
@click.option(
    "--bootstrap",
    multiple=True,
    metavar="ADDR",
    help="Stay connected with host:port, ws://… or wss://…. Can be repeated.",
)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help=f"Key, lock, control socket and plugins' data.  [default: {DEFAULT_STATE_DIR}]",
)
@click.option(
    "--health-port",
    type=click.IntRange(0, 65535),
    help="Answer /healthz, /readyz and /metrics on this TCP port; 0 takes a free one.",
)
@click.option("--realm", metavar="NAME", help="The network to belong to.  [default: default]")
@click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Load a wheel, a source tree, or a directory of them. Can be repeated.",
)
@click.option(
    "--plugins",
    "plugins_dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Load every plugin in this directory, which only its owner may write.",
)
@click.option(
    "--strict-plugins",
    is_flag=True,
    help="Do not start where a plugin was rejected (exit code 78).",
)
@click.option(
    "--prompt", is_flag=True, help="Open a prompt; without a terminal, read lines from stdin."
)
@click.option(
    "--log-level",
    type=click.Choice([level.value for level in Level], case_sensitive=False),
    default=Level.INFO.value,
    show_default=True,
    help="Events and log records below it are not shown.",
)
def command(
    config_file: Path | None,
    host: str | None,
    port: int | None,
    bootstrap: tuple[str, ...],
    state_dir: Path | None,
    health_port: int | None,
    realm: str | None,
    plugins: tuple[Path, ...],
    plugins_dir: Path | None,
    strict_plugins: bool,
    prompt: bool,
    log_level: str,
) -> None:
    """Run a node until Ctrl-C, SIGTERM or `quit` at the prompt.

    It listens for peers, stays connected with the bootstrap addresses and runs
    its plugins. `thenodes status` and `thenodes exec` talk to it.

    SIGHUP lets it read the configuration again: the trust policy and the keys on disk
    apply at once, other settings after a restart. Where the terminal that it was
    started on is closed, it stops.
    """
    flags = _flags(host, port, bootstrap, state_dir, realm)
    if health_port is not None:
        flags["health"] = {"port": health_port}
    flags |= _plugin_flags(plugins, plugins_dir, strict=strict_plugins)
    settings = read_settings(config_file, flags)
    raise_descriptor_limit()
    read = functools.partial(read_settings, config_file, flags)
    asyncio.run(_run(settings, config_file, read, Level(log_level.lower()), prompt=prompt))


def _flags(
    host: str | None,
    port: int | None,
    bootstrap: Sequence[str],
    state_dir: Path | None,
    realm: str | None,
) -> dict[str, Any]:
    flags: dict[str, Any] = {}
    if host is not None:
        flags["host"] = host
    if port is not None:
        flags["port"] = port
    if bootstrap:
        flags["bootstrap_nodes"] = list(bootstrap)
    if state_dir is not None:
        flags["node"] = {"state_dir": str(state_dir)}
    if realm is not None:
        flags["realm"] = {"name": realm}
    return flags


def _plugin_flags(
    plugins: Sequence[Path], plugins_dir: Path | None, *, strict: bool
) -> dict[str, Any]:
    table: dict[str, Any] = {}
    if plugins:
        table["paths"] = [str(path) for path in plugins]
    if plugins_dir is not None:
        table["directory"] = str(plugins_dir)
    if strict:
        table["strict"] = True
    return {"plugins": table} if table else {}


async def _run(
    settings: Settings,
    config_file: Path | None,
    read: Callable[[], Settings],
    level: Level,
    *,
    prompt: bool,
) -> None:
    console = Console(sys.stderr)
    logging.basicConfig(level=level.severity, handlers=[console.log_handler()], force=True)
    sinks = [ConsoleSink(console.write, level=level)]
    if settings.config.logging.disable_console:
        sinks.clear()
    ends = settings.config.plugins.stall == "exit"
    held = functools.partial(_held, console, ends=ends)
    node = Node(settings, sinks=tuple(sinks), on_stall=held)
    serving = asyncio.ensure_future(_serve(node, console, prompt=prompt))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _stop, node, serving)
    source = None if config_file is None else str(config_file)
    reload = SettingsReload(node, settings, source, read)
    loop.add_signal_handler(signal.SIGHUP, _hang_up, node, serving, reload, _terminals())
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await serving
    finally:
        console.close()


def _held(console: Console, stall: Stall, *, ends: bool) -> None:
    """Tell of a plugin that holds the event loop, and where the operator wants it, end."""
    console.alert(str(stall), Level.ERROR)
    if ends and stall.plugin_id is not None:
        # Nothing can be stopped in order: whatever would, waits for the event loop.
        end = f"the node ends with {_HELD_CODE}, since plugins.stall is exit"
        console.alert(end, Level.ERROR)
        _log.error("%s", end)
        console.close()
        os._exit(_HELD_CODE)


def _terminals() -> Sequence[int]:
    """Which of the standard streams are a terminal."""
    return [number for number in (0, 1, 2) if os.isatty(number)]


def _hang_up(
    node: Node, serving: asyncio.Task[None], reload: SettingsReload, terminals: Sequence[int]
) -> None:
    """Reload, once the node has started; but that of a terminal that was closed stops."""
    if terminals and not any(os.isatty(number) for number in terminals):
        _stop(node, serving)
    elif node.is_running:
        reload.run()
    elif not node.stop_requested:
        loop = asyncio.get_running_loop()
        loop.call_later(_START_SECONDS, _hang_up, node, serving, reload, terminals)


def _stop(node: Node, serving: asyncio.Task[None]) -> None:
    if node.stop_requested:
        os._exit(0)
    _exit_at_the_latest(_STOP_SECONDS)
    if node.is_running:
        node.stop()
    else:
        serving.cancel()


def _exit_at_the_latest(seconds: float) -> None:
    """End the process even where a plugin's task or a thread does not end."""

    def end() -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(0)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


async def _serve(node: Node, console: Console, *, prompt: bool) -> None:
    async with node:
        stopping = asyncio.ensure_future(node.wait_stopped())
        talking = None
        if prompt:
            from ..prompt.session import run_prompt

            talking = asyncio.ensure_future(run_prompt(node, console))
        ends = {task for task in (stopping, talking) if task is not None}
        done, left = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for task in done:
            task.result()
        _exit_at_the_latest(_STOP_SECONDS)
