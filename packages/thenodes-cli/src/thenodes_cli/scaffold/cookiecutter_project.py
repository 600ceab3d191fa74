"""Cookiecutter, from here: the only module that imports it. It is there with `[cookiecutter]`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from thenodes_core.errors import CommandError, CommandFailed

__all__ = ["render_cookiecutter"]


def render_cookiecutter(
    source: str,
    output: Path,
    *,
    answers: Mapping[str, str],
    suggestions: Mapping[str, str],
    ask: bool,
    trust: bool,
) -> Path:
    """Make a project of a template; its hooks are never run. Returns the project's folder.

    Args:
        source: the template's folder or git address.
        output: where to make the project, in a folder that the template names.
        answers: answers to its questions.
        suggestions: what to answer where the template has such a question.
        ask: whether to ask at the terminal; where not, its defaults are taken.
        trust: whether it may load extensions.

    Raises:
        CommandError: no Cookiecutter here, the project is there, or it is not to be trusted.
        CommandFailed: it cannot be fetched or rendered.
    """
    try:
        from cookiecutter.exceptions import CookiecutterException, OutputDirExistsException
        from cookiecutter.main import cookiecutter
        from cookiecutter.repository import determine_repo_dir
    except ImportError as error:
        raise CommandError(
            f"--template {source} is for Cookiecutter, which is not installed; "
            'write: pip install "thenodes-cli[cookiecutter]"'
        ) from error
    with tempfile.TemporaryDirectory() as temporary:
        # Else it reads the person's settings, and leaves clones and answers at their home.
        settings = Path(temporary) / "settings.yaml"
        folders = {"cookiecutters_dir": f"{temporary}/clones", "replay_dir": f"{temporary}/replay"}
        Path(folders["cookiecutters_dir"]).mkdir()
        settings.write_text(json.dumps(folders), encoding="utf-8")
        try:
            template, _ = determine_repo_dir(
                source, {}, folders["cookiecutters_dir"], None, no_input=True
            )
            questions = _questions_of(Path(template), source, trust=trust)
            known = {key: text for key, text in suggestions.items() if key in questions}
            made = cookiecutter(
                template,
                no_input=not ask,
                extra_context=known | dict(answers),
                output_dir=str(output),
                config_file=str(settings),
                accept_hooks=False,
            )
        except OutputDirExistsException as error:
            raise CommandError(
                f"{error}; choose another name, or another folder with --output"
            ) from error
        except (CookiecutterException, OSError, ValueError) as error:
            raise CommandFailed(f"the template {source} cannot be rendered: {error}") from error
    return Path(made)


def _questions_of(template: Path, source: str, *, trust: bool) -> Mapping[str, object]:
    """What the template asks.

    Raises:
        CommandError: it loads extensions, or other templates, and is not trusted.
        ValueError: its questions cannot be read.
    """
    questions = json.loads((template / "cookiecutter.json").read_text(encoding="utf-8"))
    if not isinstance(questions, dict):
        raise ValueError("cookiecutter.json: expected an object")
    unsafe = [key for key in ("_extensions", "template", "templates") if questions.get(key)]
    if unsafe and not trust:
        features = ", ".join(key.removeprefix("_") for key in unsafe)
        raise CommandError(
            f"the template {source} runs code of its own: {features}. Read it, and if you trust "
            "it, add --trust"
        )
    return questions
