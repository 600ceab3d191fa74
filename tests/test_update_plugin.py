"""`thenodes update-plugin`: an installed program that knows a newer version of the template."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from thenodes_cli.scaffold.packaged import packaged_template

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "packages" / "thenodes-cli" / "src" / "thenodes_cli"
NEWER = "v9.1.0"


class Installation:
    """A copy of the program as a wheel installs it, with a template of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.template = folder / "thenodes_cli" / "_template" / "nep-plugin"
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PACKAGE, folder / "thenodes_cli", ignore=ignore)
        shutil.copytree(ROOT / "templates", self.template.parent, ignore=ignore)

    def cut(self, version: str) -> None:
        """Release the template as it lies there."""
        script = self.template.parent / "cut_version.py"
        subprocess.run([sys.executable, str(script), version], check=True, capture_output=True)

    def run(self, *words: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run this program, offline and with no settings of a person."""
        environment = {
            "PATH": os.environ["PATH"] if path is None else path,
            "PYTHONPATH": str(self.folder),
            "HOME": str(self.folder / "home"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ALLOW_PROTOCOL": "file",
            "LANG": "C.UTF-8",
        }
        return subprocess.run(
            [sys.executable, "-m", "thenodes_cli", *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def edit(self, name: str, old: str, new: str) -> None:
        """Change a file of the template."""
        replace(self.template / "project" / name, old, new)


def replace(file: Path, old: str, new: str) -> None:
    """Change a file; what is replaced has to be there."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=x", "-c", "user.email=x@x.invalid", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout


def commit(project: Path) -> None:
    git(project, "add", ".")
    git(project, "commit", "--quiet", "-m", "as it is")


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path / "site")


@pytest.fixture
def project(tmp_path: Path, installation: Installation) -> Path:
    """A project of the version that is released, in git; after it, a newer one was cut."""
    made = installation.run("new-plugin", "my", "--output", str(tmp_path))
    assert made.returncode == 0, made.stderr
    folder = tmp_path / "thenodes-my"
    git(folder, "init", "--quiet")
    commit(folder)
    installation.edit("README.md.jinja", "## Change it", "## How to change it")
    installation.edit("pyproject.toml.jinja", "line-length = 100", "line-length = 99")
    (installation.template / "project" / "NEW.md").write_text("new\n")
    installation.cut(NEWER.removeprefix("v"))
    return folder


def files_with_markers(project: Path) -> Sequence[str]:
    return [
        path.name
        for path in sorted(project.rglob("*"))
        if path.is_file() and ".git" not in path.parts and "<<<<<<<" in path.read_text()
    ]


def test_an_update_brings_what_is_new_and_keeps_what_was_changed(
    project: Path, installation: Installation
) -> None:
    replace(project / "src/thenodes_my/__init__.py", "Greets peers", "Greets all peers")
    replace(project / "README.md", "A plugin for TheNodes.", "It greets.")
    (project / "mine.md").write_text("mine\n")
    commit(project)

    done = installation.run("update-plugin", str(project))

    assert (done.returncode, done.stderr) == (0, "")
    old = packaged_template().newest()
    assert done.stdout.splitlines()[:5] == [
        f"updated {project} from {old} to {NEWER}",
        "  .copier-answers.yml",
        "  NEW.md",
        "  README.md",
        "  pyproject.toml",
    ]
    assert "Greets all peers" in (project / "src/thenodes_my/__init__.py").read_text()
    readme = (project / "README.md").read_text()
    assert "It greets." in readme
    assert "## How to change it" in readme
    assert (project / "mine.md").exists()
    assert (project / "NEW.md").read_text() == "new\n"
    assert f"_commit: {NEWER}\n" in (project / ".copier-answers.yml").read_text()
    assert not (installation.folder / "home").exists()


def test_where_both_changed_a_line_both_are_kept_and_the_file_is_named(
    project: Path, installation: Installation
) -> None:
    replace(project / "pyproject.toml", "line-length = 100", "line-length = 120")
    commit(project)

    done = installation.run("update-plugin", str(project))

    assert done.returncode == 1
    assert "look for <<<<<<< in: pyproject.toml" in done.stderr
    assert files_with_markers(project) == ["pyproject.toml"]
    text = (project / "pyproject.toml").read_text()
    assert "line-length = 120\n" in text
    assert "line-length = 99\n" in text


def test_a_project_within_a_larger_repository_is_updated(
    project: Path, installation: Installation
) -> None:
    shutil.rmtree(project / ".git")
    repository = project.parent / "repository"
    repository.mkdir()
    project = project.rename(repository / "thenodes-my")
    git(repository, "init", "--quiet")
    commit(repository)

    done = installation.run("update-plugin", str(project))

    assert (done.returncode, done.stderr) == (0, "")
    assert "\n  README.md\n" in done.stdout
    assert (project / "NEW.md").exists()


def test_a_check_says_that_there_is_an_update_and_changes_nothing(
    project: Path, installation: Installation
) -> None:
    done = installation.run("update-plugin", str(project), "--check")

    assert (done.returncode, done.stderr) == (1, "")
    old = packaged_template().newest()
    assert done.stdout == f"{project} has {old}; there is {NEWER}\n"
    assert git(project, "status", "--porcelain") == ""


def test_a_check_needs_no_git(project: Path, installation: Installation) -> None:
    done = installation.run("update-plugin", str(project), "--check", path="/nonexistent")

    assert (done.returncode, done.stderr) == (1, "")


def test_after_an_update_there_is_nothing_new(project: Path, installation: Installation) -> None:
    installation.run("update-plugin", str(project))
    commit(project)

    for words in (["--check"], []):
        done = installation.run("update-plugin", str(project), *words)

        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{project} is up to date: {NEWER}\n"


def test_updates_follow_one_another(project: Path, installation: Installation) -> None:
    installation.run("update-plugin", str(project))
    commit(project)
    installation.edit("NEW.md", "new", "newer")
    installation.cut("9.2.0")

    done = installation.run("update-plugin", str(project))

    assert (done.returncode, done.stderr) == (0, "")
    assert (project / "NEW.md").read_text() == "newer\n"


def test_changes_that_are_not_committed_are_named_and_left_alone(
    project: Path, installation: Installation
) -> None:
    (project / "README.md").write_text("mine")

    done = installation.run("update-plugin", str(project))

    assert done.returncode == 1
    assert "changes are not committed: README.md; commit them first" in done.stderr
    assert (project / "README.md").read_text() == "mine"


def test_a_project_that_is_not_in_git_is_told_how_to_be(
    project: Path, installation: Installation
) -> None:
    shutil.rmtree(project / ".git")

    done = installation.run("update-plugin", str(project))

    assert done.returncode == 1
    assert f"cd {project} && git init && git add . && git commit -m Begin" in done.stderr


def test_an_update_without_git_is_refused(project: Path, installation: Installation) -> None:
    done = installation.run("update-plugin", str(project), path="/nonexistent")

    assert done.returncode == 1
    assert "an update needs git" in done.stderr


def test_a_project_of_a_newer_version_is_left_alone(
    project: Path, installation: Installation
) -> None:
    replace(project / ".copier-answers.yml", "_commit: v1", "_commit: v99")
    commit(project)

    done = installation.run("update-plugin", str(project))

    assert done.returncode == 1
    assert "update TheNodes first" in done.stderr


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (None, "expected a project that `thenodes new-plugin` made"),
        ("", "_src_path and _commit are needed"),
        ("- 1\n", "_src_path and _commit are needed"),
        ("_src_path: x\n_commit: [1]\n", "_src_path and _commit are needed"),
        ("a: [", "cannot be read"),
        ("_src_path: {address}\n_commit: latest\n", "'latest' is no version"),
    ],
)
def test_a_folder_that_cannot_be_updated_is_a_usage_error(
    tmp_path: Path, installation: Installation, answers: str | None, expected: str
) -> None:
    if answers is not None:
        text = answers.replace("{address}", packaged_template().address)
        (tmp_path / ".copier-answers.yml").write_text(text)

    done = installation.run("update-plugin", str(tmp_path), "--check")

    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
