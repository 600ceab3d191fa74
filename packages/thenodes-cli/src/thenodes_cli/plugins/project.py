"""A plugin's project: its wheel is built and its tests are run, by the tools it names."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from thenodes_core.errors import CommandError, CommandFailed

__all__ = ["build_wheel", "run_tests"]

DIST = "dist"

_SETUPTOOLS = "setuptools.build_meta"
_SHOWN_LINES = 15
# Runs in a process of its own: a backend works in the current folder, and may print.
_BUILD = """\
import importlib, operator, os, sys
name, folder, *paths = sys.argv[1:]
sys.path[:0] = [os.path.abspath(path) for path in paths]
module, _, attribute = name.partition(":")
backend = importlib.import_module(module)
if attribute:
    backend = operator.attrgetter(attribute)(backend)
made = backend.build_wheel(folder)
print()
print(made)
"""


class _BuildSystem(msgspec.Struct, rename="kebab"):
    build_backend: str = _SETUPTOOLS
    backend_path: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()


class _Pyproject(msgspec.Struct, rename="kebab"):
    build_system: _BuildSystem = msgspec.field(default_factory=_BuildSystem)


def build_wheel(project: Path) -> Path:
    """Build a project's wheel into its `dist` folder with the backend that it names (PEP 517).

    The backend is that of this environment: nothing is downloaded.

    Raises:
        CommandError: it is no project.
        CommandFailed: the backend is not installed, or failed.
    """
    system = _read_build_system(project)
    _check_installed(system)
    dist = project.absolute() / DIST
    try:
        dist.mkdir(exist_ok=True)
    except OSError as error:
        raise CommandFailed(f"{dist}: {error.strerror}") from error
    # -P: the project's own files are no modules of the backend's.
    words = [sys.executable, "-P", "-c", _BUILD, system.build_backend, str(dist)]
    done = subprocess.run(
        [*words, *system.backend_path],
        cwd=project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="backslashreplace",
        check=False,
    )
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-_SHOWN_LINES:])
        raise CommandFailed(f"{project}: {system.build_backend} did not build it:\n{said}")
    path = dist / Path(done.stdout.strip().splitlines()[-1]).name
    if not path.is_file():
        raise CommandFailed(f"{project}: {system.build_backend} said it made {path}, which is not")
    return path


def run_tests(project: Path, words: Sequence[str]) -> int:
    """Run a project's tests with the pytest of this environment; returns pytest's exit code.

    Raises:
        CommandError: there is no such folder.
        CommandFailed: pytest is not installed.
    """
    if not project.is_dir():
        raise CommandError(f"{project}: expected the folder of a plugin's project")
    if importlib.util.find_spec("pytest") is None:
        raise CommandFailed(
            "pytest is not installed for this Python. To install it with the test kit: "
            f"{sys.executable} -m pip install 'thenodes-plugin-api[testing]'"
        )
    source = project.absolute() / "src"
    paths = [str(source if source.is_dir() else project.absolute())]
    paths += filter(None, [os.environ.get("PYTHONPATH")])
    # Through the environment, so that what the project says to pytest stays as it is.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    words = [sys.executable, "-m", "pytest", *words]
    return subprocess.run(words, cwd=project, env=environment, check=False).returncode


def _read_build_system(project: Path) -> _BuildSystem:
    file = project / "pyproject.toml"
    try:
        with file.open("rb") as stream:
            return msgspec.convert(tomllib.load(stream), _Pyproject).build_system
    except FileNotFoundError:
        raise CommandError(
            f"{project}: expected the folder of a plugin's project, and it has no pyproject.toml. "
            "To make one: thenodes new-plugin NAME"
        ) from None
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CommandError(f"{file}: not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise CommandError(f"{file}: {error}") from error


def _check_installed(system: _BuildSystem) -> None:
    top = system.build_backend.partition(":")[0].partition(".")[0]
    if system.backend_path or (top and importlib.util.find_spec(top)):
        return
    needs = " ".join(f"'{name}'" for name in system.requires) or top
    raise CommandFailed(
        f"the project is built by {system.build_backend!r}, which is not installed for this "
        f"Python. To install it: {sys.executable} -m pip install {needs}"
    )
