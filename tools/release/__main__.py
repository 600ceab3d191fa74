"""`python -m tools.release`: bump, check, notes, alone."""

from __future__ import annotations

import datetime
import sys
import tempfile
from pathlib import Path

import click

from .alone import build, try_alone
from .bump import bump, too_narrow
from .changelog import notes
from .tag import released
from .workspace import Package, ReleaseError, parse_version, read_workspace

_ROOT = Path(__file__).resolve().parents[2]


@click.group(
    epilog="""\b
Examples:
  python -m tools.release bump thenodes-core 0.2.0
  python -m tools.release check thenodes-core-v0.2.0
  python -m tools.release alone"""
)
def program() -> None:
    """Release one package of the workspace; see CONTRIBUTING.md."""


@program.command("bump", epilog="Example: python -m tools.release bump thenodes-core 0.2.0")
@click.argument("package")
@click.argument("version")
def bump_(package: str, version: str) -> None:
    """Give PACKAGE another VERSION, and close its changelog with today's date."""
    packages = read_workspace(_ROOT)
    wanted = parse_version(version)
    one = _known(packages.get(package), package, list(packages))
    for path in bump(one, wanted, datetime.datetime.now(datetime.UTC).date()):
        click.echo(f"changed {path.relative_to(_ROOT)}")
    for text in too_narrow(packages, package, wanted):
        click.echo(f"warning: {text}: widen that range, and release it first or with it", err=True)
    click.echo(f"commit this, then: git tag {package}-v{wanted} && git push origin --tags")


@program.command(epilog="Example: python -m tools.release check thenodes-core-v0.2.0")
@click.argument("tag")
def check(tag: str) -> None:
    """Tell whether TAG may be released; prints name and folder as a workflow takes them."""
    package = released(read_workspace(_ROOT), tag)
    folder = package.folder.relative_to(_ROOT)
    click.echo(f"name={package.name}\nversion={package.version}\nfolder={folder}")


@program.command("notes", epilog="Example: python -m tools.release notes thenodes-core")
@click.argument("package")
def notes_(package: str) -> None:
    """Print what the changelog says of the present version."""
    packages = read_workspace(_ROOT)
    one = _known(packages.get(package), package, list(packages))
    click.echo(notes(one, one.changelog.read_text()), nl=False)


@program.command("build", epilog="Example: python -m tools.release build thenodes-core dist")
@click.argument("package")
@click.argument("into", type=click.Path(path_type=Path, file_okay=False))
def build_(package: str, into: Path) -> None:
    """Build PACKAGE into a folder: an sdist, and its wheel from that sdist."""
    packages = read_workspace(_ROOT)
    click.echo(build(_known(packages.get(package), package, list(packages)).folder, into))


@program.command(epilog="\b\nExamples:\n  python -m tools.release alone thenodes-relay")
@click.argument("names", nargs=-1, metavar="[PACKAGE]…")
def alone(names: tuple[str, ...]) -> None:
    """Install each package by itself with the oldest siblings that it takes, and run it."""
    packages = read_workspace(_ROOT)
    with tempfile.TemporaryDirectory(prefix="thenodes-alone-") as work:
        for name in names or packages:
            package = _known(packages.get(name), name, list(packages))
            click.echo(try_alone(_ROOT, packages, package, Path(work)))


def _known(package: Package | None, name: str, known: list[str]) -> Package:
    if package is None:
        raise ReleaseError(f"no package {name!r}; expected one of {', '.join(known)}")
    return package


def main() -> None:
    """Run it; what keeps a package from being released ends it with 1."""
    try:
        program(prog_name="python -m tools.release")
    except ReleaseError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
