"""What `deploy/` says is so: its paths, commands and options exist, and its steps work."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from .nodes import THENODES, thenodes, wait_until, with_config

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "deploy" / "systemd" / "thenodes.service"
CONTAINERFILE = ROOT / "deploy" / "container" / "Containerfile"
INSTALLED = "/opt/thenodes/bin/thenodes"
STATE = "/var/lib/thenodes"


def unit() -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(re.sub(r"\\\n\s*", "", UNIT.read_text()))
    return parser


def steps() -> list[tuple[str, str]]:
    """Each instruction of the Containerfile, its lines joined, with what follows it."""
    lines = [line for line in CONTAINERFILE.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found = [line.strip().partition(" ") for line in joined.splitlines() if line.strip()]
    return [(name, rest) for name, _, rest in found]


def step(name: str) -> str:
    """What the last instruction of that name says."""
    return [rest for found, rest in steps() if found == name][-1]


def run_here(words: list[str], state: Path, config: Path) -> list[str]:
    """The command of a service or container, with the paths of a test."""
    here = {STATE: str(state), "/etc/thenodes/node.toml": str(config), "50000": "0"}
    return [here.get(word, word) for word in words]


def stays_up_until_terminated(words: list[str], state: Path) -> str:
    """Run a node's command to its end; returns what it wrote."""
    process = subprocess.Popen(
        [*THENODES, *words], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until((state / "control.sock").exists, "the node to start")
        process.terminate()
        _, errors = process.communicate(timeout=15)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    return errors


def test_the_command_of_the_unit_runs_a_node(tmp_path: Path) -> None:
    command, *words = shlex.split(unit()["Service"]["ExecStart"])
    state, config = tmp_path / "state", tmp_path / "node.toml"
    with_config(config, "port = 0\n")

    told = stays_up_until_terminated(run_here(words, state, config), state)

    assert command == INSTALLED
    assert " info    the node is stopping" in told


def test_the_unit_leaves_a_node_the_time_to_drain_and_names_its_exit_codes() -> None:
    service = unit()["Service"]

    assert service["Type"] == "notify"
    assert int(service["TimeoutStopSec"]) > 5 + 2 * 1.9
    assert service["RestartPreventExitStatus"].split() == ["2", "78"]
    assert service["StateDirectory"] == Path(STATE).name
    assert int(service["WatchdogSec"]) >= 10


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
def test_systemd_finds_nothing_wrong_with_the_unit_and_little_exposed(tmp_path: Path) -> None:
    text = UNIT.read_text().replace(INSTALLED, sys.executable)
    copy = tmp_path / "thenodes.service"
    copy.write_text(re.sub(r"(?m)^(User|Group)=.*$", r"\1=root", text))

    checked = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")
    copy.write_text(text)
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    level = re.search(r"exposure level for thenodes\.service: ([0-9.]+)", judged.stdout)
    assert level is None or float(level[1]) < 2.5, judged.stdout


def test_what_the_containerfile_copies_and_builds_is_there() -> None:
    copied = [rest.split()[0] for name, rest in steps() if name == "COPY" and "--from" not in rest]
    built = re.findall(r"\./(\S+?)(?:\[|\s|$)", next(r for n, r in steps() if "pip wheel" in r))

    assert copied == ["packages", "templates"]
    assert sorted(built) == sorted(str(p.relative_to(ROOT)) for p in (ROOT / "packages").iterdir())
    assert all((ROOT / path / "pyproject.toml").is_file() for path in built)


def test_the_container_runs_a_node_that_its_health_check_finds(tmp_path: Path) -> None:
    state = tmp_path / "state"
    entry, words = json.loads(step("ENTRYPOINT")), json.loads(step("CMD"))
    check = json.loads(step("HEALTHCHECK").partition("CMD ")[2])
    command = run_here(words, state, tmp_path)
    process = subprocess.Popen(
        [*THENODES, *command], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until((state / "control.sock").exists, "the node to start")
        healthy = thenodes(*run_here(check[1:], state, tmp_path)).stdout
        process.terminate()
        _, errors = process.communicate(timeout=15)
    finally:
        process.kill()

    assert (entry, check[0]) == (["thenodes"], "thenodes")
    assert "listening  0.0.0.0:" in healthy
    assert process.returncode == 0
    assert all(json.loads(line)["type"] for line in errors.splitlines())
    assert thenodes(*run_here(check[1:], state, tmp_path), check=False).returncode == 1


def test_the_container_is_not_root_and_what_it_keeps_is_a_volume() -> None:
    assert step("USER") == "10001:10001"
    assert step("VOLUME") == STATE
    assert step("STOPSIGNAL") == "SIGTERM"
    assert step("EXPOSE") == json.loads(step("CMD"))[4]


@pytest.mark.soak
def test_the_steps_of_the_containerfile_make_a_thenodes(tmp_path: Path) -> None:
    wheels, target = tmp_path / "wheels", tmp_path / "opt"
    build = next(rest for name, rest in steps() if "pip wheel" in rest)
    words = [wheels if word == "/wheels" else word for word in shlex.split(build)]
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, *map(str, words[1:])], cwd=ROOT, check=True, capture_output=True)

    venv.create(target, with_pip=True)
    options = ("--no-cache-dir", "--no-index", "--find-links", str(wheels))
    install = [str(target / "bin" / "pip"), "install", *options, "thenodes-cli"]
    subprocess.run(install, check=True, capture_output=True)

    told = subprocess.run(
        [str(target / "bin" / "thenodes"), "version"], capture_output=True, text=True, check=True
    )
    assert "thenodes-relay" in told.stdout
