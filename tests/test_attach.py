"""`thenodes attach`, in real processes: a prompt onto a node that runs elsewhere."""

from __future__ import annotations

import json
import signal
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from .conftest import StartNode
from .nodes import KVSTORE, THENODES, RunningNode, fails, thenodes, wait_until
from .terminals import plain, spawn

HINT = "quit leaves, and the node goes on"


@pytest.fixture
def node(start_node: StartNode) -> RunningNode:
    """A node with a plugin, which no terminal has."""
    return start_node("node", "--plugin", str(KVSTORE))


@pytest.fixture
def attached(node: RunningNode) -> Iterator[pexpect.spawn[str]]:
    """A terminal of 24 rows and 100 columns, attached to it."""
    child = spawn("attach", "--state-dir", str(node.state_dir))
    child.expect(HINT)
    child.expect("thenodes>")
    yield child
    child.close(force=True)


def ended(child: pexpect.spawn[str]) -> tuple[int, str]:
    """Exit code, and what was written until then."""
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus is not None
    return child.exitstatus, plain(child.before)


def test_lines_of_a_pipe_are_answered_as_at_the_nodes_own_prompt(node: RunningNode) -> None:
    lines = "kvstore\nput a 1\nget a\nexit\npeers --json\nbogus\n"

    done = thenodes("attach", "--state-dir", str(node.state_dir), stdin=lines)

    *answers, peers, error = done.stdout.splitlines()
    assert answers == [
        "kvstore: put, get, list; exit leaves",
        "stored a = 1, sent to 0 peers",
        "a = 1",
    ]
    assert json.loads(peers) == []
    assert error.startswith("error: unknown command 'bogus'")
    assert done.stderr == ""
    assert node.process.poll() is None


@pytest.mark.parametrize("word", ["quit\n", "exit\n", "\x04"])
def test_leaving_says_that_the_node_goes_on_and_it_does(
    attached: pexpect.spawn[str], node: RunningNode, word: str
) -> None:
    attached.send(word.replace("\n", "\r"))

    code, said = ended(attached)

    assert (code, "left; the node goes on" in said) == (0, True)
    assert node.ask("status")["node_id"] == node.node_id


def test_a_plugins_shell_and_completion_work_across_processes(
    attached: pexpect.spawn[str],
) -> None:
    attached.send("kvs")
    attached.expect("enter its shell")
    attached.send("\t\r")
    attached.expect("thenodes/kvstore>")
    attached.send("put a 1\r")
    attached.expect("stored a = 1")
    attached.send("exit\r")
    attached.expect("thenodes>")
    attached.send("peers --json\r")
    attached.expect(r"\[\]")


def test_events_of_the_node_go_above_the_line_that_is_typed(
    attached: pexpect.spawn[str], node: RunningNode, start_node: StartNode
) -> None:
    attached.send("pee")
    attached.expect("pee")

    other = start_node("other", "--bootstrap", f"127.0.0.1:{node.port}")

    attached.expect("joined")
    attached.expect("thenodes>")
    attached.expect("pee")
    attached.send("rs\r")
    attached.expect(other.node_id[:6])


def test_ctrl_c_ends_what_goes_on_and_then_leaves_the_node_alone(
    attached: pexpect.spawn[str], node: RunningNode
) -> None:
    attached.send("events --follow\r")
    attached.expect("listens on")
    attached.sendintr()
    attached.expect("thenodes>")
    attached.send("version\r")
    attached.expect("TheNodes 0")
    attached.expect("thenodes>")
    attached.sendintr()

    code, said = ended(attached)

    assert (code, "left; the node goes on" in said) == (0, True)
    assert node.process.poll() is None


def test_sigterm_leaves_the_node_alone_and_the_terminal_as_it_was(
    attached: pexpect.spawn[str], node: RunningNode
) -> None:
    def takes_lines() -> bool:
        return bool(termios.tcgetattr(attached.child_fd)[3] & termios.ICANON)

    wait_until(lambda: not takes_lines(), "the prompt to take keys")

    attached.kill(signal.SIGTERM)
    code, text = ended(attached)

    assert code == 0
    assert "left; the node goes on" in text
    assert takes_lines()
    assert node.process.poll() is None


@pytest.mark.parametrize("typed", ["", "half a li", "events --follow\r"])
def test_that_the_node_was_killed_is_said_whatever_is_being_done(
    attached: pexpect.spawn[str], node: RunningNode, typed: str
) -> None:
    attached.send(typed)
    if typed.endswith("\r"):
        attached.expect("listens on")

    node.process.kill()
    code, said = ended(attached)

    assert code == 1
    assert f"the node on {node.state_dir} has stopped, or was killed" in said.replace("\n", "")
    assert "thenodes run --state-dir" in said


def test_that_the_node_stopped_in_order_is_said_too(
    attached: pexpect.spawn[str], node: RunningNode
) -> None:
    node.stop(signal.SIGTERM)

    assert ended(attached)[0] == 1


def test_over_a_pipe_a_node_that_is_killed_is_noticed_without_a_line(node: RunningNode) -> None:
    with subprocess.Popen(
        [*THENODES, "attach", "--state-dir", str(node.state_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as attached:
        assert attached.stdin is not None
        assert attached.stdout is not None
        attached.stdin.write("version\n")
        attached.stdin.flush()
        assert attached.stdout.readline().startswith("TheNodes ")

        node.process.kill()

        assert attached.wait(timeout=15) == 1
        assert attached.stderr is not None
        assert "has stopped, or was killed" in attached.stderr.read()


def test_shutdown_asks_and_then_stops_the_node(
    attached: pexpect.spawn[str], node: RunningNode
) -> None:
    attached.send("shutdown\r")
    attached.expect(r"Stop this node\? \[y/N\]")
    attached.send("n\r")
    attached.expect("the node goes on")
    attached.send("shutdown\r")
    attached.expect(r"Stop this node\? \[y/N\]")
    attached.send("y\r")

    code, said = ended(attached)

    assert (code, "the node stops" in said) == (0, True), said
    assert node.process.wait(timeout=15) == 0


def test_a_script_stops_a_node_without_a_question(node: RunningNode) -> None:
    said = thenodes("shutdown", "--state-dir", str(node.state_dir)).stdout

    assert said == "the node stops\n"
    assert node.process.wait(timeout=15) == 0


def test_without_a_node_the_way_out_is_told(tmp_path: Path) -> None:
    code, error = fails("attach", "--state-dir", str(tmp_path / "none"))

    assert code == 1
    assert error.startswith("error: no node runs on ")
    assert "start one with: thenodes run --state-dir " in error


def test_the_file_of_a_socket_that_nobody_holds_is_no_node(node: RunningNode) -> None:
    node.process.kill()
    node.process.wait()
    assert (node.state_dir / "control.sock").exists()

    code, error = fails("attach", "--state-dir", str(node.state_dir))

    assert (code, "no node runs on" in error) == (1, True)


def test_a_node_that_does_not_answer_can_be_left(
    attached: pexpect.spawn[str], node: RunningNode
) -> None:
    node.process.send_signal(signal.SIGSTOP)
    try:
        attached.send("peers\r")
        attached.expect("peers")
        # Not at once, for the line is to be taken first.
        with pytest.raises(pexpect.TIMEOUT):
            attached.expect("thenodes>", timeout=0.5)
        attached.sendintr()
        attached.expect("not waited for any longer")
        attached.send("quit\r")

        assert ended(attached)[0] == 0
    finally:
        node.process.send_signal(signal.SIGCONT)


def test_text_with_escape_sequences_is_shown_escaped(
    attached: pexpect.spawn[str], node: RunningNode
) -> None:
    node.exec("kvstore", "put", "a", "\x1b]0;owned\x07\x1b[2Jb")
    attached.send("kvstore get a\r")

    attached.expect("a = ")
    attached.expect("thenodes>")

    shown = str(attached.before)
    assert "\\x1b]0;owned\\x07\\x1b[2Jb" in shown
    assert "\x1b]0;owned" not in shown


def test_a_line_that_the_node_does_not_take_is_refused_and_the_next_is_answered(
    node: RunningNode,
) -> None:
    lines = f"kvstore put a {'x' * 1024 * 1024}\nkvstore put a {'x' * 70_000}\nversion\n"

    done = thenodes("attach", "--state-dir", str(node.state_dir), stdin=lines)

    first, second, third = done.stdout.splitlines()
    assert first == "error: a line of more than 1048576 bytes"
    assert second.startswith("error: ")
    assert third.startswith("TheNodes ")


def test_a_dumb_terminal_gets_lines_and_nothing_else(node: RunningNode) -> None:
    child = spawn("attach", "--state-dir", str(node.state_dir), TERM="dumb")
    child.expect_exact(f"attached to {node.node_id}, realm")
    child.expect("thenodes> ")
    child.sendline("kvstore")
    child.expect("thenodes/kvstore> ")
    child.sendline("put a 1")
    child.expect("stored a = 1")
    child.sendeof()
    seen = [str(child.before)]
    child.expect(pexpect.EOF)
    child.wait()
    seen.append(str(child.before))

    assert child.exitstatus == 0
    assert "left; the node goes on" in seen[1]
    assert "\x1b" not in "".join(seen)


def test_what_was_typed_is_remembered_with_the_nodes_own(
    attached: pexpect.spawn[str], node: RunningNode
) -> None:
    attached.send("version\r")
    attached.expect("TheNodes 0")

    history = node.state_dir / "history"
    wait_until(lambda: "+version" in history.read_text(), "the history")
    assert history.stat().st_mode & 0o077 == 0
