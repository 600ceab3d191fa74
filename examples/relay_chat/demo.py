"""Two nodes that know only a relay; one says something to the other, which is away.

Run it with `python examples/relay_chat/demo.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TEXT = ("--log-format", "text")
HERE = Path(__file__).parent
THENODES = [sys.executable, "-m", "thenodes_cli"]
DEADLINE_SECONDS = 20


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="thenodes-relay-chat-") as folder:
        running: list[subprocess.Popen[bytes]] = []
        try:
            tell(Path(folder), running)
        finally:
            for process in running:
                process.terminate()
            codes = [process.wait(DEADLINE_SECONDS) for process in running]
        if any(codes):
            sys.exit("a node did not stop cleanly")
        say("All nodes have stopped.")


def tell(folder: Path, running: list[subprocess.Popen[bytes]]) -> None:
    hub, alice, bob = (folder / name for name in ("hub", "alice", "bob"))
    running.append(start(hub, "relay.toml", "--port", "0"))
    address = str(status(hub)["listening"])
    say(f"The relay runs and listens on {address}.")

    first = start(bob, "node.toml", "--plugin", str(HERE), use=address)
    bobs_id = str(status(bob)["node_id"])
    wait_until(lambda: bobs_id in relay(hub, "bindings"), "Bob's mailbox")
    first.terminate()
    first.wait(DEADLINE_SECONDS)
    say("Bob has a mailbox at the relay, and is away now.")

    running.append(start(alice, "node.toml", "--plugin", str(HERE), use=address))
    wait_until(lambda: status(alice)["peers"] != [], "Alice to connect")
    say(f"Alice: chat say <Bob> hello      ->  {chat(alice, 'say', bobs_id, 'hello')}")

    running.append(start(bob, "node.toml", "--plugin", str(HERE), use=address))
    wait_until(lambda: "hello" in chat(bob, "read"), "what Alice said")
    alices_id = str(status(alice)["node_id"])
    say("Bob is back.")
    say(f"Bob:   chat read                 ->  {chat(bob, 'read')}")

    say(f"Bob:   chat say <Alice> hi back  ->  {chat(bob, 'say', alices_id, 'hi back')}")
    wait_until(lambda: "hi back" in chat(alice, "read"), "what Bob said")
    say(f"Alice: chat read                 ->  {chat(alice, 'read')}")

    seen = {peer["node_id"] for peer in peers(alice) + peers(bob)}
    assert seen == {status(hub)["node_id"]}, seen
    say("Neither was ever connected with the other.")


def start(
    state_dir: Path, config: str, *options: str, use: str | None = None
) -> subprocess.Popen[bytes]:
    """Start a node as a process of its own."""
    command = [*THENODES, "run", "--config", str(HERE / config), "--state-dir", str(state_dir)]
    environment = dict(os.environ)
    if use is not None:
        environment["THENODES_NETWORK__RELAY__USE"] = use
    process = subprocess.Popen([*command, "--log-level", "error", *TEXT, *options], env=environment)
    wait_until(lambda: answers(state_dir), "the node to start", process)
    return process


def answers(state_dir: Path) -> bool:
    done = subprocess.run(
        [*THENODES, "status", "--state-dir", str(state_dir)], capture_output=True, check=False
    )
    return done.returncode == 0


def status(state_dir: Path) -> dict[str, object]:
    answer: dict[str, object] = json.loads(
        thenodes("status", "--state-dir", str(state_dir), "--json")
    )
    return answer


def peers(state_dir: Path) -> list[dict[str, object]]:
    """Who is connected; `peers` also lists who was reached through a relay."""
    answer: list[dict[str, object]] = json.loads(
        thenodes("peers", "--state-dir", str(state_dir), "--json")
    )
    return [peer for peer in answer if peer["path"] == "direct"]


def relay(state_dir: Path, word: str) -> str:
    return thenodes("relay", word, "--state-dir", str(state_dir))


def chat(state_dir: Path, *words: str) -> str:
    return thenodes("exec", "--state-dir", str(state_dir), "chat", *words)


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
