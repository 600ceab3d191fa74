"""`thenodes doctor`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import click
import msgspec

from thenodes_core import Config, ConfigError
from thenodes_core.clock import SystemClock
from thenodes_core.config import expand, validate
from thenodes_core.control.client import answers
from thenodes_core.doctor import Finding, Outcome, examine, render, stopped_patient
from thenodes_core.doctor.command import summary
from thenodes_core.doctor.finding import problem
from thenodes_core.errors import CommandError, NoNode, StateDirError

from ..errors import FAILED, INTERRUPTED
from ..node_files import NodeFiles
from ..output import drop_output, emit, lines
from .target import DEFAULT_STATE_DIR, read_settings, target_options
from .words import json_option

__all__ = ["command"]

_ANSWER_SECONDS = 3.0
_OTHER_VERSION = "ask with the thenodes that runs it, or start it again with this one"
_COLOURS = {Outcome.OK: "green", Outcome.WARNING: "yellow", Outcome.PROBLEM: "red"}


@click.command(
    epilog="""\b
Examples:
  thenodes doctor
  thenodes doctor --config node.toml
  thenodes doctor --json || echo something is wrong"""
)
@target_options
@json_option
def command(config_file: Path | None, state_dir: Path | None, as_json: bool) -> None:
    """Look for what is wrong with a node, whether it runs or not, and tell what to do.

    It looks at settings, files, disk, clock, certificate, port and plugins, and shakes hands
    with each bootstrap address and relay. Each line is told as it is known, all within ten
    seconds. A node that runs examines itself; of one that does not, nothing is changed.

    The exit code is 1 where there is a problem, and 0 where there are only warnings.
    """
    found: list[Finding] = []
    try:
        # Not asyncio.run, which waits for threads: one may wait for a name for long.
        loop = asyncio.new_event_loop()
        loop.run_until_complete(_tell(config_file, state_dir, found, as_json=as_json))
        if as_json:
            emit("", found, as_json=True)
        else:
            click.echo(summary(found))
        code = FAILED if any(one.outcome is Outcome.PROBLEM for one in found) else 0
        _leave(code)
    except BrokenPipeError:
        drop_output()
        _leave(FAILED)
    except KeyboardInterrupt:
        _leave(INTERRUPTED)


def _leave(code: int) -> None:
    """End now, whatever threads still wait for."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


async def _tell(
    config_file: Path | None, state_dir: Path | None, found: list[Finding], *, as_json: bool
) -> None:
    async with aclosing(_findings(config_file, state_dir)) as findings:
        async for finding in findings:
            found.append(finding)
            if not as_json:
                _show(finding)


def _show(finding: Finding) -> None:
    text = lines(render(finding))
    word = finding.outcome.value
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    if coloured and os.environ.get("TERM", "dumb") != "dumb":
        text = click.style(word, fg=_COLOURS[finding.outcome]) + text[len(word) :]
    click.echo(text)
    sys.stdout.flush()


async def _findings(
    config_file: Path | None, state_dir: Path | None
) -> AsyncGenerator[Finding, None]:
    options = {} if state_dir is None else {"node": {"state_dir": str(state_dir)}}
    try:
        settings = read_settings(config_file, options)
        validate(settings.config, settings.origins)
    except ConfigError as error:
        yield problem("settings", str(error), "the rest is looked at once they can be read")
        return
    config = settings.config
    directory = expand(config.node.state_dir or DEFAULT_STATE_DIR)
    before: list[Finding] = []
    try:
        async with aclosing(answers(directory, "doctor", timeout_seconds=_ANSWER_SECONDS)) as told:
            async for reply in told:
                if reply.data is not None:
                    yield msgspec.convert(reply.data, Finding)
        return
    except NoNode:
        pass
    except msgspec.ValidationError as error:
        # What was told until then stays told.
        yield problem("node", f"no node of this version: {error}", _OTHER_VERSION)
        return
    except (StateDirError, CommandError) as error:
        before.append(problem("node", str(error), "it is looked at as if it were stopped"))
    async with aclosing(_of_files(config, directory, before)) as findings:
        async for finding in findings:
            yield finding


async def _of_files(
    config: Config, directory: Path, before: list[Finding]
) -> AsyncGenerator[Finding, None]:
    # Imported here: asking a node that runs does not need it.
    from ..plugins.stopped import would_load

    files = NodeFiles(config, directory, f"--state-dir {directory}")
    patient = stopped_patient(
        config, directory, lambda: would_load(files), SystemClock(), found=before
    )
    async with aclosing(examine(patient)) as findings:
        async for finding in findings:
            yield finding
