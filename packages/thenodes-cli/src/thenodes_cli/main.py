"""Entry point: runs the command and turns errors into messages and exit codes."""

from __future__ import annotations

import sys

from thenodes_plugin_api import TheNodesError

from .app import app
from .errors import FAILED, exit_code
from .output import fail

__all__ = ["main"]


def main() -> None:
    """Run `thenodes`. The one place where errors become exit codes."""
    try:
        app(prog_name="thenodes")
    except TheNodesError as error:
        fail(str(error))
        sys.exit(exit_code(error))
    except BrokenPipeError:
        sys.exit(FAILED)
