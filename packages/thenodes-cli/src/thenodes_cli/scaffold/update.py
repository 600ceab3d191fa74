"""Bringing a plugin project what is new in the template that it was made of."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import yaml
from packaging.version import InvalidVersion, Version

from thenodes_core.errors import CommandError, CommandFailed

from .packaged import Packaged, git_redirect

__all__ = ["ANSWERS_FILE", "State", "Updated", "check_project", "update_project"]

ANSWERS_FILE = ".copier-answers.yml"
"""What a project knows of its template."""

_SECONDS = 60


class State(msgspec.Struct, frozen=True, kw_only=True):
    """A project and its template.

    Attributes:
        template: the template's address.
        version: the version that the project has.
        newest: the newest there is.
        update: whether that is newer.
    """

    template: str
    version: str
    newest: str
    update: bool


class Updated(msgspec.Struct, frozen=True, kw_only=True):
    """What an update did.

    Attributes:
        state: what there was before.
        changed: the files that are not as they were, relative to the project.
        conflicts: those of them that hold conflict markers.
    """

    state: State
    changed: Sequence[str] = ()
    conflicts: Sequence[str] = ()


def check_project(project: Path, packaged: Packaged) -> State:
    """Tell whether there is something new for a project; changes nothing.

    Raises:
        CommandError: not a project that was made of a Copier template with versions.
        CommandFailed: another template's versions cannot be asked for.
    """
    template, version = _read_answers(project)
    newest = packaged.newest() if template == packaged.address else _newest_of(template)
    if _number(newest, template) < _number(version, template):
        raise CommandFailed(
            f"{project} has version {version} of its template, and here is {newest}; "
            "update TheNodes first"
        )
    update = _number(newest, template) > _number(version, template)
    return State(template=template, version=version, newest=newest, update=update)


def update_project(project: Path, packaged: Packaged) -> Updated:
    """Update a project; local changes are kept.

    Sets variables of the environment, and has to run before Copier is imported.

    Raises:
        CommandError: as `check_project`.
        CommandFailed: git is missing, or the project has changes that are not committed.
    """
    state = check_project(project, packaged)
    if not state.update:
        return Updated(state=state)
    _check_committed(project)
    with tempfile.TemporaryDirectory() as cache:
        # A cache of its own: one of an earlier program may lack the newest version.
        os.environ.update(git_redirect(packaged, os.environ), COPIER_CACHE_DIR=cache)
        from .copier_project import update_copier

        update_copier(project, state.template)
    added = _list(project, "ls-files", "--others", "--exclude-standard")
    changed = _list(project, "diff", "--name-only", "--relative", "HEAD")
    conflicts = _list(project, "diff", "--name-only", "--relative", "--diff-filter=U")
    return Updated(
        state=state, changed=sorted({*added, *changed}), conflicts=sorted(set(conflicts))
    )


def _read_answers(project: Path) -> tuple[str, str]:
    file = project / ANSWERS_FILE
    try:
        answers = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CommandError(
            f"{project}: no {ANSWERS_FILE} in it; expected a project that "
            "`thenodes new-plugin` made"
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise CommandError(f"{file}: cannot be read: {reason}") from error
    found = answers if isinstance(answers, dict) else {}
    template, version = found.get("_src_path"), found.get("_commit")
    if not isinstance(template, str) or not isinstance(version, str):
        raise CommandError(
            f"{file}: _src_path and _commit are needed, which say of which template and version "
            "the project was made; only a template in a git repository can be updated from"
        )
    return template, version


def _newest_of(template: str) -> str:
    address = template.removeprefix("git+")
    if address.startswith(("gh:", "gl:")):
        host = {"gh": "github", "gl": "gitlab"}[address[:2]]
        address = f"https://{host}.com/{address[3:]}"
    lines = _git(Path(), "ls-remote", "--tags", "--refs", "--", address).splitlines()
    tags = [line.rpartition("refs/tags/")[2] for line in lines]
    versions = {version: tag for tag in tags if (version := _version(tag)) is not None}
    released = [version for version in versions if not version.is_prerelease]
    if not released:
        raise CommandFailed(f"the template {template} has no tag that is a version, such as v1.0.0")
    return versions[max(released)]


def _number(version: str, template: str) -> Version:
    # `git describe` writes v1.0.0-2-g123abc for what lies after a tag.
    number = _version(version) or _version(version.partition("-")[0])
    if number is None:
        raise CommandError(f"{version!r} is no version of the template {template}, such as v1.0.0")
    return number


def _version(tag: str) -> Version | None:
    try:
        return Version(tag)
    except InvalidVersion:
        return None


def _check_committed(project: Path) -> None:
    """Refuse where an update could not be undone.

    Raises:
        CommandFailed: no git, or something is not committed.
    """
    if shutil.which("git") is None:
        raise CommandFailed("an update needs git, which tells your changes apart; install git")
    try:
        changes = _git(project, "status", "--porcelain", "--", ".")
        _git(project, "rev-parse", "--verify", "--quiet", "HEAD")
    except CommandFailed as error:
        raise CommandFailed(
            f"{project}: not in a git repository with a commit, and an update tells your changes "
            f"apart by one; write: cd {project} && git init && git add . && git commit -m Begin"
        ) from error
    if changes:
        names = ", ".join(line[3:] for line in changes.splitlines()[:5])
        raise CommandFailed(
            f"{project}: changes are not committed: {names}; commit them first, so that "
            "the update can be seen and undone"
        )


def _list(project: Path, *words: str) -> list[str]:
    return [name for name in _git(project, *words, "-z").split("\0") if name]


def _git(folder: Path, *words: str) -> str:
    git = shutil.which("git")
    if git is None:
        raise CommandFailed("git is needed, to ask for the template's versions; install git")
    try:
        done = subprocess.run(
            [git, *words],
            cwd=folder,
            check=True,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise CommandFailed(f"git {words[0]} failed: {reason}") from error
    except (subprocess.TimeoutExpired, OSError) as error:
        raise CommandFailed(f"git {words[0]} failed: {error}") from error
    return done.stdout
