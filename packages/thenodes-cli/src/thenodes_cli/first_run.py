"""What the first start of a node without a configuration tells: what was made, and what next."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from thenodes_core import Settings
from thenodes_core.config import expand
from thenodes_core.security.identity import IDENTITY_FILE

from .commands.target import DEFAULT_STATE_DIR

__all__ = ["first_run_lines", "is_first_run"]


def is_first_run(settings: Settings, config_file: Path | None) -> bool:
    """Whether a node with these settings is about to make its key, and no file configures it."""
    config = settings.config
    if config_file is not None or config.encryption.paths.own_private_key is not None:
        return False
    state_dir = expand(config.node.state_dir or DEFAULT_STATE_DIR)
    return not os.path.lexists(state_dir / IDENTITY_FILE)


def first_run_lines(
    state_dir: Path,
    node_id: str,
    address: str,
    bootstrap: Sequence[str],
    *,
    prompt: bool,
) -> Sequence[str]:
    """Five lines for the operator, which fit 80 columns where names are short.

    The realm is in the line that every start tells.

    Args:
        state_dir: the node's.
        node_id: its id.
        address: where it listens.
        bootstrap: with whom it stays connected.
        prompt: whether a prompt follows.
    """
    state_dir = _from_here(state_dir)
    option = "" if state_dir == DEFAULT_STATE_DIR else f" --state-dir {shlex.quote(str(state_dir))}"
    attach = f"thenodes attach{option}"
    following = (
        f"type help; from elsewhere: {attach}" if prompt else f"{attach} opens a prompt on it"
    )
    return [
        "This is a new node. Nothing configures it, so it has the defaults.",
        f"  made       {state_dir}; whoever has its {IDENTITY_FILE} is this node",
        f"  id         {node_id}, which comes of the key and stays",
        f"  listening  {address}; {_company(address, bootstrap)}",
        f"  next       {following}",
    ]


def _company(address: str, bootstrap: Sequence[str]) -> str:
    if not bootstrap:
        return f"others join with --bootstrap {address}"
    more = f" and {len(bootstrap) - 1} more" if len(bootstrap) > 1 else ""
    return f"it connects to {bootstrap[0]}{more}"


def _from_here(path: Path) -> Path:
    """The path as it is typed in this directory, where that is shorter."""
    try:
        return path.relative_to(Path.cwd())
    except (OSError, ValueError):
        return path
