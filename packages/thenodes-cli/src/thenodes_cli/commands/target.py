"""Which running node a command is for: `--config` or `--state-dir`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from thenodes_core import ConfigError, load_config

__all__ = ["DEFAULT_STATE_DIR", "resolve_state_dir", "target_options"]

DEFAULT_STATE_DIR = Path("data")
"""Where `thenodes run` keeps its state if nothing else is said, as in the reference."""

F = TypeVar("F", bound=Callable[..., Any])


def target_options(function: F) -> F:
    """Add `--config` and `--state-dir` to a command."""
    state_dir = click.option(
        "--state-dir",
        type=click.Path(path_type=Path, file_okay=False),
        help=f"The node's state directory.  [default: {DEFAULT_STATE_DIR}]",
    )
    config = click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="The node's configuration file; its state_dir is used.",
    )
    return config(state_dir(function))


def resolve_state_dir(config_file: Path | None, state_dir: Path | None) -> Path:
    """The state directory that the options name.

    Raises:
        ConfigError: both are given, or the file cannot be used.
    """
    if config_file is None:
        return (state_dir or DEFAULT_STATE_DIR).expanduser()
    if state_dir is not None:
        raise ConfigError("--config and --state-dir both name a node: give one of them")
    config, _ = load_config(config_file)
    return Path(config.node.state_dir or DEFAULT_STATE_DIR)
