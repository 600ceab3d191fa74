"""Templates of other people: which kind one is of, told from its files."""

from __future__ import annotations

import enum
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import msgspec

from thenodes_core.errors import CommandError, CommandFailed

__all__ = ["Template", "TemplateKind", "find_template"]

_ABBREVIATIONS = {"gh": "https://github.com/", "gl": "https://gitlab.com/"}
_ADDRESS = re.compile(r"(git\+)?([a-z]+://|git@[\w.-]+:)")
_CLONE_SECONDS = 120


class TemplateKind(enum.Enum):
    """Which program a template is for."""

    COPIER = "Copier"
    COOKIECUTTER = "Cookiecutter"


class Template(msgspec.Struct, frozen=True):
    """A template.

    Attributes:
        source: its folder, absolute, or its git address.
        kind: what renders it.
    """

    source: str
    kind: TemplateKind


def find_template(typed: str) -> Template:
    """Find a template by its folder or git address.

    Raises:
        CommandError: there is none, or it is no template.
        CommandFailed: it cannot be fetched.
    """
    folder = Path(typed).expanduser()
    if folder.is_dir():
        return Template(str(folder.absolute()), _kind_of(folder, typed))
    host, _, rest = typed.partition(":")
    address = f"{_ABBREVIATIONS[host]}{rest}" if host in _ABBREVIATIONS else typed
    if not _ADDRESS.match(address):
        what = "a file" if folder.exists() else "not there"
        raise CommandError(
            f"--template {typed}: {what}; expected the folder of a template, or its git address "
            "such as https://… or gh:owner/name"
        )
    address = address.removeprefix("git+")
    with tempfile.TemporaryDirectory() as temporary:
        clone = Path(temporary) / "template"
        _fetch(address, clone)
        return Template(address, _kind_of(clone, typed))


def _kind_of(folder: Path, typed: str) -> TemplateKind:
    if (folder / "copier.yml").is_file() or (folder / "copier.yaml").is_file():
        return TemplateKind.COPIER
    if (folder / "cookiecutter.json").is_file():
        return TemplateKind.COOKIECUTTER
    raise CommandError(
        f"--template {typed}: no template; expected copier.yml or cookiecutter.json in it"
    )


def _fetch(address: str, clone: Path) -> None:
    git = shutil.which("git")
    if git is None:
        raise CommandFailed(f"--template {address}: git is needed to fetch it; install git")
    command = [git, "clone", "--quiet", "--depth", "1", "--", address, str(clone)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_CLONE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(
            f"--template {address}: not fetched within {_CLONE_SECONDS} s"
        ) from error
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or ["git failed"])[-1]
        raise CommandFailed(f"--template {address}: cannot be fetched: {reason}") from error
