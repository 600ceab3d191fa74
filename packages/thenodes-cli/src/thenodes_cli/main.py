"""Entry point: runs the command and turns errors into messages and exit codes."""

from __future__ import annotations

import errno
import io
import sys

import click

from thenodes_plugin_api import TheNodesError

from .app import app
from .errors import FAILED, INTERRUPTED, exit_code
from .output import drop_output, fail

__all__ = ["main"]

# A write may end in these though the file was opened: no room, beyond a quota or a limit.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def main() -> None:
    """Run `thenodes`. The one place where errors become exit codes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except BrokenPipeError:
        drop_output()
        code = FAILED
    except OSError as error:
        if error.errno not in _FULL:
            raise
        drop_output(sys.stdout)
        fail(f"cannot write the output: {error.strerror}")
        code = FAILED
    sys.exit(code)


def _run() -> int:
    try:
        code = app.main(prog_name="thenodes", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except TheNodesError as error:
        fail(str(error))
        return exit_code(error)
