"""The prompt over a pipe and on a terminal, in a real process."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from .conftest import StartNode
from .nodes import KVSTORE, thenodes, wait_until

RUN = ("run", "--prompt", "--port", "0", "--plugin", str(KVSTORE))


def test_lines_of_a_pipe_are_run_in_order_and_the_node_ends(tmp_path: Path) -> None:
    lines = "kvstore\nput a 1\nget a\nexit\nquit\ny\n"

    done = thenodes(*RUN, "--state-dir", str(tmp_path / "state"), stdin=lines)

    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "kvstore: put, get, list; exit leaves",
        "stored a = 1, sent to 0 peers",
        "a = 1",
    ]


def test_the_end_of_a_pipe_ends_the_node(tmp_path: Path) -> None:
    done = thenodes(*RUN, "--state-dir", str(tmp_path / "state"), stdin="version")

    assert done.returncode == 0
    assert done.stdout.startswith("TheNodes 0.1.0, node ")


def test_a_file_as_input_works_like_a_pipe(tmp_path: Path) -> None:
    script = tmp_path / "lines"
    script.write_text("peers\nquit\nyes\n")
    command = f"{sys.executable} -m thenodes_cli {' '.join(RUN)} --state-dir {tmp_path / 'state'}"

    output, status = pexpect.run(
        f"/bin/sh -c '{command} < {script} 2>&1'", withexitstatus=True, timeout=15
    )

    assert status == 0, output
    assert b"no peers connected" in output


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[pexpect.spawn]:
    """A node at its prompt on a terminal of 24 rows and 100 columns."""
    child = pexpect.spawn(
        sys.executable,
        ["-m", "thenodes_cli", *RUN, "--state-dir", str(tmp_path / "terminal")],
        dimensions=(24, 100),
        encoding="utf-8",
        env={**os.environ, "PROMPT_TOOLKIT_NO_CPR": "1"},  # pexpect is no terminal: no answers
        timeout=15,
    )
    child.expect("thenodes>")
    yield child
    child.close(force=True)


def test_a_terminal_shows_shell_answer_and_confirmation(terminal: pexpect.spawn) -> None:
    terminal.sendline("kvstore")
    terminal.expect("thenodes/kvstore>")
    terminal.sendline("put a 1")
    terminal.expect("stored a = 1")
    terminal.sendline("/status")
    terminal.expect("listening +127.0.0.1:")
    terminal.sendline("exit")
    terminal.expect("thenodes>")
    terminal.sendline("quit")
    terminal.expect(r"Stop this node\? \[y/N\]")
    terminal.sendline("n")
    terminal.expect("the node goes on")
    terminal.sendline("quit")
    terminal.expect(r"Stop this node\? \[y/N\]")
    terminal.sendline("y")
    terminal.expect(pexpect.EOF)
    terminal.wait()

    assert terminal.exitstatus == 0


def test_tab_completes_a_prefix(terminal: pexpect.spawn) -> None:
    terminal.send("kvs")
    time.sleep(0.3)
    terminal.send("\t")
    terminal.expect("tore")
    terminal.send("\r")

    terminal.expect("thenodes/kvstore>")


def test_ctrl_c_stops_the_node_within_two_seconds(terminal: pexpect.spawn) -> None:
    started = time.monotonic()
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.wait()

    assert terminal.exitstatus == 0
    assert time.monotonic() - started < 2


def test_an_event_leaves_the_line_being_typed_whole(
    terminal: pexpect.spawn, start_node: StartNode, tmp_path: Path
) -> None:
    status = thenodes("status", "--state-dir", str(tmp_path / "terminal"), "--json").stdout
    listening = status.split('"listening": "')[1].split('"')[0]
    terminal.send("peer")
    terminal.expect("peer")

    other = start_node("other", "--bootstrap", listening)
    wait_until(other.peers, "the nodes to connect")

    terminal.expect("joined")
    terminal.expect("thenodes>")
    terminal.expect("peer")
    terminal.sendline("s")
    terminal.expect("daemon inbound")


def test_what_was_typed_is_remembered_in_a_private_file(
    terminal: pexpect.spawn, tmp_path: Path
) -> None:
    terminal.sendline("peers")
    terminal.expect("no peers connected")

    history = tmp_path / "terminal" / "history"
    assert "+peers" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0
