"""Two nodes as two processes: a key put on one is read on the other.

Run it with `make demo`, or `python examples/demo.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PLUGIN = Path(__file__).parent / "kvstore_plugin"
THENODES = [sys.executable, "-m", "thenodes_cli"]
DEADLINE_SECONDS = 20


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="thenodes-demo-") as folder:
        first, second = Path(folder, "first"), Path(folder, "second")
        running: list[subprocess.Popen[bytes]] = []
        try:
            running.append(start(first))
            listening = str(status(first)["listening"])
            say(f"The first node runs (process {running[0].pid}) and listens on {listening}.")

            running.append(start(second, "--bootstrap", listening))
            say(f"The second node runs (process {running[1].pid}) and dials the first.")

            peer = wait_for_peer(second)
            say(f"They are connected: the second node sees {peer}.")

            say(f"On the first:  kvstore put greeting hello   ->  {put(first)}")
            say(f"On the second: kvstore get greeting         ->  {get(second)}")
        finally:
            for process in running:
                process.terminate()
            codes = [process.wait(DEADLINE_SECONDS) for process in running]
        say(f"Both nodes have stopped, with exit codes {codes[0]} and {codes[1]}.")
        if any(codes):
            sys.exit("a node did not stop cleanly")


def start(state_dir: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start a node as a process of its own, on a free port."""
    command = [*THENODES, "run", "--port", "0", "--state-dir", str(state_dir)]
    command += ["--plugin", str(PLUGIN), "--log-level", "warning"]
    command += ["--log-format", "text", *options]
    process = subprocess.Popen(command)
    wait_until(lambda: (state_dir / "control.sock").exists(), "the node to start", process)
    return process


def status(state_dir: Path) -> dict[str, object]:
    answer: dict[str, object] = json.loads(
        thenodes("status", "--state-dir", str(state_dir), "--json")
    )
    return answer


def wait_for_peer(state_dir: Path) -> str:
    wait_until(lambda: bool(status(state_dir)["peers"]), "the nodes to connect")
    peers = status(state_dir)["peers"]
    assert isinstance(peers, list)
    return str(peers[0]["node_id"])


def put(state_dir: Path) -> str:
    return thenodes("exec", "--state-dir", str(state_dir), "kvstore", "put", "greeting", "hello")


def get(state_dir: Path) -> str:
    command = ("exec", "--state-dir", str(state_dir), "kvstore", "get", "greeting")
    wait_until(lambda: thenodes(*command) == "greeting = hello", "the value to arrive")
    return thenodes(*command)


def thenodes(*words: str) -> str:
    done = subprocess.run(
        [*THENODES, *words], capture_output=True, text=True, check=True, timeout=DEADLINE_SECONDS
    )
    return done.stdout.strip()


def wait_until(
    condition: Callable[[], bool], what: str, process: subprocess.Popen[bytes] | None = None
) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if process is not None and process.poll() is not None:
            sys.exit(f"waited for {what}, but the process ended with {process.returncode}")
        if time.monotonic() > deadline:
            sys.exit(f"waited {DEADLINE_SECONDS} s for {what}")
        time.sleep(0.05)


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
