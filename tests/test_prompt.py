"""The prompt over a pipe and on a terminal, in a real process."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from .conftest import StartNode
from .nodes import KVSTORE, THENODES, data_of, thenodes, wait_until
from .terminals import plain, spawn

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
def terminal(tmp_path: Path) -> Iterator[pexpect.spawn[str]]:
    """A node at its prompt on a terminal of 24 rows and 100 columns."""
    child = spawn(*RUN, "--state-dir", str(tmp_path / "terminal"))
    child.expect("thenodes>")
    yield child
    child.close(force=True)


def test_a_terminal_shows_shell_answer_and_confirmation(terminal: pexpect.spawn[str]) -> None:
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


def test_tab_completes_a_prefix(terminal: pexpect.spawn[str]) -> None:
    terminal.send("kvs")
    time.sleep(0.3)
    terminal.send("\t")
    terminal.expect("tore")
    terminal.send("\r")

    terminal.expect("thenodes/kvstore>")


def test_ctrl_c_stops_the_node_within_two_seconds(terminal: pexpect.spawn[str]) -> None:
    started = time.monotonic()
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.wait()

    assert terminal.exitstatus == 0
    assert time.monotonic() - started < 2


def test_a_second_signal_leaves_the_terminal_as_it_was(terminal: pexpect.spawn[str]) -> None:
    def takes_lines() -> bool:
        return bool(termios.tcgetattr(terminal.child_fd)[3] & termios.ICANON)

    wait_until(lambda: not takes_lines(), "the prompt to take keys")

    # Two that are alike may come as one.
    terminal.kill(signal.SIGTERM)
    terminal.kill(signal.SIGINT)
    terminal.expect(pexpect.EOF)

    assert takes_lines()
    terminal.wait()
    assert terminal.exitstatus == 0


def test_an_event_leaves_the_line_being_typed_whole(
    terminal: pexpect.spawn[str], start_node: StartNode, tmp_path: Path
) -> None:
    listening = str(data_of("status", "--state-dir", str(tmp_path / "terminal"))["listening"])
    terminal.send("peer")
    terminal.expect("peer")

    other = start_node("other", "--bootstrap", listening)
    wait_until(other.peers, "the nodes to connect")

    terminal.expect("joined")
    terminal.expect("thenodes>")
    terminal.expect("peer")
    terminal.sendline("s")
    terminal.expect(other.node_id[:6])


def test_what_was_typed_is_remembered_in_a_private_file(
    terminal: pexpect.spawn[str], tmp_path: Path
) -> None:
    terminal.sendline("peers")
    terminal.expect("no peers connected")

    history = tmp_path / "terminal" / "history"
    assert "+peers" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


def test_ctrl_c_ends_what_goes_on_and_not_the_node(terminal: pexpect.spawn[str]) -> None:
    terminal.send("events --follow\r")
    terminal.expect("listens on")
    terminal.sendintr()
    terminal.expect("thenodes>")

    terminal.send("version\r")

    terminal.expect("TheNodes 0")


def test_ctrl_c_gives_up_a_line_that_was_begun(terminal: pexpect.spawn[str]) -> None:
    terminal.send("quit and more")
    terminal.expect("and more")
    terminal.sendintr()
    terminal.send("version\r")

    terminal.expect("TheNodes 0")


def test_a_terminal_that_is_closed_ends_the_node(
    terminal: pexpect.spawn[str], tmp_path: Path
) -> None:
    # Not its own close, which sends signals as well.
    terminal.ptyproc.fileobj.close()

    wait_until(lambda: not terminal.isalive(), "the node to end")
    assert (terminal.exitstatus, terminal.signalstatus) == (0, None)
    assert not (tmp_path / "terminal" / "control.sock").exists()


def test_twenty_columns_and_another_size_meanwhile_leave_it_usable(tmp_path: Path) -> None:
    child = spawn(*RUN, "--state-dir", str(tmp_path / "narrow"), rows=8, columns=20)
    child.expect("thenodes>")
    child.send("kvstore\r")
    child.expect("kvstore> ")
    child.send("put a 1\r")
    child.expect("stored a = 1")
    child.setwinsize(3, 12)
    child.send("/version\r")
    child.expect("TheNodes 0")
    child.setwinsize(40, 120)
    child.send("exit\rversion\r")
    child.expect("thenodes>.*TheNodes 0")
    child.send("quit\r")
    child.expect("Stop this node")
    child.send("y\r")
    child.expect(pexpect.EOF)
    child.wait()

    assert child.exitstatus == 0


def test_a_dumb_terminal_gets_lines_without_escape_sequences(tmp_path: Path) -> None:
    child = spawn(*RUN, "--state-dir", str(tmp_path / "dumb"), TERM="dumb")
    child.expect("thenodes> ")
    seen = [str(child.before)]
    for line, answer in (
        ("kvstore", "thenodes/kvstore> "),
        ("put a \x1b[31mred", "thenodes/kvstore> "),
        ("exit", "thenodes> "),
        ("events --follow", "listens on"),
    ):
        child.sendline(line)
        child.expect(answer)
        seen.append(str(child.before))
    child.sendintr()
    child.expect("thenodes> ")
    child.sendeof()
    child.expect(r"Stop this node\? \[y/N\] ")
    seen.append(str(child.before))
    child.sendline("y")
    child.expect(pexpect.EOF)
    child.wait()

    assert child.exitstatus == 0
    assert "\x1b" not in "".join(seen)
    assert "\\x1b[31mred" in "".join(seen)


def test_without_colours_nothing_is_coloured(tmp_path: Path) -> None:
    child = spawn(*RUN, "--state-dir", str(tmp_path / "plain"), NO_COLOR="1")
    child.expect("thenodes>")
    seen = str(child.before)
    child.send("kvs")
    child.expect("enter its shell")
    seen += str(child.before)
    child.close(force=True)

    # 3x, 4x, 9x and 10x choose colours.
    assert not re.search(r"\x1b\[([0-9;]*;)?(3[0-8]|4[0-8]|9[0-7]|10[0-7])(;[0-9;]*)?m", seen)


def test_a_line_of_a_megabyte_is_taken_and_a_longer_one_refused(tmp_path: Path) -> None:
    start = "kvstore put a "
    longest = start + "x" * (1024 * 1024 - len(start))
    lines = f"{longest}\n{longest}x\nversion\nquit\ny\n"

    done = thenodes(*RUN, "--state-dir", str(tmp_path / "state"), stdin=lines)

    first, second, third = done.stdout.splitlines()
    assert first.startswith("not stored: key and value have 1048563 bytes")
    assert second == "error: a line of more than 1048576 bytes"
    assert third.startswith("TheNodes ")


def test_a_megabyte_typed_at_a_terminal_does_not_hold_up_the_node(
    terminal: pexpect.spawn[str], tmp_path: Path
) -> None:
    terminal.send(f"\x1b[200~version {'x' * 1024 * 1024}\x1b[201~")
    started = time.monotonic()
    status = data_of("status", "--state-dir", str(tmp_path / "terminal"))

    assert status["peers"] == []
    assert time.monotonic() - started < 10
    terminal.sendintr()


def test_a_terminal_that_nobody_reads_does_not_hold_up_the_node(
    terminal: pexpect.spawn[str], tmp_path: Path
) -> None:
    # Echoed, drawn and answered, that is several times what a terminal holds.
    for _ in range(60):
        terminal.send(f"trust {'x' * 900}\r")

    assert data_of("status", "--state-dir", str(tmp_path / "terminal"))["peers"] == []
    terminal.send("version\r")
    terminal.expect("TheNodes 0")


def test_json_at_the_prompt_is_for_machines(tmp_path: Path) -> None:
    done = thenodes(*RUN, "--state-dir", str(tmp_path / "state"), stdin="plugins --json\nquit\ny\n")

    assert [plugin["id"] for plugin in json.loads(done.stdout)] == ["kvstore"]


def test_an_answer_that_nobody_reads_ends_a_node_at_a_pipe(tmp_path: Path) -> None:
    command = " ".join([*THENODES, *RUN, "--state-dir", str(tmp_path / "state")])

    output, _ = pexpect.run(
        f'/bin/sh -c "yes status | {command} 2>{tmp_path}/errors | head -n 1"',
        withexitstatus=True,
        timeout=15,
    )

    assert output.startswith(b"node")
    wait_until(lambda: not (tmp_path / "state" / "control.sock").exists(), "the node to end")
    assert "Traceback" not in (tmp_path / "errors").read_text()


FIRST = "This is a new node."


def test_the_first_start_tells_in_five_lines_what_was_made_and_the_next_does_not(
    tmp_path: Path,
) -> None:
    options = ("run", "--prompt", "--port", "0", "--state-dir", str(tmp_path / "fresh"))

    first, second = (thenodes(*options, stdin="quit\ny\n") for _ in range(2))

    begin = first.stderr.index(FIRST)
    lines = first.stderr[begin:].splitlines()[:5]
    node_id = data_of("identity", "show", "--state-dir", str(tmp_path / "fresh"))["node_id"]
    assert [line.split()[0] for line in lines[1:]] == ["made", "id", "listening", "next"]
    assert node_id in lines[2]
    assert f"thenodes attach --state-dir {tmp_path / 'fresh'}" in lines[4]
    assert FIRST not in second.stderr
    assert first.stdout == second.stdout == ""


def test_the_first_start_at_a_terminal_tells_it_before_the_prompt(tmp_path: Path) -> None:
    child = spawn("run", "--prompt", "--port", "0", "--state-dir", str(tmp_path / "fresh"))
    child.expect("thenodes>")
    child.close(force=True)

    assert FIRST in plain(child.before)


@pytest.mark.parametrize("options", [(), ("--log-format", "json")])
def test_a_first_start_for_machines_tells_them_nothing_but_json(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    command = [*THENODES, "run", "--port", "0", "--state-dir", str(tmp_path / "fresh"), *options]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as node:
        assert node.stderr is not None
        first = node.stderr.readline()
        node.send_signal(signal.SIGINT)
        rest = node.stderr.read()

    assert all(json.loads(line) for line in [first, *rest.splitlines()])


def test_a_node_that_a_file_configures_is_no_surprise(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text("port = 0\n")

    done = thenodes(
        "run",
        "--prompt",
        "--config",
        str(tmp_path / "node.toml"),
        "--state-dir",
        str(tmp_path / "fresh"),
        stdin="quit\ny\n",
    )

    assert FIRST not in done.stderr
