"""`thenodes new-plugin`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ..output import emit
from ..scaffold.packaged import packaged_template
from ..scaffold.project import Project, ProjectRequest, make_project

__all__ = ["command"]

_SHOWN_FILES = 30


@click.command(
    epilog="""\b
Examples:
  thenodes new-plugin my
  thenodes new-plugin "Kitchen Lights" --output plugins --defaults
  thenodes new-plugin my --data license=Apache-2.0 --data ci=false
  thenodes new-plugin my --template gh:someone/their-template"""
)
@click.argument("name")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path(),
    help="The folder to make it in.  [default: this one]",
)
@click.option("--defaults", is_flag=True, help="Ask nothing; without a terminal, nothing is asked.")
@click.option(
    "--template",
    metavar="SRC",
    help="Another template, of Copier or Cookiecutter: a folder or a git address.",
)
@click.option(
    "--data",
    "given",
    multiple=True,
    metavar="KEY=VALUE",
    help="Answer a question of the template. Can be repeated.",
)
@click.option("--trust", is_flag=True, help="Let another template run code of its own.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, and ask nothing.")
def command(
    name: str,
    output: Path,
    defaults: bool,
    template: str | None,
    given: tuple[str, ...],
    trust: bool,
    as_json: bool,
) -> None:
    """Make the project of a new plugin, ready to run, test and publish.

    NAME is what the plugin is called, such as `my`. Its folder is thenodes-my, its import
    package thenodes_my, its id and its prompt prefix my; --data id=…, prefix=… and module=…
    choose others. The template that comes with this program asks for description, author,
    license and ci too, and needs neither git nor network.
    """
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    request = ProjectRequest(
        typed=name,
        output=output,
        template=template,
        answers=_read_answers(given),
        ask=on_terminal and not defaults and not as_json,
        trust=trust,
    )
    project = make_project(request, packaged_template())
    emit("\n".join(_describe(project)), project, as_json=as_json)


def _read_answers(given: Sequence[str]) -> dict[str, str]:
    answers = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise click.UsageError(f"--data {text}: expected KEY=VALUE, such as author=Ada")
        answers[key.strip()] = value
    return answers


def _describe(project: Project) -> Sequence[str]:
    files = project.files[:_SHOWN_FILES]
    more = len(project.files) - len(files)
    lines = [f"made {project.folder}", *(f"  {file}" for file in files)]
    if more:
        lines.append(f"  and {more} more")
    lines += ["", "next:", f"  cd {_quote(project.folder)}"]
    if project.names is not None:
        lines += [
            f"  thenodes run --plugin . --prompt      # then type: {project.names.prefix}, status",
            "  python -m pip install -e . --group dev && pytest",
            "  thenodes plugin check . && thenodes plugin build .",
        ]
    return lines


def _quote(folder: str) -> str:
    return f'"{folder}"' if " " in folder else folder
