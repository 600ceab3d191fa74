"""A new plugin project: where it is made, of which template, and with which answers."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from thenodes_core.errors import CommandError

from .names import Names, derive_names
from .packaged import Packaged

__all__ = ["Project", "ProjectRequest", "make_project"]

_QUESTIONS = ("name", "id", "prefix", "module", "description", "author", "license", "ci")
_BOOLEANS = ("true", "false", "yes", "no")
_DERIVED = ("name", "id", "prefix", "module")


class ProjectRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be made.

    Attributes:
        typed: the name, as typed.
        output: the folder that the project's folder is made in.
        template: another template's folder or git address, or None.
        answers: answers that were given with the command.
        ask: whether to ask for the others at the terminal.
        trust: whether another template may run code of its own.
    """

    typed: str
    output: Path
    template: str | None
    answers: Mapping[str, str]
    ask: bool
    trust: bool


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """What was made.

    Attributes:
        folder: where it is, as the operator would write it.
        names: what it is called; None where another template decided.
        template: what it was made of.
        version: which version of that, where it is known.
        files: its files, relative to the folder.
    """

    folder: str
    names: Names | None
    template: str
    version: str | None
    files: Sequence[str]


def make_project(request: ProjectRequest, packaged: Packaged) -> Project:
    """Make a project.

    Raises:
        CommandError: a name, answer or template cannot be used, or the project is there already.
        CommandFailed: the template cannot be fetched or rendered.
    """
    chosen = {key: text for key, text in request.answers.items() if key in _DERIVED}
    names = derive_names(request.typed, chosen)
    if request.template is not None:
        return _make_of_other(request, request.template, names)
    _check_questions(request.answers)
    folder = _free_folder(request.output, names)
    from .copier_project import render_copier

    version = packaged.newest()
    render_copier(
        str(packaged.folder),
        folder,
        answers={
            **request.answers,
            **{key: getattr(names, key) for key in _DERIVED},
            "template_version": version,
            "template_address": packaged.address,
        },
        suggestions={},
        ask=request.ask,
        trust=False,
    )
    return Project(
        folder=str(folder),
        names=names,
        template=packaged.address,
        version=version,
        files=_files_in(folder),
    )


def _make_of_other(request: ProjectRequest, typed: str, names: Names) -> Project:
    from .source import TemplateKind, find_template

    template = find_template(typed)
    suggestions = {
        **msgspec.to_builtins(names),
        "project_name": names.name,
        "project_slug": names.distribution,
        "package_name": names.module,
    }
    if template.kind is TemplateKind.COPIER:
        from .copier_project import render_copier

        folder = _free_folder(request.output, names)
        render_copier(
            template.source,
            folder,
            answers=request.answers,
            suggestions=suggestions,
            ask=request.ask,
            trust=request.trust,
        )
    else:
        from .cookiecutter_project import render_cookiecutter

        folder = render_cookiecutter(
            template.source,
            request.output,
            answers=request.answers,
            suggestions=suggestions,
            ask=request.ask,
            trust=request.trust,
        )
    return Project(
        folder=str(folder),
        names=None,
        template=template.source,
        version=None,
        files=_files_in(folder),
    )


def _check_questions(answers: Mapping[str, str]) -> None:
    for key in answers:
        if key not in _QUESTIONS:
            near = difflib.get_close_matches(key, _QUESTIONS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected {', '.join(_QUESTIONS)}"
            raise CommandError(f"--data {key}: the template has no such question; {hint}")
    for key, text in answers.items():
        if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
            raise CommandError(f"--data {key}: expected UTF-8, got other bytes")
    # Copier would take any other word for true.
    if answers.get("ci", "true").lower() not in _BOOLEANS:
        raise CommandError(f"--data ci: expected true or false, got {answers['ci']!r}")


def _free_folder(output: Path, names: Names) -> Path:
    if output.exists() and not output.is_dir():
        raise CommandError(f"--output {output}: a file; expected a folder")
    folder = output / names.distribution
    if folder.is_symlink() or (folder.exists() and not _is_empty(folder)):
        raise CommandError(
            f"{folder} is there already; choose another name, or another folder with --output"
        )
    return folder


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and next(folder.iterdir(), None) is None


def _files_in(folder: Path) -> Sequence[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if not path.is_dir() and path.relative_to(folder).parts[0] != ".git"
    )
