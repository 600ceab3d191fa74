"""Releasing one package: versions, changelogs, tags, and the workflows that do it."""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.version import Version
from tools.release.alone import lowest, siblings_of
from tools.release.bump import bump, too_narrow
from tools.release.changelog import notes
from tools.release.tag import released
from tools.release.workspace import ReleaseError, parse_version, read_workspace

ROOT = Path(__file__).parent.parent
NAMES = ("thenodes-plugin-api", "thenodes-core", "thenodes-relay", "thenodes-cli")
TODAY = datetime.date(2027, 1, 31)

PROJECT = """\
[project]
name = "{name}"
dependencies = [{needed}]
"""
CHANGELOG = """\
# Changelog of {name}

## 0.2.0 (unreleased)

* Something is new.

## 0.1.0 (2026-12-01)

* The first.
"""
MANIFEST = """\
manifest = 1

[plugin]
id = "relay"
version = "0.1.0"
"""


def make_package(root: Path, name: str, *needed: str, version: str = "0.1.0") -> Path:
    folder = root / "packages" / name
    source = folder / "src" / name.replace("-", "_")
    source.mkdir(parents=True)
    quoted = ", ".join(f'"{text}"' for text in needed)
    (folder / "pyproject.toml").write_text(PROJECT.format(name=name, needed=quoted))
    (folder / "CHANGELOG.md").write_text(CHANGELOG.format(name=name))
    (source / "_version.py").write_text(f'__version__ = "{version}"\n')
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_package(tmp_path, "thenodes-plugin-api", "msgspec>=0.20", version="0.2.0")
    make_package(tmp_path, "thenodes-core", "thenodes-plugin-api>=0.1,<0.3", "websockets")
    relay = make_package(tmp_path, "thenodes-relay", "thenodes-plugin-api>=0.2,<0.3")
    (relay / "src" / "thenodes_relay" / "thenodes-plugin.toml").write_text(MANIFEST)
    make_package(tmp_path, "thenodes-cli", "thenodes-core>=0.1,<0.2", "thenodes-relay>=0.1")
    return tmp_path


def test_the_workspace_is_read_with_what_each_package_needs_of_the_others() -> None:
    packages = read_workspace(ROOT)

    assert set(packages) == set(NAMES)
    assert set(packages["thenodes-cli"].siblings) == set(NAMES) - {"thenodes-cli"}
    assert not packages["thenodes-plugin-api"].siblings


def test_packages_come_after_those_that_they_need_however_these_are_written(root: Path) -> None:
    make_package(root, "thenodes-a", "TheNodes_Zoo>=0.1")
    make_package(root, "thenodes-zoo", "thenodes-cli", "thenodes-core", "thenodes-relay")

    names = list(read_workspace(root))

    assert names.index("thenodes-cli") < names.index("thenodes-zoo") < names.index("thenodes-a")


@pytest.mark.parametrize(
    ("project", "told"),
    [
        ("[tool.x]\n", "there is no 'project'"),
        ("[project]\n", "there is no 'name'"),
        ("[project\n", "pyproject.toml: "),
        ('[project]\nname = "thenodes-core"\ndependencies = ["?"]\n', "pyproject.toml: "),
        ('[project]\nname = "thenodes-car"\n', "expected the name thenodes-core"),
        (PROJECT.format(name="thenodes-core", needed='"thenodes-cli"'), "need each other"),
    ],
)
def test_a_package_that_does_not_say_what_it_has_to_is_named(
    root: Path, project: str, told: str
) -> None:
    (root / "packages" / "thenodes-core" / "pyproject.toml").write_text(project)

    with pytest.raises(ReleaseError, match=re.escape(told)):
        read_workspace(root)


def test_a_package_without_a_version_is_named(root: Path) -> None:
    (root / "packages" / "thenodes-core" / "src" / "thenodes_core" / "_version.py").unlink()

    with pytest.raises(ReleaseError, match=r"_version\.py: expected one line"):
        read_workspace(root)


def test_every_package_takes_the_siblings_of_this_tree() -> None:
    packages = read_workspace(ROOT)

    for name, package in packages.items():
        assert too_narrow(packages, name, package.version) == []
        assert siblings_of(packages, package).keys() >= package.siblings.keys()


def test_a_bump_writes_version_and_changelog(root: Path) -> None:
    package = read_workspace(root)["thenodes-core"]

    bump(package, Version("0.2.0"), TODAY)

    bumped = read_workspace(root)["thenodes-core"]
    assert bumped.tag == "thenodes-core-v0.2.0"
    text = bumped.changelog.read_text()
    assert "## 0.2.0 (2027-01-31)" in text
    assert "unreleased" not in text
    assert notes(bumped, text) == "* Something is new.\n"


def test_a_bump_of_a_plugin_writes_its_manifest(root: Path) -> None:
    package = read_workspace(root)["thenodes-relay"]

    changed = bump(package, Version("0.2.0"), TODAY)

    assert package.manifest in changed
    assert 'version = "0.2.0"' in package.manifest.read_text()


def test_a_first_release_keeps_its_version_and_closes_the_changelog(root: Path) -> None:
    package = read_workspace(root)["thenodes-plugin-api"]

    assert bump(package, Version("0.2.0"), TODAY) == [package.changelog]


def test_a_bump_back_changes_nothing(root: Path) -> None:
    package = read_workspace(root)["thenodes-core"]
    before = package.changelog.read_bytes()

    with pytest.raises(ReleaseError, match=r"is at 0\.1\.0; 0\.0\.9 is older"):
        bump(package, Version("0.0.9"), TODAY)

    assert package.changelog.read_bytes() == before


def test_a_version_is_released_once(root: Path) -> None:
    package = read_workspace(root)["thenodes-core"]
    before = package.changelog.read_text()

    with pytest.raises(ReleaseError, match=r"0\.1\.0 is released already"):
        bump(package, Version("0.1.0"), TODAY)

    assert package.changelog.read_text() == before


def test_a_manifest_that_disagrees_changes_nothing(root: Path) -> None:
    package = read_workspace(root)["thenodes-relay"]
    package.manifest.write_text(MANIFEST.replace("0.1.0", "0.1.1"))
    before = package.changelog.read_bytes()

    with pytest.raises(ReleaseError, match="expected one line"):
        bump(package, Version("0.2.0"), TODAY)

    assert package.changelog.read_bytes() == before
    assert read_workspace(root)["thenodes-relay"].version == Version("0.1.0")


def test_a_bump_needs_something_new(root: Path) -> None:
    package = read_workspace(root)["thenodes-core"]
    package.changelog.write_text("# Changelog\n\n## 0.1.0 (2026-12-01)\n\n* The first.\n")

    with pytest.raises(ReleaseError, match="expected to begin with a section"):
        bump(package, Version("0.2.0"), TODAY)


@pytest.mark.parametrize("text", ["0.2", "v0.2.0", "0.2.0+local", "01.0", "two"])
def test_a_version_is_written_as_releases_are(text: str) -> None:
    if text == "0.2":
        assert parse_version(text) == Version("0.2")
    else:
        with pytest.raises(ReleaseError, match="expected"):
            parse_version(text)


def test_a_tag_names_package_and_version(root: Path) -> None:
    bump(read_workspace(root)["thenodes-core"], Version("0.1.1"), TODAY)

    assert released(read_workspace(root), "thenodes-core-v0.1.1").name == "thenodes-core"


@pytest.mark.parametrize("tag", ["v0.1.0", "thenodes-v0.1.0", "thenodes-core-0.1.0", "other-v1.0"])
def test_a_tag_of_nothing_is_refused_with_those_that_there_are(root: Path, tag: str) -> None:
    with pytest.raises(ReleaseError, match=r"thenodes-core-v…"):
        released(read_workspace(root), tag)


def test_a_tag_that_says_another_version_is_refused(root: Path) -> None:
    with pytest.raises(ReleaseError, match=r"the tag says 0\.2\.0, .*_version\.py says 0\.1\.0"):
        released(read_workspace(root), "thenodes-core-v0.2.0")


def test_a_tag_of_what_is_called_unreleased_is_refused(root: Path) -> None:
    with pytest.raises(ReleaseError, match="still called unreleased"):
        released(read_workspace(root), "thenodes-plugin-api-v0.2.0")


def test_a_tag_that_no_sibling_takes_is_refused(root: Path) -> None:
    bump(read_workspace(root)["thenodes-core"], Version("0.2.0"), TODAY)

    with pytest.raises(ReleaseError, match=r"thenodes-cli takes thenodes-core<0\.2,>=0\.1 only"):
        released(read_workspace(root), "thenodes-core-v0.2.0")


def test_the_oldest_siblings_suit_everybody_who_needs_them(root: Path) -> None:
    packages = read_workspace(root)

    assert siblings_of(packages, packages["thenodes-core"]) == {
        "thenodes-plugin-api": Version("0.1")
    }
    # The relay takes nothing older than 0.2, so neither does who needs the relay.
    assert siblings_of(packages, packages["thenodes-cli"])["thenodes-plugin-api"] == Version("0.2")


def test_siblings_that_suit_nobody_together_are_refused(root: Path) -> None:
    file = root / "packages" / "thenodes-core" / "pyproject.toml"
    file.write_text(file.read_text().replace("<0.3", "<0.2"))
    packages = read_workspace(root)

    with pytest.raises(ReleaseError, match="thenodes-cli: no version of thenodes-plugin-api is"):
        siblings_of(packages, packages["thenodes-cli"])


def test_a_range_without_a_lower_end_is_refused(root: Path) -> None:
    file = root / "packages" / "thenodes-cli" / "pyproject.toml"
    file.write_text(file.read_text().replace("thenodes-relay>=0.1", "thenodes-relay<2"))
    packages = read_workspace(root)

    with pytest.raises(ReleaseError, match="no lower end"):
        siblings_of(packages, packages["thenodes-cli"])
    assert lowest(packages["thenodes-core"].siblings["thenodes-plugin-api"]) == Version("0.1")


def test_the_program_tells_what_is_wrong_in_a_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.release", "check", "thenodes-core-v99.0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("error: the tag says 99.0")
    assert "Traceback" not in done.stderr


WORKFLOWS = ROOT / ".github" / "workflows"


@pytest.mark.parametrize("name", NAMES)
def test_every_package_has_a_workflow_of_its_own_that_differs_in_the_name_alone(name: str) -> None:
    text = (WORKFLOWS / f"release-{name}.yml").read_text()
    model = (WORKFLOWS / "release-thenodes-core.yml").read_text()
    workflow = yaml.safe_load(text)

    assert text == model.replace("thenodes-core", name)
    # YAML 1.1 reads the key `on` as true.
    assert workflow[True] == {"push": {"tags": [f"{name}-v*"]}}
    assert workflow["jobs"]["publish"]["permissions"] == {"id-token": "write"}


def test_the_common_workflow_checks_the_tag_before_it_builds() -> None:
    workflow = yaml.safe_load((WORKFLOWS / "release-build.yml").read_text())
    steps = [step.get("run", "") for step in workflow["jobs"]["build"]["steps"]]
    verbs = [step.split()[3] for step in steps if step.startswith("python -m tools.release")]

    assert verbs == ["check", "notes", "alone", "build"]
    # GitHub's shell has no pipefail: of a pipe, the last program alone ends a step.
    assert not any("|" in step for step in steps)
    assert workflow["permissions"] == {"contents": "read"}


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.yml")), ids=lambda path: path.stem)
def test_what_somebody_may_name_reaches_a_shell_as_a_variable_alone(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    steps = [step for job in workflow["jobs"].values() for step in job.get("steps", [])]

    assert not [step["run"] for step in steps if "${{" in step.get("run", "")]
    assert workflow["permissions"] in ({}, {"contents": "read"})


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_of_a_package_stands_on_its_own(name: str) -> None:
    text = (ROOT / "packages" / name / "README.md").read_text()

    assert "](../" not in text
    assert f"pip install {name}" in text or f"pip install '{name}" in text
