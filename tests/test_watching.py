"""`thenodes ping` and `thenodes top` against nodes that run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from contextlib import closing

import pexpect
import pytest

from .conftest import StartNode
from .nodes import DEADLINE_SECONDS, THENODES, RunningNode, data_of, fails, thenodes, wait_until

Two = tuple[RunningNode, RunningNode]


@pytest.fixture
def two(start_node: StartNode) -> Two:
    one = start_node("one")
    other = start_node("other", "--bootstrap", f"127.0.0.1:{one.port}")
    wait_until(lambda: other.node_id in one.connected(), "the peer")
    return one, other


def of(node: RunningNode, *words: str) -> tuple[str, ...]:
    return (*words, "--state-dir", str(node.state_dir))


def on_terminal(
    node: RunningNode, *, columns: int = 80, rows: int = 24, term: str = "xterm"
) -> pexpect.spawn[str]:
    return pexpect.spawn(
        THENODES[0],
        [*THENODES[1:], *of(node, "top")],
        dimensions=(rows, columns),
        encoding="utf-8",
        timeout=DEADLINE_SECONDS,
        env={**os.environ, "TERM": term},
    )


def test_a_peer_of_another_process_is_pinged(two: Two) -> None:
    one, other = two

    lines = thenodes(*of(one, "ping", other.node_id, "2")).stdout.splitlines()

    assert [bool(re.fullmatch(rf"\d  {other.node_id}: \d+\.\d\d ms", line)) for line in lines] == [
        True,
        True,
        False,
    ]
    assert lines[-1].startswith("2 of 2 answered: min ")


def test_a_frozen_peer_is_told_to_answer_nothing(two: Two) -> None:
    one, other = two
    node_id = other.node_id
    other.process.send_signal(signal.SIGSTOP)
    try:
        done = thenodes(*of(one, "ping", node_id, "1"), check=False)
    finally:
        other.process.send_signal(signal.SIGCONT)

    assert done.returncode == 1
    assert done.stdout == f"1  {node_id}: no answer within 5 s\n"
    assert "answered no ping" in done.stderr


def test_who_is_not_there_is_a_clear_error(two: Two) -> None:
    code, said = fails(*of(two[0], "ping", "nobody"))

    assert (code, "nobody" in said, "Traceback" in said) == (1, True, False)


def test_the_round_trip_and_the_traffic_of_a_session_are_seen_once(two: Two) -> None:
    one, other = two

    def measured() -> bool:
        (session,) = data_of(*of(one, "top", "--once"))["sessions"]
        return bool(session["node_id"] == other.node_id and session["rtt_seconds"])

    wait_until(measured, "a round trip")


def test_in_a_pipe_there_is_a_block_a_second_and_no_escape_sequence(two: Two) -> None:
    process = subprocess.Popen(
        [*THENODES, *of(two[0], "top")], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    with closing(process.stdout) as output:
        lines = [output.readline() for _ in range(18)]
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_SECONDS) == 0

    assert "\x1b" not in "".join(lines)
    heads = [at for at, line in enumerate(lines) if "1 peer  loop late by" in line]
    assert len(heads) >= 2
    assert lines[heads[1] - 1] == "\n"


def test_as_json_there_is_an_object_a_line(two: Two) -> None:
    process = subprocess.Popen(
        [*THENODES, *of(two[0], "top", "--json")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with closing(process.stdout) as output:
        samples = [json.loads(output.readline()) for _ in range(2)]
    assert process.wait(DEADLINE_SECONDS) == 0

    assert samples[0]["at"] < samples[1]["at"]
    assert samples[0]["session_count"] == 1


@pytest.mark.parametrize(
    "end",
    [
        lambda child: child.send("q"),
        lambda child: child.sendintr(),
        lambda child: child.kill(signal.SIGTERM),
    ],
    ids=["q", "Ctrl-C", "SIGTERM"],
)
def test_on_a_terminal_it_draws_in_place_and_leaves_it_as_it_was(
    two: Two, end: Callable[[pexpect.spawn[str]], object]
) -> None:
    child = on_terminal(two[0], columns=40, rows=12)
    child.expect("1 peer  loop late by")
    drawn = child.before or ""
    child.expect_exact("\x1b[H")

    end(child)

    child.expect(pexpect.EOF)
    assert "\x1b[?1049h" in drawn
    assert "\x1b[?25h\x1b[?1049l" in (child.before or "")
    child.close()
    assert child.exitstatus == 0


def test_a_dumb_terminal_gets_lines_alone(two: Two) -> None:
    child = on_terminal(two[0], term="dumb")
    child.expect("1 peer  loop late by")
    child.expect("1 peer  loop late by")
    assert "\x1b" not in (child.before or "")

    child.sendintr()

    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_a_node_that_stops_meanwhile_is_told_on_the_terminal_as_it_was(two: Two) -> None:
    child = on_terminal(two[0])
    child.expect("1 peer  loop late by")

    two[0].stop()

    child.expect_exact("\x1b[?1049l")
    child.expect("has stopped")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 1
