"""From the shell's enter key to an answer, and to a node that is ready."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from .result import Row

__all__ = ["measure"]

THENODES = (sys.executable, "-m", "thenodes_cli")


def measure(runs: int) -> list[Row]:
    """Milliseconds, medians of alternating runs."""
    with tempfile.TemporaryDirectory() as folder:
        used = Path(folder) / "used"
        _until_ready(used)
        fresh = iter(Path(folder) / f"fresh-{number}" for number in range(runs))
        cases: dict[str, Callable[[], float]] = {
            "python -c pass": lambda: _until_done(sys.executable, "-c", "pass"),
            "thenodes version": lambda: _until_done(*THENODES, "version"),
            "node ready, first start": lambda: _until_ready(next(fresh)),
            "node ready, again": lambda: _until_ready(used),
        }
        times: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(runs):
            for name, once in cases.items():
                times[name].append(once() * 1000)
    return [{"kind": name, "ms": statistics.median(values)} for name, values in times.items()]


def _until_done(*command: str) -> float:
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def _until_ready(state_dir: Path) -> float:
    command = [*THENODES, "run", "--port", "0", "--state-dir", str(state_dir)]
    started = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as node:
        assert node.stderr is not None
        for line in node.stderr:
            if "listens on" in line:
                break
        seconds = time.perf_counter() - started
        node.terminate()
        node.communicate()
    return seconds
