"""`thenodes plugin check`, `build`, `test`, `sign` and `verify`: what is done to a plugin."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path
from typing import NoReturn

import click
import msgspec

from thenodes_core.errors import CommandFailed
from thenodes_core.security.identity import load_identity

from ...errors import FAILED, USAGE
from ...node_files import read_node_files
from ...output import emit, fail, warn
from ...plugins import judging, project, signed
from ..target import target_options

__all__ = ["build", "check", "sign", "test", "verify"]

_PATH = click.Path(path_type=Path)
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_PYTEST_USAGE, _PYTEST_NO_TESTS = 4, 5
_WORDS = f"{__name__}.words"
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class _WithWords(click.Command):
    """A command that keeps what follows `--` for another program."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            ctx.meta[_WORDS], args = args[at + 1 :], args[:at]
        return super().parse_args(ctx, args)


class _Built(msgspec.Struct, frozen=True):
    """The answer to `plugin build`."""

    path: str
    plugin: judging.Judged


@click.command(
    short_help="Tell whether a node would load a plugin.",
    epilog="""\b
Examples:
  thenodes plugin check .
  thenodes plugin check dist --json
  thenodes plugin check my.whl --config node.toml    # as that node would
  thenodes plugin check . --load                     # runs the plugin's code""",
)
@click.argument("paths", nargs=-1, type=_PATH, metavar="[PATH]...")
@click.option(
    "--load", is_flag=True, help="Also import it and let it register: this runs the plugin's code."
)
@target_options
@_json
def check(
    paths: tuple[Path, ...],
    load: bool,
    config_file: Path | None,
    state_dir: Path | None,
    as_json: bool,
) -> None:
    """Tell whether a node would load a plugin, and every reason why not.

    PATH is a source tree, a wheel, or a directory of them; by default this folder. Without
    --load no code of the plugin runs. With --config or --state-dir, that node's allowlist,
    signers, blocks and lock count too. Exit code 1 where any is rejected.
    """
    is_named = config_file is not None or state_dir is not None
    files = read_node_files(config_file, state_dir) if is_named else None
    if load:
        warn("--load runs the plugin's code, in this process")
    told = judging.judge(paths or (Path(),), judging.policy_of(files), run=load)
    if not told:
        raise CommandFailed(f"no plugins in {', '.join(map(str, paths)) or 'this folder'}")
    emit("\n\n".join(judging.describe(each) for each in told), told, as_json=as_json)
    code = 0 if all(each.accepted for each in told) else FAILED
    if load:
        _end(code)
    click.get_current_context().exit(code)


def _end(code: int) -> NoReturn:
    """End the process, also where a plugin has left a thread behind that does not end."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


@click.command(
    epilog="""\b
Examples:
  thenodes plugin build
  thenodes plugin build plugins/my --json"""
)
@click.argument("path", type=_PATH, default=Path())
@_json
def build(path: Path, as_json: bool) -> None:
    """Build a plugin's wheel into its folder dist, and check it.

    It is built by what the project's pyproject.toml names, as it is installed here; nothing
    is downloaded. Exit code 1 where a node would not load the wheel.
    """
    wheel = project.build_wheel(path)
    (told,) = judging.judge([wheel], judging.policy_of(None))
    emit(f"built {wheel}\n{judging.describe(told)}", _Built(str(wheel), told), as_json=as_json)
    if not told.accepted:
        click.get_current_context().exit(FAILED)


@click.command(
    cls=_WithWords,
    short_help="Run a plugin project's tests.",
    options_metavar="[OPTIONS] [PATH] [-- PYTEST ARGS...]",
    epilog="""\b
Examples:
  thenodes plugin test
  thenodes plugin test plugins/my -- -x -k status""",
)
@click.argument("path", type=_PATH, default=Path(), metavar="")
def test(path: Path) -> None:
    """Run a plugin project's tests with the pytest that is installed here.

    What follows -- goes to pytest. Exit code 1 where a test fails.
    """
    words = click.get_current_context().meta.get(_WORDS, [])
    code = project.run_tests(path, words)
    if code == _PYTEST_NO_TESTS:
        fail(f"{path}: pytest found no tests")
    # Its code for an interruption is that of tests that cannot be imported, too; Ctrl-C comes here.
    ways = {0: 0, _PYTEST_USAGE: USAGE}
    click.get_current_context().exit(ways.get(code, FAILED))


@click.command(
    epilog="""\b
Examples:
  thenodes plugin sign dist/thenodes_my-0.1.0-py3-none-any.whl
  thenodes plugin sign my.whl --key author.pem"""
)
@click.argument("wheel", type=_PATH)
@click.option("--key", type=_PATH, help="The private key, PEM.  [default: the node's]")
@target_options
@_json
def sign(
    wheel: Path, key: Path | None, config_file: Path | None, state_dir: Path | None, as_json: bool
) -> None:
    """Sign a wheel: write the signature into WHEEL.tnsig, beside it.

    Whoever has the signer's fingerprint in [plugins] signers can tell by it whose wheel it is.
    """
    if key is None:
        identity = read_node_files(config_file, state_dir).read_identity()
    else:
        identity = load_identity(key)
    made = signed.sign(wheel, identity)
    emit(f"signed by {made.signer}\n{made.signature}", made, as_json=as_json)


@click.command(
    epilog="""\b
Examples:
  thenodes plugin verify my.whl --config node.toml
  thenodes plugin verify my.whl --signer 3f9a21c4…    # all 64 digits"""
)
@click.argument("wheel", type=_PATH)
@click.option(
    "--signer",
    "signers",
    multiple=True,
    metavar="FINGERPRINT",
    help="Who may have signed it. Can be repeated.  [default: the node's [plugins] signers]",
)
@target_options
@_json
def verify(
    wheel: Path,
    signers: tuple[str, ...],
    config_file: Path | None,
    state_dir: Path | None,
    as_json: bool,
) -> None:
    """Verify the signature beside a wheel, and tell who signed it.

    Exit code 1 where it is invalid, or by nobody who is named.
    """
    for signer in signers:
        if _FINGERPRINT.fullmatch(signer.lower()) is None:
            raise click.UsageError(f"--signer {signer}: expected a fingerprint, 64 hex digits")
    named = [signer.lower() for signer in signers]
    named = named or list(read_node_files(config_file, state_dir).config.plugins.signers)
    found = signed.verify(wheel, named)
    unnamed = "" if found.is_named else "; no signers are named, so this may be anybody"
    emit(f"valid, signed by {found.signer}{unnamed}", found, as_json=as_json)
