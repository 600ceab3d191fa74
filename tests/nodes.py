"""Starts nodes as processes, as an operator does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

THENODES = (sys.executable, "-m", "thenodes_cli")
KVSTORE = Path(__file__).parent.parent / "examples" / "kvstore_plugin"
DEADLINE_SECONDS = 15


class RunningNode:
    """A node in a process of its own, found through its state directory."""

    def __init__(self, state_dir: Path, *options: str, port: int = 0) -> None:
        self.state_dir = state_dir
        self.process = subprocess.Popen(
            [*THENODES, "run", "--port", str(port), "--state-dir", str(state_dir), *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(self._is_up, f"node on {state_dir}")

    def _is_up(self) -> bool:
        assert self.process.poll() is None, self.process.communicate()[1]
        return (self.state_dir / "control.sock").exists()

    def status(self) -> dict[str, Any]:
        """What `thenodes status --json` says."""
        answer: dict[str, Any] = json.loads(
            thenodes("status", "--state-dir", str(self.state_dir), "--json").stdout
        )
        return answer

    def exec(self, *words: str) -> str:
        """The answer to a prompt command."""
        return thenodes("exec", "--state-dir", str(self.state_dir), *words).stdout.strip()

    def peers(self) -> list[str]:
        """Ids of the connected peers."""
        return [peer["node_id"] for peer in self.status()["peers"]]

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal and wait; returns the exit code and what was written to stderr."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=DEADLINE_SECONDS)
        return self.process.returncode, errors


def thenodes(*words: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    done = subprocess.run(
        [*THENODES, *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {DEADLINE_SECONDS} s for {what}"
        time.sleep(0.05)


def stop_all(nodes: Sequence[RunningNode]) -> None:
    """End whatever still runs."""
    for node in nodes:
        if node.process.poll() is None:
            node.process.kill()
        node.process.communicate()
