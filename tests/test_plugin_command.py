"""`thenodes plugin …`, as authors and operators use it."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .nodes import KVSTORE, THENODES, RunningNode, data_of, fails, thenodes

StartNode = Callable[..., RunningNode]

MANIFEST = """\
manifest = 1
[plugin]
id = "{id}"
version = "1.0"
entry = "{id}_tree:register_plugin"
abi = {abi}
"""
EVIL = "a\x1b[2Jb"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("THENODES_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the example, as `plugin build` makes it."""
    project = tmp_path_factory.mktemp("kvstore") / "tree"
    shutil.copytree(KVSTORE, project, ignore=shutil.ignore_patterns("__pycache__", "dist"))
    return Path(data_of("plugin", "build", str(project))["path"])


@pytest.fixture
def wheel(built: Path, tmp_path: Path) -> Path:
    """A copy of that wheel."""
    return Path(shutil.copy(built, tmp_path / built.name))


def other_wheel(wheel: Path, folder: str, **texts: str) -> Path:
    """The example again with texts of its project replaced, such as its version."""
    project = Path(folder)
    shutil.copytree(KVSTORE, project, ignore=shutil.ignore_patterns("__pycache__", "dist"))
    for file in (project / "pyproject.toml", *project.rglob("thenodes-plugin.toml")):
        file.write_text(file.read_text().replace('version = "0.1.0"', f'version = "{texts["v"]}"'))
    for file in project.rglob("__init__.py"):
        file.write_text(file.read_text() + "\n# another content\n")
    return Path(data_of("plugin", "build", folder)["path"])


def tree(plugin_id: str, *, abi: int = 1, body: str = "") -> Path:
    """A source tree whose code leaves the file `canary` behind when it runs."""
    package = Path(plugin_id, f"{plugin_id}_tree")
    package.mkdir(parents=True)
    (package / "thenodes-plugin.toml").write_text(MANIFEST.format(id=plugin_id, abi=abi))
    canary = str(Path("canary").absolute())
    (package / "__init__.py").write_text(f"open({canary!r}, 'w').close()\n{body}\n")
    return Path(plugin_id)


def judged(*words: str) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and verdicts of `plugin check`."""
    done = thenodes("plugin", "check", *words, "--json", check=False)
    return done.returncode, json.loads(done.stdout)


def codes(verdict: dict[str, Any]) -> list[str]:
    return [fault["code"] for fault in verdict["faults"]]


def states(*words: str) -> list[tuple[str, str]]:
    return [(line["id"], line["state"]) for line in data_of("plugin", "list", *words)]


def add(wheel: Path, *words: str) -> Any:
    return data_of("plugin", "add", str(wheel), "--yes", *words)


def test_a_wheel_is_built_into_dist_and_checked(built: Path) -> None:
    assert built.name == "kvstore_plugin-0.1.0-py3-none-any.whl"
    assert built.parent.name == "dist"

    (verdict,) = judged(str(built))[1]

    assert (verdict["id"], verdict["version"], verdict["abi"]) == ("kvstore", "0.1.0", 1)
    assert (verdict["accepted"], len(verdict["sha256"])) == (True, 64)


def test_build_refuses_what_is_no_project() -> None:
    code, error = fails("plugin", "build", "nowhere")

    assert code == 2
    assert "nowhere: expected the folder of a plugin's project" in error


def test_build_names_a_backend_that_is_not_installed_and_how_to_get_it() -> None:
    Path("pyproject.toml").write_text(
        '[build-system]\nrequires = ["nowhere-build>=2"]\nbuild-backend = "nowhere_build.api"\n'
    )

    code, error = fails("plugin", "build")

    assert code == 1
    assert "'nowhere_build.api', which is not installed" in error
    assert "pip install 'nowhere-build>=2'" in error


@pytest.mark.parametrize("text", ["[", "[build-system]\nbuild-backend = 3\n"])
def test_build_names_a_pyproject_that_cannot_be_used(text: str) -> None:
    Path("pyproject.toml").write_text(text)

    code, error = fails("plugin", "build")

    assert code == 2
    assert "pyproject.toml: " in error


def test_build_tells_what_the_backend_said() -> None:
    Path("pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "my"\n'
    )
    done = thenodes("plugin", "build", check=False)

    assert done.returncode == 1
    assert "hatchling.build did not build it:" in done.stderr
    assert "version" in done.stderr


def test_check_tells_every_fault_of_a_tree_and_runs_none_of_its_code() -> None:
    tree("old", abi=99)

    done = thenodes("plugin", "check", "old", check=False)

    assert done.returncode == 1
    for part in ("old 1.0: rejected", "TN-P011", "expected", "received", "fix", "no code from"):
        assert part in done.stdout
    assert not Path("canary").exists()


def test_check_takes_a_directory_of_wheels_and_trees(wheel: Path) -> None:
    Path("all").mkdir()
    shutil.move(wheel, "all")
    tree("old", abi=99).rename("all/old")

    code, verdicts = judged("all")

    assert code == 1
    assert [(v["id"], v["accepted"], codes(v)) for v in verdicts] == [
        ("kvstore", True, []),
        ("old", False, ["TN-P011"]),
    ]


@pytest.mark.parametrize("name", ["nowhere", "text.txt", "nowhere.whl"])
def test_check_rejects_what_is_no_plugin(name: str) -> None:
    Path("text.txt").write_text("text")

    code, (verdict,) = judged(name)

    assert (code, codes(verdict)) == (1, ["TN-P010"])


def test_check_says_so_of_a_renamed_wheel(wheel: Path) -> None:
    code, (verdict,) = judged(str(wheel.rename("other-1.0-py3-none-any.whl")))

    assert (code, codes(verdict)[0]) == (1, "TN-P002")


def test_check_measures_by_the_settings_of_a_node_that_is_named(wheel: Path) -> None:
    Path("node.toml").write_text("[plugins]\nallowed = []\n")

    assert judged(str(wheel))[0] == 0
    code, (verdict,) = judged(str(wheel), "--config", "node.toml")
    assert (code, codes(verdict)) == (1, ["TN-P001"])


def test_check_with_load_runs_the_code_and_tells_that_it_raised() -> None:
    tree("bad", body="print('noise')\n1 / 0")

    assert judged("bad")[0] == 0
    assert not Path("canary").exists()
    code, (verdict,) = judged("bad", "--load")
    assert (code, codes(verdict)) == (1, ["TN-P060"])
    assert Path("canary").exists()
    assert (
        "runs the plugin's code" in thenodes("plugin", "check", "bad", "--load", check=False).stderr
    )


def test_check_with_load_ends_where_a_plugin_leaves_a_thread_behind() -> None:
    tree("bad", body="import threading\nthreading.Thread(target=threading.Event().wait).start()")

    assert codes(judged("bad", "--load")[1][0]) == ["TN-P060"]


def test_check_with_load_loads_a_wheel(wheel: Path) -> None:
    code, (verdict,) = judged(str(wheel), "--load")

    assert (code, verdict["loaded"]) == (0, True)


def test_control_characters_in_names_are_escaped() -> None:
    done = thenodes("plugin", "check", EVIL, check=False)

    assert (done.returncode, "\x1b" in done.stdout) == (1, False)
    assert "\\x1b" in done.stdout


def test_test_runs_the_tests_of_a_project_and_hands_on_its_words() -> None:
    Path("src").mkdir()
    Path("src/its_own.py").write_text("ANSWER = 42\n")
    Path("test_it.py").write_text(
        "import its_own\ndef test_good(): assert its_own.ANSWER == 42\ndef test_bad(): assert 0\n"
    )
    plain = ("-p", "no:cacheprovider")

    assert thenodes("plugin", "test", ".", "--", "-k", "good", *plain).returncode == 0
    assert thenodes("plugin", "test", "--", *plain, check=False).returncode == 1
    assert thenodes("plugin", "test", "--", "--nonsense", check=False).returncode == 2
    Path("test_it.py").write_text("import gone\n")
    assert thenodes("plugin", "test", "--", *plain, check=False).returncode == 1


def test_test_says_where_there_are_no_tests_or_is_no_project() -> None:
    done = thenodes("plugin", "test", check=False)

    assert (done.returncode, "found no tests" in done.stderr) == (1, True)
    assert fails("plugin", "test", "nowhere")[0] == 2


def test_a_wheel_that_was_added_is_listed_and_loaded_by_run(
    start_node: StartNode, wheel: Path
) -> None:
    added = add(wheel, "--state-dir", "node")
    before = states("--state-dir", "node")

    node = start_node("node")

    assert (added["id"], added["prefix"], added["signer"]) == ("kvstore", "kvstore", None)
    assert (added["handles"], added["advertises"]) == (["kvstore.*"], ["kvstore/1"])
    assert before == [("kvstore", "accepted")]
    assert states("--state-dir", "node") == [("kvstore", "running")]
    assert node.exec("kvstore", "put", "a", "1").startswith("stored a = 1")


def test_a_file_that_is_not_the_one_that_was_added_is_refused_by_the_node(wheel: Path) -> None:
    add(wheel)
    target = Path("data/wheels", wheel.name)

    shutil.copyfile(other_wheel(wheel, "other", v="0.1.0"), target)

    (line,) = data_of("plugin", "list")
    assert (line["state"], line["codes"]) == ("rejected", ["TN-P003"])


def test_the_same_version_with_another_content_is_not_added_by_yes_alone(wheel: Path) -> None:
    add(wheel)
    other = other_wheel(wheel, "other", v="0.1.0")

    code, error = fails("plugin", "add", str(other), "--yes")

    assert (code, "TN-P003" in error, "--replace" in error) == (1, True, True)
    assert add(other, "--replace")["is_other_file"]
    assert states() == [("kvstore", "accepted")]


def test_another_version_replaces_the_one_before(wheel: Path) -> None:
    add(wheel)

    added = add(other_wheel(wheel, "other", v="0.2.0"))

    assert added["replaces"]["version"] == "0.1.0"
    assert [path.name for path in Path("data/wheels").iterdir()] == [
        "kvstore_plugin-0.2.0-py3-none-any.whl"
    ]
    assert [line["version"] for line in data_of("plugin", "list")] == ["0.2.0"]


def test_add_refuses_without_a_terminal_and_without_yes(wheel: Path) -> None:
    code, error = fails("plugin", "add", str(wheel))

    assert (code, "--yes" in error, "sha256" in error) == (2, True, True)
    assert not Path("data").exists()


@pytest.mark.parametrize(("answer", "is_added"), [(b"y\n", True), (b"n\n", False)])
def test_add_asks_once_on_a_terminal(wheel: Path, answer: bytes, is_added: bool) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, answer)
    done = subprocess.run(
        [*THENODES, "plugin", "add", str(wheel)],
        stdin=theirs,
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
    os.close(ours)
    os.close(theirs)

    assert (done.returncode == 0) is is_added, done.stderr
    assert done.stdout.count("Load this code into the node?") == 1
    assert Path("data/wheels", wheel.name).exists() is is_added


def test_add_refuses_what_the_node_would_and_tells_every_reason(wheel: Path) -> None:
    Path("node.toml").write_text(
        '[plugins]\nallowed = []\n[[plugins.blocked]]\nid = "kvstore"\nreason = "it loses data"\n'
    )

    code, error = fails("plugin", "add", str(wheel), "--yes", "--config", "node.toml")

    assert code == 1
    for part in ("was not added", "TN-P001", "TN-P050", "it loses data"):
        assert part in error
    assert not Path("data").exists()


def test_add_refuses_a_plugin_whose_id_is_loaded_from_elsewhere(wheel: Path) -> None:
    Path("node.toml").write_text(f"[plugins]\npaths = [{str(KVSTORE)!r}]\n")

    code, error = fails("plugin", "add", str(wheel), "--yes", "--config", "node.toml")

    assert (code, "TN-P030" in error) == (1, True)


@pytest.mark.parametrize(("name", "code"), [("nowhere.whl", 1), ("tree", 2), ("text.txt", 2)])
def test_add_takes_wheels_alone(name: str, code: int) -> None:
    tree("tree")
    Path("text.txt").write_text("text")

    found, error = fails("plugin", "add", name, "--yes")

    assert (found, name in error) == (code, True)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_called_a_wheel_and_is_no_file_is_named(make: Callable[[str], None]) -> None:
    make("my.whl")

    for words in (("add", "my.whl", "--yes"), ("verify", "my.whl")):
        code, error = fails("plugin", *words)
        assert (code, "my.whl: expected a file" in error) == (1, True)


def test_the_relay_that_the_settings_ask_for_is_listed() -> None:
    Path("node.toml").write_text("[network.relay]\nenabled = true\n")

    assert states("--config", "node.toml") == [("relay", "accepted")]


def test_add_copies_to_the_directory_of_the_settings(wheel: Path) -> None:
    Path("node.toml").write_text('[plugins]\ndirectory = "mine"\n')

    add(wheel, "--config", "node.toml")

    assert Path("mine", wheel.name).exists()
    assert states("--config", "node.toml") == [("kvstore", "accepted")]


def test_add_says_so_where_the_node_loads_nothing_from_its_directory(wheel: Path) -> None:
    Path("data/wheels").mkdir(parents=True)
    Path("data/wheels").chmod(0o777)

    code, error = fails("plugin", "add", str(wheel), "--yes")

    assert (code, "was added, but is not loaded" in error) == (1, True)
    assert "TN-P001" in error
    assert "chmod go-w" in error


def test_a_plugin_is_removed_with_its_signature_and_its_line_in_the_lock(wheel: Path) -> None:
    thenodes("identity", "new")
    thenodes("plugin", "sign", str(wheel))
    add(wheel)

    gone = data_of("plugin", "remove", "kvstore")

    assert len(gone["files"]) == 2
    assert list(Path("data/wheels").iterdir()) == []
    assert json.loads(Path("data/plugins.lock").read_text())["plugins"] == []
    assert states() == []
    code, error = fails("plugin", "remove", "kvstore")
    assert (code, "no plugin 'kvstore'" in error) == (1, True)


def test_a_damaged_lock_lets_nothing_be_added(wheel: Path) -> None:
    Path("data").mkdir()
    Path("data/plugins.lock").write_text("{")

    code, error = fails("plugin", "add", str(wheel), "--yes")

    assert (code, "plugins.lock" in error) == (1, True)


def test_info_tells_everything_of_one_and_the_ids_there_are(wheel: Path) -> None:
    add(wheel)

    assert "ABI     1.0" in thenodes("plugin", "info", "kvstore").stdout
    code, error = fails("plugin", "info", "nobody")
    assert (code, "there are: kvstore" in error) == (1, True)


def test_list_shows_the_code_of_a_rejected_plugin_and_runs_none() -> None:
    tree("old", abi=99)
    Path("node.toml").write_text('[plugins]\npaths = ["old"]\n')

    (line,) = data_of("plugin", "list", "--config", "node.toml")

    assert (line["id"], line["state"], line["codes"]) == ("old", "rejected", ["TN-P011"])
    assert not Path("canary").exists()


def test_a_signature_is_verified_and_its_signer_told(wheel: Path) -> None:
    thenodes("identity", "new")
    key = data_of("identity", "show")["fingerprint"]

    made = data_of("plugin", "sign", str(wheel))
    found = data_of("plugin", "verify", str(wheel), "--signer", key.upper())

    assert made["signature"] == f"{wheel}.tnsig"
    assert (made["signer"], found["signer"], found["is_named"]) == (key, key, True)
    assert "this may be anybody" in thenodes("plugin", "verify", str(wheel)).stdout
    code, error = fails("plugin", "verify", str(wheel), "--signer", "0" * 64)
    assert (code, "TN-P004" in error, key in error) == (1, True, True)


def test_a_wheel_that_was_changed_since_is_neither_verified_nor_added(wheel: Path) -> None:
    thenodes("identity", "new")
    thenodes("plugin", "sign", str(wheel))
    wheel.write_bytes(wheel.read_bytes() + b"\n")

    code, error = fails("plugin", "verify", str(wheel))

    assert (code, "TN-P004" in error) == (1, True)
    assert "TN-P004" in fails("plugin", "add", str(wheel), "--yes")[1]


def test_a_wheel_of_a_named_signer_is_added_where_signatures_are_required(wheel: Path) -> None:
    thenodes("cert", "new", "--out-key", "author.pem", "--out-cert", "author.crt")
    key = data_of("cert", "fingerprint", "author.pem")[0]["fingerprint"]
    Path("node.toml").write_text(f'[plugins]\nverify_signatures = true\nsigners = ["{key}"]\n')
    target = ("--config", "node.toml")

    assert "TN-P004" in fails("plugin", "add", str(wheel), "--yes", *target)[1]
    thenodes("plugin", "sign", str(wheel), "--key", "author.pem")

    assert add(wheel, *target)["signer"] == key
    assert states(*target) == [("kvstore", "accepted")]


def test_sign_and_verify_name_what_cannot_be_used(wheel: Path) -> None:
    Path("text.txt").write_text("text")
    name = str(wheel)

    assert "no identity yet" in fails("plugin", "sign", name)[1]
    assert "no such key" in fails("plugin", "sign", name, "--key", "nowhere.pem")[1]
    assert fails("plugin", "sign", "text.txt", "--key", "text.txt")[0] == 1
    assert "there is no signature" in fails("plugin", "verify", name)[1]
    assert fails("plugin", "verify", "nowhere.whl")[0] == 1
    assert fails("plugin", "verify", "text.txt")[0] == 2
    assert "64 hex digits" in fails("plugin", "verify", name, "--signer", "3f9a")[1]
    Path(f"{name}.tnsig").write_text("{")
    assert "not a signature file" in fails("plugin", "verify", name)[1]


def test_a_plugin_is_disabled_enabled_and_reloaded_on_a_running_node(
    start_node: StartNode, wheel: Path
) -> None:
    start_node("node", "--plugin", str(wheel))
    target = ("--state-dir", "node")

    assert data_of("plugin", "disable", "kvstore", *target)["state"] == "disabled"
    assert states(*target) == [("kvstore", "disabled")]
    assert data_of("plugin", "enable", "kvstore", *target)["state"] == "running"
    assert data_of("plugin", "reload", "kvstore", *target)["state"] == "running"
    assert data_of("plugin", "info", "kvstore", *target)["id"] == "kvstore"
    code, error = fails("plugin", "reload", "nobody", *target)
    assert (code, "nobody" in error) == (1, True)


@pytest.mark.parametrize("name", ["enable", "disable", "reload"])
def test_what_needs_a_running_node_says_so(name: str) -> None:
    code, error = fails("plugin", name, "my")

    assert (code, "no node runs on data" in error) == (1, True)
    assert fails("plugin", name, "two", "words")[0] == 1
    assert fails("plugin", name)[1].endswith("missing <id>")


def test_every_subcommand_has_help_with_examples() -> None:
    script = (
        "from thenodes_cli.commands.plugin import command\n"
        "assert command.commands and all(\n"
        "    f'thenodes plugin {name}' in c.epilog for name, c in command.commands.items()\n"
        ")"
    )

    subprocess.run([sys.executable, "-c", script], check=True)
