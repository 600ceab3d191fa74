"""All that this program prints: text for people, JSON for machines."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from typing import TextIO

import click
import msgspec

from thenodes_core.text import printable, printable_json

__all__ = ["drop_output", "emit", "emit_next", "fail", "is_colourful", "lines", "warn"]

_HOME_AND_CLEAR = "\x1b[H\x1b[J"


def lines(text: str) -> str:
    """Text that may come from a peer, safe to print: control characters escaped, lines kept."""
    return "\n".join(printable(line, most=10_000) for line in text.split("\n"))


def emit(text: str, data: object, *, as_json: bool) -> None:
    """Print the text, or the data as JSON."""
    if as_json:
        # Not msgspec's encoder: a path may hold what is not UTF-8.
        text = json.dumps(msgspec.to_builtins(data), indent=2, ensure_ascii=False)
        click.echo("\n".join(printable_json(line) for line in text.split("\n")))
    elif text:
        click.echo(lines(text))


def emit_next(text: str, data: object, *, as_json: bool, replaces: bool) -> None:
    """Print one of many: the text, or the data as JSON in one line.

    One that replaces what was before stands at the top of the screen, where there is one, and
    is cut to fit it.
    """
    if as_json:
        line = json.dumps(msgspec.to_builtins(data), ensure_ascii=False, separators=(",", ":"))
        click.echo(printable_json(line))
    elif replaces and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        # Imported here: few commands need it.
        from .fitting import fitted

        columns, rows = shutil.get_terminal_size()
        shown = fitted(text, data, columns, max(1, rows - 1))
        click.echo(_HOME_AND_CLEAR + lines("\n".join(shown)))
    else:
        # Blocks of lines, which an empty line sets apart.
        click.echo(lines(text) + ("\n" if replaces else ""))


def drop_output(*streams: TextIO | None) -> None:
    """Let what is still to be written there go nowhere; without a stream, to both."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams or (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            if stream is not None:
                os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def fail(message: str) -> None:
    """Print an error in one line."""
    _complain("error:", "red", message)


def warn(message: str) -> None:
    """Print what is wrong, though the command goes on."""
    _complain("warning:", "yellow", message)


def is_colourful(stream: TextIO) -> bool:
    """Whether colours are shown there: on a terminal that has them, where nobody forbids it."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def _complain(label: str, colour: str, message: str) -> None:
    shown = click.style(label, fg=colour, bold=True) if is_colourful(sys.stderr) else label
    click.echo(f"{shown} {lines(message)}", err=True)
