"""What the guides say to type is typed; what they say to look up is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from thenodes_cli.errors import FAILED, INTERRUPTED, REJECTED, USAGE
from thenodes_core.config import load_config
from thenodes_core.protocol.close import CloseCode
from thenodes_relay.causes import Cause

from .nodes import RunningNode, stop_all, wait_until, with_config
from .tutorial import blocks

GUIDES = Path(__file__).parent.parent / "docs" / "how-to"
TROUBLE = (GUIDES / "troubleshooting.md").read_text()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder in which a node was, and runs again for those who start it."""
    (tmp_path / "thenodes").write_text(f'#!/bin/sh\nexec {sys.executable} -m thenodes_cli "$@"\n')
    (tmp_path / "thenodes").chmod(0o755)
    return tmp_path


def _type(page: str, where: str, home: Path) -> None:
    found = [block for block in blocks(GUIDES / page) if block.asked == where]
    assert found
    for line in "".join(block.text for block in found).splitlines():
        _line(line, home)


def _line(line: str, home: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", line.removeprefix("$ ")],
        cwd=home,
        env=os.environ | {"PATH": f"{home}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"


def test_a_node_that_runs_is_looked_at_as_the_guides_say(home: Path) -> None:
    node = RunningNode(home / "data")
    try:
        for page in ("troubleshooting.md", "prompt.md"):
            _type(page, "in here, beside a node that runs", home)
    finally:
        stop_all([node])


def test_a_node_that_is_restored_is_the_node_from_before(home: Path) -> None:
    node = RunningNode(home / "data")
    node_id = node.node_id
    node.stop()

    _type("backup.md", "in here, while it is stopped", home)
    restored = RunningNode(home / "restored")
    try:
        assert restored.node_id == node_id
    finally:
        stop_all([restored])


def test_a_file_is_made_and_changed_as_the_guide_says(home: Path) -> None:
    _type("configure.md", "in here, while it is stopped", home)

    config = load_config(home / "node.toml").config
    assert (config.realm.name, len(config.bootstrap_nodes)) == ("Home", 2)


def test_nodes_of_one_ca_admit_each_other_as_the_guide_says(home: Path) -> None:
    guide = GUIDES / "tls-and-trust.md"
    _type(guide.name, "in here, while it is stopped", home)
    asked = [block.text for block in blocks(guide) if block.asked]
    other = asked[1].replace("press", "crane")
    for line in other.splitlines():
        _line(line, home)
    (policy,) = [block.text for block in blocks(guide) if '"ca"' in block.text]
    options = (*with_config(home / "node.toml", policy), "--host", "0.0.0.0")

    press = RunningNode(home / "press", *options)
    crane = RunningNode(home / "crane", *options, "--bootstrap", f"wss://127.0.0.1:{press.port}")
    try:
        wait_until(lambda: press.connected() == [crane.node_id], "the crane at the press")
    finally:
        stop_all([press, crane])


@pytest.mark.parametrize("code", list(CloseCode))
def test_troubleshooting_has_every_close_code(code: CloseCode) -> None:
    assert f"| {code.value} | `{code.word}` |" in TROUBLE


@pytest.mark.parametrize("reason", sorted({str(cause.reason) for cause in Cause}))
def test_troubleshooting_has_every_reason_of_a_relay(reason: str) -> None:
    assert f"| `{reason}` |" in TROUBLE


@pytest.mark.parametrize("code", [0, FAILED, USAGE, 70, REJECTED, INTERRUPTED])
def test_troubleshooting_has_every_exit_code(code: int) -> None:
    assert f"\n| {code} |" in TROUBLE
