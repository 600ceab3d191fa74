"""The examples run as their text says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_simple_node_says_hello_in_under_20_lines() -> None:
    assert "said hello to" in run("simple_node.py")
    assert len((EXAMPLES / "simple_node.py").read_text().splitlines()) < 20


def test_the_demo_puts_on_one_node_and_reads_on_the_other() -> None:
    lines = run("demo.py").splitlines()

    assert "kvstore put greeting hello   ->  stored greeting = hello, sent to 1 peer" in lines[3]
    assert lines[4].endswith("->  greeting = hello")
    assert lines[5] == "Both nodes have stopped, with exit codes 0 and 0."
