"""`thenodes run`."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from thenodes_core.descriptors import raise_descriptor_limit
from thenodes_plugin_api import Level

from ..daemon import Daemon, run_daemon
from ..log_lines import LogFormat
from .target import DEFAULT_STATE_DIR, config_option, read_settings

__all__ = ["command"]

_DRAIN_SECONDS = 5.0


class _Seconds(click.FloatRange):
    """A range of numbers, which `nan` is not in, though it compares as if it were."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        seconds: float = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return seconds


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
@click.option(
    "--log-format",
    type=click.Choice([choice.value for choice in LogFormat], case_sensitive=False),
    default=LogFormat.AUTO.value,
    show_default=True,
    help="Lines for people, or JSON; auto is text on a terminal and with --prompt, else JSON.",
)
@click.option(
    "--drain-seconds",
    type=_Seconds(0, 3600),
    metavar="SECONDS",
    default=_DRAIN_SECONDS,
    show_default=True,
    help="On SIGTERM, finish what has begun for so long at most.",
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
    log_format: str,
    drain_seconds: float,
) -> None:
    """Run a node until Ctrl-C, SIGTERM or `quit` at the prompt.

    It listens for peers, stays connected with the bootstrap addresses and runs
    its plugins. `thenodes status` and `thenodes exec` talk to it.

    SIGTERM lets it drain: it takes nothing new, finishes what it has, then stops.
    Ctrl-C and `quit` stop without that wait, a second signal at once.

    SIGHUP lets it read the configuration again: the trust policy, the keys on disk,
    bootstrap_nodes and most of [discovery] apply at once, other settings after a
    restart. Where the terminal that it was started on is closed, it stops.
    """
    flags = _flags(host, port, bootstrap, state_dir, realm)
    if health_port is not None:
        flags["health"] = {"port": health_port}
    flags |= _plugin_flags(plugins, plugins_dir, strict=strict_plugins)
    settings = read_settings(config_file, flags)
    raise_descriptor_limit()
    read = functools.partial(read_settings, config_file, flags)
    daemon = Daemon(
        settings=settings,
        config_file=config_file,
        read=read,
        level=Level(log_level.lower()),
        log_format=LogFormat(log_format.lower()),
        prompt=prompt,
        drain_seconds=drain_seconds,
    )
    asyncio.run(run_daemon(daemon))


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
