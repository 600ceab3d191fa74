"""Copier, from here: the only module that imports it.

Copier keeps the environment as it is when it is imported, so this module is imported after
everything that git shall see has been set.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import copier
from copier.errors import CopierAnswersInterrupt, CopierError, UnsafeTemplateError
from jinja2 import TemplateError
from plumbum.commands.processes import CommandNotFound, ProcessExecutionError
from yaml import YAMLError

from thenodes_core.errors import CommandError, CommandFailed

__all__ = ["render_copier", "update_copier"]


def render_copier(
    source: str,
    folder: Path,
    *,
    answers: Mapping[str, str],
    suggestions: Mapping[str, str],
    ask: bool,
    trust: bool,
) -> None:
    """Make a project of a template. What was begun is removed where it fails.

    Args:
        source: the template's folder or git address.
        folder: the project; new or empty.
        answers: answers to its questions, which are then not asked.
        suggestions: answers to offer, or to take where it does not ask.
        ask: whether to ask at the terminal; where not, its defaults are taken.
        trust: whether it may run code of its own.

    Raises:
        CommandError: an answer is wrong or missing, or the template is not to be trusted.
        CommandFailed: it cannot be fetched or rendered.
    """
    # Copier takes an address for one where it ends in .git, or is told.
    told = f"git+{source}" if "://" in source and not source.endswith(".git") else source
    with _errors_of(source, trusting="add --trust"):
        copier.run_copy(
            told,
            folder,
            data=dict(answers),
            user_defaults=dict(suggestions),
            defaults=not ask,
            unsafe=trust,
            quiet=True,
            settings=copier.Settings(),
        )


def update_copier(folder: Path, source: str) -> None:
    """Bring a project what is new in its template; changes made to it are kept.

    Where both changed the same lines, both are left in the file, between conflict markers.

    Args:
        folder: the project; everything in it is committed.
        source: its template, for errors.

    Raises:
        CommandError: the template is not to be trusted, or a question is new without a default.
        CommandFailed: it cannot be fetched or rendered.
    """
    with _errors_of(source, trusting="write: copier update --trust"):
        copier.run_update(
            folder,
            defaults=True,
            overwrite=True,
            quiet=True,
            conflict="inline",
            settings=copier.Settings(),
        )


@contextlib.contextmanager
def _errors_of(source: str, *, trusting: str) -> Iterator[None]:
    quiet = contextlib.nullcontext() if sys.stderr.isatty() else _swallow_stderr()
    try:
        with warnings.catch_warnings(), quiet:
            warnings.simplefilter("ignore")
            yield
    except CopierAnswersInterrupt:
        raise
    except UnsafeTemplateError as error:
        found = re.search(r"features?: (.+)\.", str(error))
        features = found[1].replace("jinja_", "") if found else str(error)
        raise CommandError(
            f"the template {source} runs code of its own: {features}. Read it, and if you trust "
            f"it, {trusting}"
        ) from error
    except ProcessExecutionError as error:
        reason = (str(error.stderr).strip().splitlines() or [str(error)])[-1]
        raise CommandFailed(f"the template {source} cannot be used: {reason}") from error
    except CommandNotFound as error:
        raise CommandFailed(f"the template {source}: git is needed; install git") from error
    except (ValueError, TypeError) as error:
        raise CommandError(_describe_answer(source, error)) from error
    except OSError as error:
        where = error.filename or source
        raise CommandFailed(f"{where}: cannot be read or written: {error.strerror}") from error
    except (CopierError, TemplateError, YAMLError) as error:
        raise CommandFailed(f"the template {source} cannot be rendered: {error}") from error


def _describe_answer(source: str, error: Exception) -> str:
    text = " ".join(str(error).split())
    if missing := re.search(r'Question "(\w+)" is required', text):
        return f"the template {source} has to know {missing[1]!r}; add --data {missing[1]}=…"
    if wrong := re.match(r"Validation error for question '(\w+)': (.*)", text):
        return f"--data {wrong[1]}: expected {wrong[2]}"
    if choice := re.match(r"Invalid choice for '(\w+)': (.*)", text):
        return f"--data {choice[1]}: {choice[2]}"
    return f"the template {source}: {text}"


def _swallow_stderr() -> contextlib.AbstractContextManager[object]:
    """Copier's own words are for a terminal; what went wrong comes as an error."""
    return contextlib.redirect_stderr(io.StringIO())
