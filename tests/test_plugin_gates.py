"""Plugins from wheels, as an operator loads them; and what is told of those that are refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .nodes import KVSTORE, RunningNode, thenodes

StartNode = Callable[..., RunningNode]

BROKEN_MANIFEST = """\
manifest = 1
[plugin]
id = "broken"
version = "1"
entry = "broken_plugin:register_plugin"
abi = 99
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the example, built as its author would."""
    folder = tmp_path_factory.mktemp("kvstore")
    shutil.copytree(KVSTORE, folder / "tree", ignore=shutil.ignore_patterns("__pycache__", "dist"))
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(build, cwd=folder / "tree", check=True, capture_output=True)
    (path,) = (folder / "dist").iterdir()
    return path


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A source tree that no gate of the ABI lets through; running it would leave a file."""
    package = tmp_path / "broken" / "broken_plugin"
    package.mkdir(parents=True)
    (package / "thenodes-plugin.toml").write_text(BROKEN_MANIFEST)
    (package / "__init__.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w').close()\n")
    return package.parent


def test_a_wheel_runs_and_is_unpacked_in_the_state_directory(
    start_node: StartNode, wheel: Path
) -> None:
    node = start_node("only", "--plugin", str(wheel))

    (plugin,) = node.status()["plugins"]
    assert (plugin["id"], plugin["state"], plugin["source"]) == ("kvstore", "running", str(wheel))
    assert node.exec("kvstore", "put", "a", "1").startswith("stored a = 1")
    (folder,) = (node.state_dir / "plugins").glob("sha256-*")
    assert (folder / "kvstore_plugin" / "__init__.py").exists()


def test_a_directory_of_wheels_can_be_named(start_node: StartNode, wheel: Path) -> None:
    node = start_node("only", "--plugin", str(wheel.parent))

    assert [plugin["state"] for plugin in node.status()["plugins"]] == ["running"]


def test_a_wheel_that_was_renamed_is_refused_and_the_node_runs(
    start_node: StartNode, wheel: Path, tmp_path: Path
) -> None:
    renamed = tmp_path / "other-1.0-py3-none-any.whl"
    shutil.copyfile(wheel, renamed)

    node = start_node("only", "--plugin", str(renamed))

    (plugin,) = node.status()["plugins"]
    assert plugin["state"] == "rejected"
    assert plugin["detail"].startswith("TN-P002: ")


def test_a_rejection_tells_everything_in_one_line(
    start_node: StartNode, wheel: Path, tmp_path: Path
) -> None:
    file = tmp_path / "node.toml"
    file.write_text('[[plugins.blocked]]\nid = "kvstore"\nreason = "it loses data"\n')

    node = start_node("only", "--config", str(file), "--plugin", str(wheel))

    _, errors = node.stop()
    (line,) = (line for line in errors.splitlines() if "rejected" in line)
    for part in ("kvstore 0.1.0", str(wheel), "sha256 ", "TN-P050", "expected", "loses data"):
        assert part in line
    assert line.endswith("none of its code was run")


def test_with_strict_plugins_a_rejection_keeps_the_node_from_starting(
    broken: Path, wheel: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    run = ("run", "--port", "0", "--state-dir", str(state))
    plugins = ("--plugin", str(broken), "--plugin", str(wheel), "--strict-plugins")

    done = thenodes(*run, *plugins, check=False)

    assert done.returncode == 78
    assert "TN-P011" in done.stderr
    assert "get a newer TheNodes" in done.stderr
    assert not (tmp_path / "canary").exists()


def test_a_value_that_does_not_fit_rejects_the_plugin_and_names_the_file(
    start_node: StartNode, wheel: Path, tmp_path: Path
) -> None:
    file = tmp_path / "node.toml"
    file.write_text('[plugin.kvstore]\nmax_entries = "many"\n')

    node = start_node("only", "--config", str(file), "--plugin", str(wheel))

    (plugin,) = node.status()["plugins"]
    assert plugin["state"] == "rejected"
    assert plugin["detail"].startswith(
        f"TN-P061: {file}: plugin.kvstore.max_entries: got a text, 'many'; expected a whole number"
    )


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_a_plugins_directory_that_others_can_write_is_not_loaded(
    start_node: StartNode, wheel: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "plugins"
    directory.mkdir()
    shutil.copyfile(wheel, directory / wheel.name)
    directory.chmod(0o777)

    node = start_node("only", "--plugins", str(directory))

    (plugin,) = node.status()["plugins"]
    assert plugin["detail"].startswith("TN-P001: ")
