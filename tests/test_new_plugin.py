"""`thenodes new-plugin`: what it makes is whole, and what it cannot make it refuses."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pexpect
import pytest

from thenodes_cli.scaffold.packaged import packaged_template
from thenodes_cli.scaffold.project import Project, ProjectRequest, make_project
from thenodes_core.errors import CommandError
from thenodes_plugin_api import parse_manifest

from .conftest import StartNode
from .nodes import THENODES, data_of, fails, thenodes, wait_until

LICENCES = {
    "MIT": {"LICENSE-MIT"},
    "Apache-2.0": {"LICENSE-APACHE"},
    "MIT OR Apache-2.0": {"LICENSE-MIT", "LICENSE-APACHE"},
    "none": set[str](),
}
README = Path(__file__).parent.parent / "README.md"
WORKFLOW = ".github/workflows/ci.yml"


def make(output: Path, typed: str = "my", **answers: str) -> tuple[Path, Project]:
    """Make a project without a process for it."""
    request = ProjectRequest(
        typed=typed, output=output, template=None, answers=answers, ask=False, trust=False
    )
    project = make_project(request, packaged_template())
    return Path(project.folder), project


def run_in(folder: Path, *command: str) -> str:
    """Run a tool of Python in a project; what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as the command makes it."""
    output = tmp_path_factory.mktemp("projects")
    thenodes("new-plugin", "my", "--output", str(output), "--defaults")
    return output / "thenodes-my"


def test_it_tells_what_was_made_and_what_to_type_next(tmp_path: Path) -> None:
    shown = thenodes("new-plugin", "my", "--output", str(tmp_path)).stdout

    assert shown.startswith(f"made {tmp_path}/thenodes-my\n")
    assert "\n  src/thenodes_my/thenodes-plugin.toml\n" in shown
    assert f"\n  cd {tmp_path}/thenodes-my\n  thenodes run --plugin . --prompt" in shown


def test_machines_are_told_where_it_is_and_what_it_is_called(tmp_path: Path) -> None:
    told = data_of("new-plugin", "My Plugin", "--output", str(tmp_path))

    assert told["folder"] == str(tmp_path / "thenodes-my-plugin")
    assert told["names"]["module"] == "thenodes_my_plugin"
    assert "pyproject.toml" in told["files"]


def test_its_own_checks_pass(project: Path) -> None:
    run_in(project, "ruff", "check", "--no-cache", ".")
    run_in(project, "ruff", "format", "--check", "--no-cache", ".")
    run_in(project, "mypy")


def test_its_own_tests_pass(project: Path) -> None:
    assert " passed" in run_in(project, "pytest", "-p", "no:cacheprovider")


@pytest.mark.parametrize("typed", ["a", "x" * 32, "My Plugin", "class", "a-b-c-d-e-f-g-h-i-j-k-l"])
def test_names_of_every_length_leave_it_well_formatted(tmp_path: Path, typed: str) -> None:
    folder, _ = make(tmp_path, typed)

    run_in(folder, "ruff", "check", "--no-cache", ".")
    run_in(folder, "ruff", "format", "--check", "--no-cache", ".")


@pytest.fixture(scope="module")
def wheel(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is built of it."""
    dist = tmp_path_factory.mktemp("dist")
    run_in(project, "hatchling", "build", "-t", "wheel", "-d", str(dist))
    return dist / "thenodes_my-0.1.0-py3-none-any.whl"


def test_its_wheel_says_what_its_manifest_says(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        manifest = parse_manifest(archive.read("thenodes_my/thenodes-plugin.toml").decode())
        info = "thenodes_my-0.1.0.dist-info"
        metadata = archive.read(f"{info}/METADATA").decode()
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
        assert "thenodes_my/py.typed" in archive.namelist()
    assert f"\nVersion: {manifest.plugin.version}\n" in metadata
    assert metadata.count("Requires-Dist: ") == 1
    assert "\nRequires-Dist: thenodes-plugin-api<2,>=1.0\n" in metadata
    assert entry_points == f"[thenodes.plugins]\nmy = {manifest.plugin.entry}\n"


@pytest.mark.parametrize("form", ["project", "wheel"])
def test_a_node_loads_it_and_its_prompt_answers(
    form: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path: Path = request.getfixturevalue(form)

    done = thenodes(
        *("run", "--prompt", "--port", "0", "--plugin", str(path)),
        *("--state-dir", str(tmp_path / "state")),
        stdin="my\nstatus\nping\nnothing\nexit\nquit\ny\n",
    )

    assert "🔌 Loaded plugin: my 0.1.0" in done.stderr
    assert done.stdout.splitlines() == [
        "my: status, ping; exit leaves",
        "greeting: hello",
        "peers with this plugin: 0",
        "pings answered: 0",
        "no peer with this plugin is connected",
        "usage: status | ping",
    ]


def test_what_the_readme_tells_authors_to_type_works(tmp_path: Path) -> None:
    section = README.read_text("utf-8").split("## Write a plugin\n")[1].split("\n## ")[0]
    (commands,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    assert commands.startswith("thenodes new-plugin my && cd thenodes-my ")
    # The shell reads the commands from its argument, so that the node reads the lines.
    done = subprocess.run(
        ["sh", "-e", "-c", commands],
        cwd=tmp_path,
        env={
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "THENODES_PORT": "0",
        },
        input="my\nstatus\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "greeting: hello" in done.stdout


def test_two_nodes_with_it_greet_each_other(project: Path, start_node: StartNode) -> None:
    one = start_node("one", "--plugin", str(project))
    other = start_node("other", "--plugin", str(project), "--bootstrap", f"127.0.0.1:{one.port}")
    wait_until(lambda: one.connected() and other.connected(), "the nodes to connect")

    assert one.exec("my", "ping").startswith(f"{other.node_id}: hello (")
    assert "pings answered: 1" in other.exec("my", "status")


def test_the_readme_tells_operators_a_configuration_that_is_valid(project: Path) -> None:
    (snippet,) = (project / "README.md").read_text().split("```toml\n")[1:]

    assert tomllib.loads(snippet.split("```")[0])["plugin"]["my"] == {"greeting": "hello"}


@pytest.mark.parametrize(("licence", "ci"), [*itertools.product(LICENCES, ["true", "false"])])
def test_every_combination_of_answers_is_sound(tmp_path: Path, licence: str, ci: str) -> None:
    folder, made = make(tmp_path, "My Plugin", license=licence, ci=ci)

    files = set(made.files)
    assert {name for name in files if name.startswith("LICENSE")} == LICENCES[licence]
    assert (WORKFLOW in files) is (ci == "true")
    assert not (folder / ".github").exists() or ci == "true"
    check_files(folder, files)
    about = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert about.get("license", "none") == licence


def check_files(folder: Path, files: set[str]) -> None:
    """No trace of the template; names for every system; Python and TOML that are valid."""
    for name in files:
        data = (folder / name).read_bytes()
        text = data.decode().replace("${{ matrix.python }}", "")
        assert not any(mark in text for mark in ("{{", "{%", "{#")), name
        assert b"\r" not in data, name
        assert not data or data.endswith(b"\n"), name
        assert not set(name) & set('<>:"|?*\\'), name
        if name.endswith(".py"):
            compile(data, name, "exec")
    manifest = parse_manifest((folder / "src/thenodes_my_plugin/thenodes-plugin.toml").read_text())
    points = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"]
    assert points == {"thenodes.plugins": {manifest.plugin.id: manifest.plugin.entry}}
    assert manifest.plugin.id == manifest.prompt.prefix == "my-plugin"


@pytest.mark.parametrize(
    "text", ['say "hello"', "back\\slash", "'''", '"""', "{{ 7 * 7 }}", "naïve 🦊", "# no", "%s"]
)
def test_what_an_answer_says_is_taken_as_it_stands(tmp_path: Path, text: str) -> None:
    folder, _ = make(tmp_path, description=text, author=text)

    about = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    assert (about["description"], about["authors"]) == (text, [{"name": text}])
    assert f"Copyright (c) {text}\n" in (folder / "LICENSE-MIT").read_text("utf-8")


def test_other_names_can_be_chosen(tmp_path: Path) -> None:
    folder, _ = make(tmp_path, "status", id="state_of", prefix="state", module="state_of_things")

    manifest = parse_manifest((folder / "src/state_of_things/thenodes-plugin.toml").read_text())
    assert folder.name == "thenodes-state-of"
    assert (manifest.plugin.id, manifest.prompt.prefix) == ("state_of", "state")
    assert (
        'abi = 1\n    prompt_prefix = "state"\n'
        in (folder / "src/state_of_things/__init__.py").read_text()
    )


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"description": "two\nlines"}, "--data description: expected one line"),
        ({"description": ""}, "--data description: expected one line"),
        ({"author": "x" * 101}, "--data author: expected one line of 1 to 100"),
        ({"name": "a/b"}, "--data name: expected letters and digits"),
        ({"author": "\udcff"}, "--data author: expected UTF-8"),
        ({"license": "GPL"}, "--data license: 'GPL' is not in ['MIT'"),
        ({"licence": "MIT"}, "--data licence: the template has no such question; did you mean"),
        ({"colour": "red"}, "expected name, id, prefix, module, description, author, license, ci"),
        ({"ci": "perhaps"}, "--data ci: expected true or false, got 'perhaps'"),
    ],
)
def test_an_answer_that_is_wrong_is_refused_and_nothing_is_made(
    tmp_path: Path, answers: Mapping[str, str], expected: str
) -> None:
    with pytest.raises(CommandError) as caught:
        make(tmp_path, **answers)

    assert expected in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("typed", ["", "some/where/my", "x" * 200, "thenodes", "日本", "status"])
def test_a_bad_name_is_a_usage_error_that_makes_nothing(tmp_path: Path, typed: str) -> None:
    code, error = fails("new-plugin", typed, "--output", str(tmp_path / "new"))

    assert (code, len(error.splitlines())) == (2, 1)
    assert not (tmp_path / "new").exists()


def test_data_without_an_equals_sign_is_a_usage_error() -> None:
    code, error = fails("new-plugin", "my", "--data", "author")

    assert code == 2
    assert "expected KEY=VALUE" in error


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thenodes-my").mkdir()
    (tmp_path / "thenodes-my" / "mine").write_text("mine")

    code, error = fails("new-plugin", "my", "--output", str(tmp_path))

    assert code == 2
    assert f"{tmp_path}/thenodes-my is there already; choose another name" in error
    assert [path.name for path in (tmp_path / "thenodes-my").iterdir()] == ["mine"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    code, error = fails("new-plugin", "my", "--output", str(tmp_path / "file" / "below"))

    assert code == 1
    assert error.startswith(f"error: {tmp_path}/file/below/thenodes-my")
    assert error.endswith("cannot be read or written: Not a directory")


def test_an_empty_folder_of_that_name_is_used(tmp_path: Path) -> None:
    (tmp_path / "thenodes-my").mkdir()

    assert (make(tmp_path)[0] / "pyproject.toml").exists()


def test_a_file_or_a_link_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "thenodes-my").symlink_to(tmp_path / "elsewhere")

    for output in (tmp_path / "file", tmp_path):
        with pytest.raises(CommandError):
            make(output)
    assert not (tmp_path / "elsewhere").exists()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[pexpect.spawn]:
    """The command on a terminal, at its first question."""
    child = pexpect.spawn(
        sys.executable,
        ["-m", "thenodes_cli", "new-plugin", "my"],
        cwd=str(tmp_path),
        dimensions=(24, 100),
        encoding="utf-8",
        env={**os.environ, "PROMPT_TOOLKIT_NO_CPR": "1"},
        timeout=15,
    )
    child.expect("What does it do, in one line")
    yield child
    child.close(force=True)


def test_on_a_terminal_it_asks_and_enter_takes_what_is_proposed(
    terminal: pexpect.spawn, tmp_path: Path
) -> None:
    terminal.sendline("")
    terminal.expect("Who writes it")
    terminal.sendline("\x01\x0bAda")
    terminal.expect("Under which licence")
    terminal.sendline("")
    terminal.expect("With a workflow for GitHub Actions")
    terminal.sendline("")
    terminal.expect("next:")
    terminal.expect(pexpect.EOF)
    terminal.wait()

    assert terminal.exitstatus == 0
    answers = (tmp_path / "thenodes-my" / ".copier-answers.yml").read_text()
    assert "\nauthor: Ada\nci: true\ndescription: A plugin for TheNodes.\n" in answers


def test_ctrl_c_at_a_question_makes_nothing(terminal: pexpect.spawn, tmp_path: Path) -> None:
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.wait()

    assert terminal.exitstatus == 130
    assert list(tmp_path.iterdir()) == []


def test_neither_git_nor_a_home_is_needed(tmp_path: Path) -> None:
    done = subprocess.run(
        [*THENODES, "new-plugin", "my"],
        cwd=tmp_path,
        env={"PATH": str(tmp_path), "HOME": "/nonexistent", "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "thenodes-my" / "pyproject.toml").exists()


def test_the_answers_name_version_and_public_address_of_the_template(project: Path) -> None:
    answers = (project / ".copier-answers.yml").read_text()

    packaged = packaged_template()
    assert f"\n_commit: {packaged.newest()}\n_src_path: {packaged.address}\n" in answers
    assert str(packaged.folder) not in answers


def test_other_commands_do_not_load_the_template_engine() -> None:
    script = (
        "import sys, thenodes_cli.app as a; a.app(['version'], standalone_mode=False);"
        "print(json.dumps(sorted({'copier', 'jinja2', 'yaml', 'plumbum'} & set(sys.modules))))"
    )

    done = subprocess.run(
        [sys.executable, "-c", f"import json; {script}"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )

    assert json.loads(done.stdout.splitlines()[-1]) == []
