"""Where a command has its settings from, and which running node it is for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from thenodes_core import ConfigError, Settings
from thenodes_core.config import (
    CONFIG_VARIABLE,
    Source,
    expand,
    read_environment,
    read_file,
    settle,
)

__all__ = [
    "ADDED_WHEELS",
    "DEFAULTS",
    "DEFAULT_STATE_DIR",
    "config_option",
    "named_state_dir",
    "read_settings",
    "resolve_state_dir",
    "target_options",
]

DEFAULT_STATE_DIR = Path("data")
"""Where `thenodes run` keeps its state if nothing else is said, as in the reference."""

ADDED_WHEELS = "wheels"
"""The folder in the state directory that `thenodes plugin add` makes where no other is set."""

DEFAULTS = Source("default", {"node": {"state_dir": str(DEFAULT_STATE_DIR)}})
"""What the command sets where nobody did: the library's own default is a temporary directory."""

F = TypeVar("F", bound=Callable[..., Any])


def target_options(function: F) -> F:
    """Add `--config` and `--state-dir` to a command."""
    state_dir = click.option(
        "--state-dir",
        type=click.Path(path_type=Path, file_okay=False, readable=False),
        help=f"The node's state directory.  [default: {DEFAULT_STATE_DIR}]",
    )
    return config_option("The node's configuration file; its state_dir is used.")(
        state_dir(function)
    )


def config_option(text: str) -> Callable[[F], F]:
    """`--config`, which `THENODES_CONFIG` can name too."""
    return click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar=CONFIG_VARIABLE,
        help=text,
    )


def read_settings(
    config_file: Path | None, options: Mapping[str, Any], *, file: Source | None = None
) -> Settings:
    """The command's settings: options over the environment over the file.

    With `file`, that is what the file says. Where no plugins directory is set, it is that of
    `thenodes plugin add`, once that is there.

    Raises:
        ConfigError: names the source that cannot be used, and why.
    """
    if file is None and config_file is not None:
        file = read_file(config_file)
    sources = [] if file is None else [file]
    sources += [read_environment(os.environ), Source("options", options)]
    settings = settle([DEFAULTS, *sources])
    wheels = expand(settings.config.node.state_dir or DEFAULT_STATE_DIR) / ADDED_WHEELS
    # Not Path.is_dir, which raises where this user may not look; who opens it tells of that.
    if settings.config.plugins.directory is not None or not os.path.isdir(wheels):
        return settings
    table = {**DEFAULTS.table, "plugins": {"directory": str(wheels)}}
    return settle([Source(DEFAULTS.name, table), *sources])


def resolve_state_dir(config_file: Path | None, state_dir: Path | None) -> Path:
    """The state directory that the options name.

    Raises:
        ConfigError: both are given, or the file cannot be used.
    """
    if state_dir is not None:
        source = click.get_current_context().get_parameter_source("config_file")
        if config_file is not None and source is click.core.ParameterSource.COMMANDLINE:
            raise ConfigError("--config and --state-dir both name a node: give one of them")
    return named_state_dir(config_file, state_dir)


def named_state_dir(config_file: Path | None, state_dir: Path | None) -> Path:
    """The state directory that `--state-dir` names, or else the configuration.

    Raises:
        ConfigError: the file cannot be used.
    """
    if state_dir is not None:
        return expand(state_dir)
    config = read_settings(config_file, {}).config
    return expand(config.node.state_dir or DEFAULT_STATE_DIR)
