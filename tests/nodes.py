"""Starts nodes as processes, as an operator does."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from thenodes_core.control.client import ask
from thenodes_core.errors import NoNode

THENODES = (sys.executable, "-m", "thenodes_cli")
KVSTORE = Path(__file__).parent.parent / "examples" / "kvstore_plugin"
DEADLINE_SECONDS = 15


class RunningNode:
    """A node in a process of its own, found through its state directory."""

    def __init__(self, state_dir: Path, *options: str, port: int = 0) -> None:
        self.state_dir = state_dir
        state = ("--state-dir", str(state_dir))
        self.process = subprocess.Popen(
            [*THENODES, "run", *state, "--port", str(port), "--log-format", "text", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(self._is_up, f"node on {state_dir}")

    def _is_up(self) -> bool:
        assert self.process.poll() is None, self.process.communicate()[1]
        # One that was killed has left the file of its socket.
        try:
            return bool(self.ask("status"))
        except NoNode:
            return False

    def status(self) -> dict[str, Any]:
        """What `thenodes status --json` says."""
        answer: dict[str, Any] = json.loads(
            thenodes("status", "--state-dir", str(self.state_dir), "--json").stdout
        )
        return answer

    def exec(self, *words: str) -> str:
        """The answer to a prompt command."""
        return thenodes("exec", "--state-dir", str(self.state_dir), *words).stdout.strip()

    def ask(self, line: str) -> Any:
        """The data of a prompt command's answer, without a process for it."""
        return asyncio.run(ask(self.state_dir, line)).data

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.ask("status")["listening"].rpartition(":")[2])

    @property
    def node_id(self) -> str:
        """Its id."""
        return str(self.ask("status")["node_id"])

    @property
    def fingerprint(self) -> str:
        """Of its key."""
        return str(self.ask("status")["fingerprint"])

    def counter(self, name: str) -> int:
        """One of its counters."""
        return int(self.ask("status")["counters"].get(name, 0))

    def connected(self) -> list[str]:
        """Ids of the connected peers, as `peers`, and quicker."""
        return [peer["node_id"] for peer in self.ask("status")["peers"]]

    def dial_problem(self) -> str:
        """Why its one bootstrap address is not connected; empty where it is, or nobody knows."""
        (dial,) = self.ask("status")["dialling"]
        return str(dial["error"])

    def events(self, **fields: object) -> list[dict[str, Any]]:
        """What it logged that has these values."""
        path = self.state_dir / "logs" / "events.jsonl"
        if not path.exists():
            return []
        whole_lines = path.read_text().rpartition("\n")[0].splitlines()
        events = map(json.loads, whole_lines)
        return [event for event in events if fields.items() <= event.items()]

    def logged(self, count: int = 1, **fields: object) -> list[dict[str, Any]]:
        """As `events`, once there are so many: they are written a moment after they happen."""
        wait_until(lambda: len(self.events(**fields)) >= count, f"{count} events with {fields}")
        return self.events(**fields)

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


def fails(*words: str, stdin: str = "") -> tuple[int, str]:
    """Exit code and error of a command that must fail, say so, and show no traceback."""
    done = thenodes(*words, stdin=stdin, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    assert (done.returncode != 0, done.stdout) == (True, ""), done.stderr
    return done.returncode, done.stderr.strip()


def data_of(*words: str) -> Any:
    """What a command says to machines."""
    return json.loads(thenodes(*words, "--json").stdout)


def with_config(path: Path, text: str) -> tuple[str, str]:
    """Write a configuration; the options that name it."""
    path.write_text(text)
    return "--config", str(path)


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
