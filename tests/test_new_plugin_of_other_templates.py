"""`thenodes new-plugin --template`: what other people's templates may do, and may not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .nodes import fails, thenodes

QUESTIONS = "name: {type: str}\nmodule: {type: str}\ncolour: {type: str, default: red}\n"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copier keeps what it fetched, but not what tests made."""
    monkeypatch.setenv("COPIER_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that code of a template would make."""
    return tmp_path / "canary"


@pytest.fixture
def copier_template(tmp_path: Path) -> Path:
    """A template of Copier in a folder."""
    folder = tmp_path / "copier"
    folder.mkdir()
    (folder / "copier.yml").write_text(QUESTIONS)
    (folder / "about.txt.jinja").write_text("{{ name }} {{ module }} {{ colour }}\n")
    (folder / "{{ _copier_conf.answers_file }}.jinja").write_text(
        "{{ _copier_answers | to_nice_yaml }}"
    )
    return folder


@pytest.fixture
def cookiecutter_template(tmp_path: Path, canary: Path) -> Path:
    """A template of Cookiecutter in a folder, with hooks of every kind."""
    folder = tmp_path / "cookiecutter"
    project = folder / "{{ cookiecutter.project_slug }}"
    project.mkdir(parents=True)
    questions = {"project_name": "x", "project_slug": "x", "colour": "red"}
    (folder / "cookiecutter.json").write_text(json.dumps(questions))
    (project / "about.txt").write_text("{{ cookiecutter.project_name }} {{ cookiecutter.colour }}")
    (folder / "hooks").mkdir()
    for hook in ("pre_prompt", "pre_gen_project", "post_gen_project"):
        (folder / "hooks" / f"{hook}.py").write_text(f"open({str(canary)!r}, 'w')\n")
    return folder


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=x", "-c", "user.email=x@x.invalid", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def release(template: Path, version: str) -> None:
    """Commit a template and tag it."""
    git(template, "init", "--quiet")
    git(template, "add", ".")
    git(template, "commit", "--quiet", "-m", version)
    git(template, "tag", version)


def test_a_copier_template_in_a_folder_is_rendered(tmp_path: Path, copier_template: Path) -> None:
    shown = thenodes(
        *("new-plugin", "My Own", "--template", str(copier_template), "--data", "colour=blue"),
        *("--output", str(tmp_path / "made")),
    ).stdout

    made = tmp_path / "made" / "thenodes-my-own"
    assert (made / "about.txt").read_text() == "My Own thenodes_my_own blue\n"
    assert f"made {made}\n" in shown


def test_a_copier_template_in_git_is_rendered_at_its_newest_version(
    tmp_path: Path, copier_template: Path
) -> None:
    release(copier_template, "v1.2.0")
    (copier_template / "about.txt.jinja").write_text("not released yet")
    git(copier_template, "commit", "--quiet", "-a", "-m", "two")

    thenodes(
        *("new-plugin", "my", "--template", copier_template.as_uri()),
        *("--output", str(tmp_path / "made")),
    )

    made = tmp_path / "made" / "thenodes-my"
    assert (made / "about.txt").read_text() == "my thenodes_my red\n"
    assert "_commit: v1.2.0\n" in (made / ".copier-answers.yml").read_text()
    assert thenodes("update-plugin", str(made)).stdout.endswith("is up to date: v1.2.0\n")


def test_migrations_of_a_template_are_refused_at_an_update(
    tmp_path: Path, copier_template: Path, canary: Path
) -> None:
    source, made = f"git+{copier_template.as_uri()}", tmp_path / "thenodes-my"
    release(copier_template, "v1.0.0")
    thenodes("new-plugin", "my", "--template", source, "--output", str(tmp_path))
    git(made, "init", "--quiet")
    git(made, "add", ".")
    git(made, "commit", "--quiet", "-m", "as it is")
    migration = f"_migrations: [{{version: v2.0.0, command: touch {canary}}}]\n"
    (copier_template / "copier.yml").write_text(QUESTIONS + migration)
    release(copier_template, "v2.0.0")

    assert thenodes("update-plugin", str(made), "--check", check=False).returncode == 1
    code, error = fails("update-plugin", str(made))

    assert code == 2
    assert "runs code of its own: migrations." in error
    assert "copier update --trust" in error
    assert not canary.exists()


@pytest.mark.parametrize(
    ("feature", "named"),
    [
        ("_tasks: ['touch {canary}']\n", "tasks"),
        ("_jinja_extensions: ['extension.Any']\n", "extensions"),
        ("_tasks: ['touch {canary}']\n_jinja_extensions: [a.B]\n", "extensions, tasks"),
    ],
)
def test_a_template_that_runs_code_is_refused_by_what_it_would_run(
    tmp_path: Path, copier_template: Path, canary: Path, feature: str, named: str
) -> None:
    (copier_template / "copier.yml").write_text(QUESTIONS + feature.format(canary=canary))

    code, error = fails(
        *("new-plugin", "my", "--template", str(copier_template)),
        *("--output", str(tmp_path / "made")),
    )

    assert code == 2
    assert f"runs code of its own: {named}. Read it, and if you trust it, add --trust" in error
    assert not canary.exists()
    assert not (tmp_path / "made" / "thenodes-my").exists()


def test_a_template_that_is_trusted_runs_its_code(
    tmp_path: Path, copier_template: Path, canary: Path
) -> None:
    (copier_template / "copier.yml").write_text(f"{QUESTIONS}_tasks: ['touch {canary}']\n")

    thenodes(
        *("new-plugin", "my", "--template", str(copier_template), "--trust"),
        *("--output", str(tmp_path / "made")),
    )

    assert canary.exists()


def test_a_question_that_nothing_answers_is_named(tmp_path: Path, copier_template: Path) -> None:
    (copier_template / "copier.yml").write_text("licence: {type: str}\n")

    code, error = fails(
        *("new-plugin", "my", "--template", str(copier_template)),
        *("--output", str(tmp_path / "made")),
    )

    assert code == 2
    assert "has to know 'licence'; add --data licence=…" in error


def test_a_cookiecutter_template_is_rendered_and_its_hooks_are_not_run(
    tmp_path: Path, cookiecutter_template: Path, canary: Path
) -> None:
    pytest.importorskip("cookiecutter")

    shown = thenodes(
        *("new-plugin", "My Own", "--template", str(cookiecutter_template), "--trust"),
        *("--output", str(tmp_path / "made"), "--data", "colour=blue"),
    ).stdout

    made = tmp_path / "made" / "thenodes-my-own"
    assert (made / "about.txt").read_text() == "My Own blue"
    assert f"made {made}\n" in shown
    assert not canary.exists()


def test_a_cookiecutter_template_with_extensions_is_refused(
    tmp_path: Path, cookiecutter_template: Path, canary: Path
) -> None:
    pytest.importorskip("cookiecutter")
    questions = {"project_slug": "x", "_extensions": ["local.Extension"]}
    (cookiecutter_template / "cookiecutter.json").write_text(json.dumps(questions))
    (cookiecutter_template / "local.py").write_text(f"open({str(canary)!r}, 'w')\n")

    code, error = fails(
        *("new-plugin", "my", "--template", str(cookiecutter_template)),
        *("--output", str(tmp_path / "made")),
    )

    assert code == 2
    assert "runs code of its own: extensions." in error
    assert not canary.exists()


def test_a_cookiecutter_project_that_is_there_is_left_as_it_is(
    tmp_path: Path, cookiecutter_template: Path
) -> None:
    pytest.importorskip("cookiecutter")
    (tmp_path / "thenodes-my").mkdir()

    code, error = fails(
        *("new-plugin", "my", "--template", str(cookiecutter_template)),
        *("--output", str(tmp_path)),
    )

    assert code == 2
    assert "choose another name, or another folder with --output" in error
    assert list((tmp_path / "thenodes-my").iterdir()) == []


def test_without_cookiecutter_its_templates_are_refused_with_what_to_install(
    tmp_path: Path, cookiecutter_template: Path
) -> None:
    words = ["new-plugin", "my", "--template", str(cookiecutter_template)]
    script = (
        "import sys; sys.modules['cookiecutter'] = None;"
        f"sys.argv[1:] = {words!r}; from thenodes_cli.main import main; main()"
    )

    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert done.returncode == 2
    assert 'pip install "thenodes-cli[cookiecutter]"' in done.stderr


@pytest.mark.parametrize(
    ("source", "code", "expected"),
    [
        ("nowhere", 2, "not there; expected the folder of a template, or its git address"),
        ("--upload-pack=x", 2, "not there"),
        ("empty", 2, "expected copier.yml or cookiecutter.json in it"),
        ("file", 2, "a file; expected the folder of a template"),
        ("file:///nowhere.git", 1, "cannot be fetched"),
        ("git+file:///nowhere", 1, "cannot be fetched"),
        ("ext::sh -c true", 2, "not there"),
    ],
)
def test_what_is_no_template_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    code: int,
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")

    got, error = fails("new-plugin", "my", f"--template={source}")

    assert got == code
    assert expected in error
    assert not (tmp_path / "thenodes-my").exists()


def test_a_template_that_is_broken_is_told_in_one_line(
    tmp_path: Path, copier_template: Path
) -> None:
    for name, text in (("copier.yml", "a: [\n"), ("about.txt.jinja", "{% nothing %}")):
        (copier_template / name).write_text(text)

        code, error = fails(
            *("new-plugin", "my", "--template", str(copier_template)),
            *("--output", str(tmp_path / "made")),
        )

        assert code in (1, 2)
        assert str(copier_template) in error
        (copier_template / "copier.yml").write_text(QUESTIONS)
