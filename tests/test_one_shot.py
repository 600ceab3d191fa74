"""One-shot commands as processes: what they print, where it goes, and how they end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pexpect
import pytest

from thenodes_core.control.questions import CONTROL_SOCKET

from .conftest import StartNode
from .nodes import DEADLINE_SECONDS, THENODES, fails, thenodes, wait_until


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[Path]:
    """The directory of a control socket that goes on answering."""
    process = subprocess.Popen([sys.executable, "-m", "tests.answering", str(tmp_path)])
    try:
        wait_until((tmp_path / "control.sock").exists, "the control socket")
        yield tmp_path
    finally:
        process.kill()
        process.wait()


def start(*words: str, **more: object) -> subprocess.Popen[str]:
    """Start a command whose output is read while it runs."""
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        [*THENODES, *words],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **{"stdout": subprocess.PIPE, **more},
    )


def asked(directory: Path, *words: str) -> Sequence[str]:
    return ("exec", "--state-dir", str(directory), *words)


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and errors, once it ended by itself."""
    code = process.wait(DEADLINE_SECONDS)
    with process:
        assert process.stderr is not None
        return code, process.stderr.read()


def closed_pipe() -> int:
    """The writing end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def test_answers_that_go_on_are_printed_as_they_come(answering: Path) -> None:
    done = thenodes(*asked(answering, "count", "3"))

    assert done.stdout == "".join(f"number {n}\\x1b[2J\n" for n in (1, 2, 3))


def test_with_json_each_of_many_answers_is_one_line(answering: Path) -> None:
    many = thenodes(*asked(answering, "count", "2", "--json")).stdout
    one = thenodes("exec", "--json", "--state-dir", str(answering), "count").stdout

    assert [json.loads(line) for line in many.splitlines()] == [{"number": 1}, {"number": 2}]
    assert json.loads(one) == {"words": []}


def test_an_output_that_was_closed_ends_a_stream_in_order(answering: Path) -> None:
    process = start(*asked(answering, "count", "1000000"))
    first_line(process)
    assert process.stdout is not None

    process.stdout.close()

    assert ended(process) == (0, "")


def test_an_output_that_was_closed_ends_a_stream_that_says_nothing_more(answering: Path) -> None:
    process = start(*asked(answering, "count", "1", "wait"))
    first_line(process)
    assert process.stdout is not None

    process.stdout.close()

    assert ended(process) == (0, "")


@pytest.mark.parametrize("word", ["status", "much"])
def test_an_output_that_nobody_reads_ends_a_command_without_a_word(
    answering: Path, word: str
) -> None:
    writing = closed_pipe()

    process = start(*asked(answering, word), stdout=writing)
    os.close(writing)

    assert ended(process) == (1, "")


def test_help_and_errors_that_nobody_reads_end_the_same_way(answering: Path) -> None:
    for words in (("--help",), ("status", "--help"), ("no-such",), asked(answering, "no-such")):
        writing = closed_pipe()
        process = subprocess.Popen([*THENODES, *words], stdout=writing, stderr=writing)
        os.close(writing)

        assert process.wait(DEADLINE_SECONDS) == 1, words


def test_ctrl_c_ends_a_stream_in_order(answering: Path) -> None:
    process = start(*asked(answering, "count", "1", "wait"))
    first_line(process)

    process.send_signal(signal.SIGINT)

    assert ended(process) == (0, "")


def test_ctrl_c_while_waiting_for_an_answer_is_told_by_the_exit_code(answering: Path) -> None:
    process = start(*asked(answering, "wait"))
    wait_until(lambda: _connected(process.pid), "the command to ask")

    process.send_signal(signal.SIGINT)

    # The line end comes after the ^C that a terminal shows.
    assert ended(process) == (130, "\n")


def test_somebody_at_a_terminal_is_told_that_there_is_no_answer_yet(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / CONTROL_SOCKET))
        silent.listen()
        words = [*THENODES[1:], "status", "--state-dir", str(tmp_path)]
        child = pexpect.spawn(THENODES[0], words, encoding="utf-8", timeout=15)

        child.expect("no answer yet; Ctrl-C gives up")
        child.sendintr()
        child.expect(pexpect.EOF)
        child.close()

    assert child.exitstatus == 130


def _connected(pid: int) -> bool:
    folder = Path(f"/proc/{pid}/fd")
    sockets = [os.readlink(path) for path in folder.iterdir() if path.is_symlink()]
    return len([name for name in sockets if name.startswith("socket:")]) > 2


def test_a_node_that_dies_ends_a_stream_with_an_error(answering: Path) -> None:
    process = start(*asked(answering, "count", "2", "die"))

    code, error = ended(process)

    assert code == 1
    assert error == (f"error: the node on {answering} has stopped, or closed the connection\n")


def test_the_events_of_a_node_end_with_whoever_reads_them(start_node: StartNode) -> None:
    node = start_node("node")
    process = start("events", "--follow", "--json", "--state-dir", str(node.state_dir))
    event = json.loads(first_line(process))
    assert process.stdout is not None

    process.stdout.close()

    assert (event["type"], event["action"]) == ("system", "started")
    assert ended(process) == (0, "")


def test_the_events_of_a_node_that_stops_end_with_an_error(start_node: StartNode) -> None:
    node = start_node("node")
    process = start("events", "--follow", "--state-dir", str(node.state_dir))
    first_line(process)

    assert node.stop()[0] == 0

    code, error = ended(process)
    assert (code, "has stopped" in error) == (1, True)


def test_where_no_node_runs_the_way_out_is_told(tmp_path: Path) -> None:
    for words in (("status",), ("plugin", "enable", "my"), ("relay", "status")):
        code, error = fails(*words, "--state-dir", str(tmp_path))

        assert code == 1
        assert error.startswith(f"error: no node runs on {tmp_path}; start one with: thenodes run")


def test_the_socket_of_a_node_that_was_killed_is_no_node_and_the_next_one_takes_it(
    start_node: StartNode,
) -> None:
    killed = start_node("node")
    killed.stop(signal.SIGKILL)
    assert (killed.state_dir / "control.sock").exists()

    code, error = fails("status", "--state-dir", "node")
    started = start_node("node")

    assert (code, error.partition(";")[0]) == (1, "error: no node runs on node")
    assert started.status()["node_id"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("peeers",), "no command 'peeers'; did you mean peers?"),
        (("kvstore", "get", "a"), "where it is a plugin's: thenodes exec kvstore get a"),
        (("kvstore", "a", "--state-dir", "x"), "thenodes exec --state-dir x kvstore a"),
        (("kvstore", "\x1b[2J"), r"thenodes exec kvstore '\x1b[2J'"),
        (("trust", "promot"), "no command 'promot'; did you mean promote?"),
        (("status", "now"), "no node runs on data"),
    ],
)
def test_a_command_that_there_is_not_is_told_with_what_is_near(
    words: Sequence[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert expected in fails(*words)[1]


HEAVY = "{'cryptography', 'prompt_toolkit', 'sqlite3', 'tomlkit', 'websockets'}"


def loads(*words: str) -> str:
    """Which of the heavy modules a command loads."""
    script = (
        "import sys\n"
        "from thenodes_cli.app import app\n"
        f"app.main({list(words)!r}, standalone_mode=False)\n"
        f"print(*({HEAVY} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=True
    )
    return done.stderr.strip()


def test_neither_the_overview_nor_asking_loads_what_it_does_not_need(answering: Path) -> None:
    assert loads("--help") == ""
    for name in ("status", "peers", "plugins", "trust observed"):
        assert loads(*name.split(), "--state-dir", str(answering)) == "", name
