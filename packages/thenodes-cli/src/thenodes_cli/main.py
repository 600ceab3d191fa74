"""Entry point: runs the command and turns errors into messages and exit codes."""

from __future__ import annotations

import io
import sys

import click

from thenodes_plugin_api import TheNodesError

from .app import app
from .errors import FAILED, INTERRUPTED, exit_code
from .output import fail

__all__ = ["main"]


def main() -> None:
    """Run `thenodes`. The one place where errors become exit codes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        sys.exit(app.main(prog_name="thenodes", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(INTERRUPTED)
    except TheNodesError as error:
        fail(str(error))
        sys.exit(exit_code(error))
    except BrokenPipeError:
        sys.exit(FAILED)
