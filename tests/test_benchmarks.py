"""The benchmarks run; what they measure is never asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("what", ["throughput", "latency"])
def test_a_short_run_prints_a_table_and_writes_json(what: str, tmp_path: Path) -> None:
    file = tmp_path / "numbers.json"

    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks", what, "--runs", "1"),
            *("--messages", "50", "--json", str(file)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2 + 6
    rows = json.loads(file.read_text())["rows"]
    assert {row["kind"] for row in rows} == {"bare", "thenodes.v1.bin", "thenodes.v1.json"}
    assert all(row["median"] > 0 for row in rows)
