"""`thenodes demo`: the story ends well, in time, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pytest

from .nodes import THENODES, thenodes, wait_until

STORY_SECONDS = 20


def nodes_on(folder: str) -> list[str]:
    """The processes that were started with a state directory there."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(folder.encode() in word for word in words):
            found.append(path.parent.name)
    return found


def test_the_story_is_told_in_time_and_shows_what_came_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # For a node of the operator's: those of the story have settings of their own.
    monkeypatch.setenv("THENODES_CONFIG", "/nowhere/node.toml")
    monkeypatch.setenv("THENODES_REALM__NAME", "elsewhere")
    begun = time.monotonic()

    steps = [json.loads(line) for line in thenodes("demo", "--json").stdout.splitlines()]

    assert time.monotonic() - begun < STORY_SECONDS
    typed = {step["command"]: step["answer"] for step in steps if step["command"]}
    answers = "\n".join(typed.values())
    assert re.search(r"^delivered to \w+ through relay \w+$", answers, re.MULTILINE)
    assert re.search(r"^stored at relay \w+ for \w+", answers, re.MULTILINE)
    queues = [step["answer"] for step in steps if step["command"] == "relay> relay queue"]
    assert len(queues) == 2
    assert queues[0] == queues[1] != ""
    (heard,) = [text for command, text in typed.items() if command.startswith("cleo> events")]
    assert "says: we are in the garden" in heard


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_on_a_terminal_the_nodes_go_on_until_enter_and_leave_nothing() -> None:
    child = pexpect.spawn(THENODES[0], [*THENODES[1:], "demo"], encoding="utf-8", timeout=30)
    child.expect(r"thenodes peers --state-dir (\S+)/ann")
    folder = child.match.group(1)
    child.expect("Press Enter")

    assert len(nodes_on(folder)) == 4
    assert "via" in thenodes("peers", "--state-dir", f"{folder}/ann").stdout
    child.sendline("")
    child.expect(pexpect.EOF)
    child.close()

    assert child.exitstatus == 0
    assert not Path(folder).exists()
    assert nodes_on(folder) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_amid_the_story_stops_what_was_started(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [*THENODES, "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"TMPDIR": str(tmp_path)},
    )
    wait_until(lambda: len(nodes_on(str(tmp_path))) >= 2, "two nodes of the story")

    for _ in range(2):
        process.send_signal(number)
        time.sleep(0.1)
    _, errors = process.communicate(timeout=15)

    assert "Traceback" not in errors
    # The second one may come when all is done, and end what is ending.
    assert process.returncode in (code, -number)
    assert nodes_on(str(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_closed_terminal_stops_the_nodes_that_went_on(tmp_path: Path) -> None:
    child = pexpect.spawn(
        THENODES[0],
        [*THENODES[1:], "demo"],
        encoding="utf-8",
        timeout=30,
        env={"TMPDIR": str(tmp_path)},
    )
    child.expect("Press Enter")
    assert len(nodes_on(str(tmp_path))) == 4

    os.close(child.child_fd)

    wait_until(lambda: not nodes_on(str(tmp_path)), "the end of all nodes")
    wait_until(lambda: not list(tmp_path.iterdir()), "nothing left of the demo")
