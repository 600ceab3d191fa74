"""`thenodes update-plugin`."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import FAILED
from ..output import emit, fail
from ..scaffold.packaged import packaged_template

__all__ = ["command"]


@click.command(
    epilog="\b\nExamples:\n  thenodes update-plugin\n  thenodes update-plugin thenodes-my --check"
)
@click.argument("path", type=click.Path(path_type=Path), default=Path())
@click.option(
    "--check", is_flag=True, help="Change nothing; exit with 1 where there is an update, else 0."
)
def command(path: Path, check: bool) -> None:
    """Bring a plugin project what is new in the template that it was made of.

    PATH is the project, by default this folder; it is in git, and all of it is committed.
    Your changes are kept. Where the template changed the same lines, both are left in the
    file, the file is named, and the exit code is 1. It needs git, and no network.
    """
    # Here, because it needs git's and Copier's side of things, which --help does not.
    from ..scaffold.update import check_project, update_project

    packaged = packaged_template()
    if check:
        state = check_project(path, packaged)
        if not state.update:
            emit(f"{path} is up to date: {state.version}", None, as_json=False)
            return
        emit(f"{path} has {state.version}; there is {state.newest}", None, as_json=False)
        raise SystemExit(FAILED)
    updated = update_project(path, packaged)
    state = updated.state
    if not state.update:
        emit(f"{path} is up to date: {state.version}", None, as_json=False)
        return
    lines = [f"updated {path} from {state.version} to {state.newest}"]
    lines += [f"  {name}" for name in updated.changed]
    emit("\n".join(lines), None, as_json=False)
    if updated.conflicts:
        fail(
            "you and the template changed the same lines; look for <<<<<<< in: "
            f"{', '.join(updated.conflicts)}"
        )
        raise SystemExit(FAILED)
    emit("next:\n  git diff, your tests, and a commit", None, as_json=False)
