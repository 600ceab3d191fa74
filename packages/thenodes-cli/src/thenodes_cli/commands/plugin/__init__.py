"""`thenodes plugin …`: author.py is for who writes plugins, node.py for who runs them."""

from __future__ import annotations

import click

from ..plugins import changes, info, list_
from .author import build, check, sign, test, verify
from .node import add, remove

__all__ = ["command"]


@click.group(
    epilog="""\b
Examples:
  thenodes plugin check .
  thenodes plugin build .
  thenodes plugin add dist/thenodes_my-0.1.0-py3-none-any.whl
  thenodes plugin list"""
)
def command() -> None:
    """Check, build and test plugins; add them to a node, and see how they stand.

    A plugin is code that runs inside the node and may do what the node may.
    """


for _command in (check, build, test, add, remove, list_, info, *changes(), sign, verify):
    command.add_command(_command)
