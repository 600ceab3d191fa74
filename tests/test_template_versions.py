"""The versions of the plugin template: what is packaged is what was released."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from thenodes_cli.scaffold.packaged import git_redirect, packaged_template

ROOT = Path(__file__).parent.parent
TEMPLATES = ROOT / "templates"
BUNDLE = TEMPLATES / "nep-plugin.bundle"


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """The history of the template, as git reads it from the bundle."""
    git(tmp_path, "clone", "--quiet", str(BUNDLE), "history")
    return tmp_path / "history"


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    """A copy of the template and its history, to cut versions in."""
    ignore = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(TEMPLATES, tmp_path / "templates", ignore=ignore))


def cut(templates: Path, version: str) -> subprocess.CompletedProcess[str]:
    script = str(templates / "cut_version.py")
    return subprocess.run(
        [sys.executable, script, version], capture_output=True, text=True, check=False
    )


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def test_the_newest_version_in_the_bundle_is_the_folder(history: Path) -> None:
    git(history, "checkout", "--quiet", packaged_template().newest())

    assert files_in(history) == files_in(TEMPLATES / "nep-plugin")


def test_the_bundle_tells_nothing_of_who_made_it_and_when(history: Path) -> None:
    told = git(history, "log", "--all", "--format=%an <%ae> %aI %cn <%ce> %cI %s").splitlines()
    tags = git(history, "for-each-ref", "--format=%(taggername) %(taggeremail)", "refs/tags")

    for line in told:
        who = "TheNodes <noreply@thenodes.invalid> 2026-01-01T00:00:00"
        assert line.count(who) == 2
    assert set(tags.splitlines()) == {"TheNodes <noreply@thenodes.invalid>"}


def test_cutting_is_the_same_everywhere(templates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = templates / "nep-plugin.bundle"
    before = bundle.read_bytes()
    (templates / "nep-plugin" / "NEW.md").write_text("new")
    results = []
    for name in ("one", "other"):
        monkeypatch.setenv("GIT_AUTHOR_NAME", name)
        monkeypatch.setenv("TZ", "UTC" if name == "one" else "Asia/Tokyo")
        bundle.write_bytes(before)
        assert cut(templates, "9.0.0").returncode == 0
        results.append(bundle.read_bytes())

    assert results[0] == results[1] != before


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("0.0.1", "is not newer than"),
        ("9.0", "is not a version; expected one such as 1.1.0"),
        ("9.0.0", "nothing has changed"),
    ],
)
def test_a_version_that_is_none_is_not_cut(templates: Path, version: str, expected: str) -> None:
    before = (templates / "nep-plugin.bundle").read_bytes()

    done = cut(templates, version)

    assert done.returncode == 1
    assert expected in done.stderr
    assert (templates / "nep-plugin.bundle").read_bytes() == before


def test_the_newest_version_is_found_without_git_whatever_the_order(templates: Path) -> None:
    for version in ("9.9.0", "9.10.0"):
        (templates / "nep-plugin" / "NEW.md").write_text(version)
        assert cut(templates, version).returncode == 0

    packaged = packaged_template()
    newer = type(packaged)(packaged.folder, templates / "nep-plugin.bundle")

    assert newer.newest() == "v9.10.0"


def test_what_git_is_told_already_stays(tmp_path: Path) -> None:
    told = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "a.b", "GIT_CONFIG_VALUE_0": "c"}

    redirect = git_redirect(packaged_template(), told)

    assert redirect["GIT_CONFIG_COUNT"] == "2"
    assert redirect["GIT_CONFIG_VALUE_1"] == packaged_template().address
    assert not redirect.keys() & {"GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0"}


@pytest.mark.parametrize("target", ["wheel", "sdist"])
def test_what_is_built_carries_folder_and_bundle(tmp_path: Path, target: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(tmp_path)],
        cwd=ROOT / "packages" / "thenodes-cli",
        check=True,
        capture_output=True,
        timeout=30,
    )
    (archive,) = tmp_path.iterdir()
    if target == "sdist":
        shutil.unpack_archive(archive, tmp_path / "unpacked", filter="data")
        (found,) = (tmp_path / "unpacked").glob("*/templates")
    else:
        zipfile.ZipFile(archive).extractall(tmp_path / "unpacked")
        found = tmp_path / "unpacked" / "thenodes_cli" / "_template"

    assert files_in(found / "nep-plugin") == files_in(TEMPLATES / "nep-plugin")
    assert (found / "nep-plugin.bundle").read_bytes() == BUNDLE.read_bytes()
