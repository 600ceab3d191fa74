"""Wrong input: one clear line, the right exit code, and a node that lives on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from .conftest import StartNode
from .nodes import KVSTORE, THENODES, RunningNode, thenodes, wait_until


def fails(*words: str) -> tuple[int, str]:
    done = thenodes(*words, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr.strip().splitlines()[-1]


def test_a_taken_port_is_named_with_the_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        code, error = fails("run", "--port", str(port), "--state-dir", str(tmp_path / "state"))

    assert code == 1
    assert error == (
        f"error: cannot listen on 127.0.0.1:{port}: "
        "the port is taken by another program; choose another with --port"
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("prot = 1", "unknown key prot; did you mean port?"),
        ("[node]\nstatedir = 'x'", "unknown key node.statedir; did you mean node.state_dir?"),
        ("port = 'x'", "port: Expected `int`, got `str`"),
        ("port = 70000", "port: Expected `int` <= 65535"),
        ("port = ", "not TOML: Invalid value (at end of document)"),
    ],
)
def test_a_wrong_config_names_file_key_and_way_out(
    tmp_path: Path, content: str, expected: str
) -> None:
    file = tmp_path / "node.toml"
    file.write_text(content)

    assert fails("run", "--config", str(file)) == (2, f"error: {file}: {expected}")


def test_a_config_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"

    code, error = fails("run", "--config", str(missing))

    assert (code, error) == (2, f"error: {missing}: cannot be read: No such file or directory")


def test_a_wrong_option_is_a_usage_error() -> None:
    assert fails("run", "--port", "70000")[0] == 2
    assert fails("no-such-command")[0] == 2


def test_a_bootstrap_address_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    state = str(tmp_path / "state")

    code, error = fails("run", "--port", "0", "--state-dir", state, "--bootstrap", "nowhere")

    assert code == 2
    assert "'nowhere' has no port: expected host:port" in error


def test_listening_beyond_loopback_without_tls_needs_allow_plaintext(tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    config.write_text("[encryption]\nenabled = false\n")

    code, error = fails("run", "--host", "0.0.0.0", "--config", str(config))

    assert code == 2
    assert "set encryption.allow_plaintext = true" in error


def test_a_second_node_on_a_state_directory_is_refused_with_the_pid(
    start_node: StartNode,
) -> None:
    node = start_node("only")

    code, error = fails("run", "--port", "0", "--state-dir", str(node.state_dir))

    assert code == 1
    assert f"in use by the node of process {node.process.pid}" in error


def test_asking_where_no_node_runs_says_how_to_start_one(tmp_path: Path) -> None:
    code, error = fails("status", "--state-dir", str(tmp_path))

    assert code == 1
    assert error.endswith(f"start one with: thenodes run --state-dir {tmp_path}")


def test_a_wrong_prompt_command_is_a_usage_error(start_node: StartNode) -> None:
    node = start_node("only")

    code, error = fails("exec", "--state-dir", str(node.state_dir), "peeers")

    meant = "error: unknown command 'peeers'; did you mean peers? help lists what there is"
    assert (code, error) == (2, meant)


def test_a_plugin_that_raises_on_import_is_listed_and_harms_no_other(
    start_node: StartNode, tmp_path: Path
) -> None:
    package = tmp_path / "broken" / "broken_plugin"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('not today')\n")
    (package / "thenodes-plugin.toml").write_text(
        'manifest = 1\n[plugin]\nid = "broken"\nversion = "1"\n'
        'entry = "broken_plugin:register_plugin"\nabi = 1\n'
    )

    node = start_node("only", "--plugin", str(tmp_path / "broken"), "--plugin", str(KVSTORE))

    plugins = {plugin["id"]: plugin for plugin in node.status()["plugins"]}
    assert plugins["kvstore"]["state"] == "running"
    assert plugins["broken"]["state"] == "rejected"
    raised = "TN-P060: import raised RuntimeError at __init__.py:1: not today;"
    assert plugins["broken"]["detail"].startswith(raised)


def test_a_peer_of_another_realm_is_refused_and_both_say_so(start_node: StartNode) -> None:
    first = start_node("first", "--realm", "home")
    second = start_node("second", "--realm", "work", "--bootstrap", first.status()["listening"])
    wait_until(lambda: "expected realm" in second.status()["dialling"][0]["error"], "the refusal")

    assert second.status()["dialling"][0]["error"].endswith(
        "realm (here): expected realm work/1.0, got home/1.0"
    )
    _, told = first.stop()
    assert "expected realm work/1.0, got home/1.0" in told
    assert first.process.returncode == 0


def test_garbage_bytes_are_reported_and_the_node_lives_on(start_node: StartNode) -> None:
    node = start_node("only")
    host, _, port = node.status()["listening"].partition(":")

    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"\x00\xff garbage \r\n\r\n")
        connection.settimeout(5)
        while connection.recv(1024):
            pass

    assert node.status()["counters"]["connections_refused"] == 1
    assert "refused a connection from 127.0.0.1" in node.stop()[1]


def join_as_json(node: RunningNode, frame: bytes | str) -> ConnectionClosedError:
    """Send one frame where HELLO is expected; returns how the node ended the connection."""
    url = f"ws://{node.status()['listening']}"
    with connect(url, subprotocols=[Subprotocol("thenodes.v1.json")], compression=None) as peer:
        assert '"HELLO"' in str(peer.recv(5))
        try:
            peer.send(frame)
            while True:
                peer.recv(5)
        except ConnectionClosedError as ended:
            return ended


def test_a_frame_of_garbage_ends_only_that_session(start_node: StartNode) -> None:
    node = start_node("only")

    ended = join_as_json(node, '{"from": 1}')

    assert ended.rcvd is not None
    assert (ended.rcvd.code, ended.rcvd.reason) == (4000, "protocol")
    assert node.status()["counters"]["sessions_refused.protocol"] == 1
    assert "JSON envelope: Expected `str`, got `int`" in node.stop()[1]


def test_an_oversized_frame_ends_only_that_session(start_node: StartNode) -> None:
    node = start_node("only")

    ended = join_as_json(node, "x" * 20_000)

    assert ended.rcvd is not None
    assert ended.rcvd.code == 1009
    assert node.status()["peers"] == []
    assert "exceeds limit of 16384 bytes" in node.stop()[1]


def test_json_for_machines_is_json_and_nothing_else(start_node: StartNode) -> None:
    node = start_node("only")
    command = ("exec", "--state-dir", str(node.state_dir), "--json", "version")

    assert thenodes(*command).stdout.startswith('{\n  "version": "0.1.0"')


def test_sigterm_while_a_pipe_stays_open_ends_the_node(tmp_path: Path) -> None:
    state = tmp_path / "state"
    process = subprocess.Popen(
        [*THENODES, "run", "--prompt", "--port", "0", "--state-dir", str(state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_until((state / "control.sock").exists, "the node to start")

    process.terminate()

    process.communicate(timeout=5)
    assert process.returncode == 0


def write_plugin(tmp_path: Path, body: str) -> Path:
    """Write a plugin of the id and prefix `odd` with these lines in its class; returns its tree."""
    package = tmp_path / "odd" / "odd_plugin"
    package.mkdir(parents=True)
    (package / "thenodes-plugin.toml").write_text(
        'manifest = 1\n[plugin]\nid = "odd"\nversion = "1"\n'
        'entry = "odd_plugin:register_plugin"\nabi = 1\n[prompt]\nprefix = "odd"\n'
    )
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    (package / "__init__.py").write_text(
        "import asyncio, time\nfrom thenodes_plugin_api import Plugin\n"
        f"class Odd(Plugin):\n    abi = 1\n    prompt_prefix = 'odd'\n{lines}\n"
        "def register_plugin(api):\n    api.register_plugin(Odd())\n"
    )
    return tmp_path / "odd"


@contextmanager
def shell(script: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run `thenodes` through a shell: `"$@"` in the script stands for it."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", script, "sh", *THENODES, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_plugin_command_that_fails_is_no_usage_error(
    start_node: StartNode, tmp_path: Path
) -> None:
    plugin = write_plugin(tmp_path, "async def on_prompt(self, line, ctx):\n    1 / 0")
    node = start_node("only", "--plugin", str(plugin))

    code, error = fails("exec", "--state-dir", str(node.state_dir), "odd", "x")

    assert code == 1
    assert error.startswith("error: plugin odd failed: ZeroDivisionError")
    assert fails("exec", "--state-dir", str(node.state_dir), "peers", "x")[0] == 2


def test_a_prompt_without_an_input_is_a_clear_error(tmp_path: Path) -> None:
    words = ("run", "--prompt", "--port", "0", "--state-dir", str(tmp_path / "state"))

    with shell('exec "$@" <&-', *words) as process:
        _, errors = process.communicate(timeout=15)

    assert process.returncode == 1
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == (
        "error: a prompt needs an input, and standard input is closed"
    )


def test_a_node_without_stderr_runs_all_the_same(tmp_path: Path) -> None:
    state = tmp_path / "state"

    with shell('exec "$@" 2>&-', "run", "--port", "0", "--state-dir", str(state)) as process:
        wait_until((state / "control.sock").exists, "the node to start")
        thenodes("status", "--state-dir", str(state))
        process.terminate()
        process.communicate(timeout=15)

    assert process.returncode == 0


def test_a_node_goes_on_where_nobody_reads_its_log_any_more(start_node: StartNode) -> None:
    first = start_node("first", "--plugin", str(KVSTORE))
    second = start_node(
        "second", "--plugin", str(KVSTORE), "--bootstrap", first.status()["listening"]
    )
    wait_until(first.peers, "the nodes to connect")
    assert first.process.stderr is not None
    first.process.stderr.close()

    for number in range(3):
        second.exec("kvstore", "put", f"key{number}", "value")
    wait_until(lambda: first.exec("kvstore", "get", "key2") == "key2 = value", "the last put")

    assert first.status()["counters"].get("plugin_faults.kvstore", 0) == 0
    first.process.terminate()
    assert first.process.wait(timeout=15) == 0


def test_the_home_directory_is_found_however_the_state_directory_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    with shell('exec "$@"', "run", "--port", "0", "--state-dir=~/x") as process:
        wait_until((tmp_path / "x" / "control.sock").exists, "the node to start")
        status = json.loads(thenodes("status", "--state-dir=~/x", "--json").stdout)

    assert status["pid"] == process.pid
    assert not (tmp_path / "~").exists()


def test_json_holds_nothing_that_a_terminal_obeys(start_node: StartNode) -> None:
    node = start_node("only", "--plugin", str(KVSTORE))
    command = ("exec", "--state-dir", str(node.state_dir))
    thenodes(*command, "kvstore", "put", "key", "a\u009bb\u202ec")

    output = thenodes(*command, "--json", "kvstore", "get", "key").stdout

    assert "a\\u009bb\\u202ec" in output
    assert json.loads(output) == {"answer": "key = a\u009bb\u202ec"}


def test_a_value_that_the_output_cannot_show_does_not_end_the_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    run = ("run", "--prompt", "--port", "0", "--plugin", str(KVSTORE))
    lines = "kvstore put key \N{BALLOON}\nkvstore get key\nversion\nquit\ny\n"

    done = thenodes(*run, "--state-dir", str(tmp_path / "state"), stdin=lines)

    answers = done.stdout.splitlines()
    assert answers[1] == r"key = \U0001f388"
    assert answers[2].startswith("TheNodes ")


STUBBORN = """
async def {hook}:
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
"""
SPAWNING = """
async def on_start(self, ctx):
    ctx.spawn(self.work())
"""
BLOCKING = """
async def work(self):
    await asyncio.to_thread(time.sleep, 30)
"""


@pytest.mark.parametrize(
    "body",
    [
        SPAWNING + STUBBORN.format(hook="work(self)"),
        STUBBORN.format(hook="on_stop(self, ctx)"),
        SPAWNING + BLOCKING,
    ],
    ids=["spawned work", "on_stop", "a thread"],
)
def test_sigterm_ends_a_node_in_time_whatever_its_plugin_does(
    start_node: StartNode, tmp_path: Path, body: str
) -> None:
    node = start_node("only", "--plugin", str(write_plugin(tmp_path, body)))
    assert node.status()["plugins"][0]["state"] == "running"

    started = time.monotonic()
    code, errors = node.stop()

    assert time.monotonic() - started < 2.5
    assert (code, "Traceback" in errors) == (0, False)


def test_a_table_for_a_plugin_that_is_not_loaded_is_told(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text("[plugin.ghost]\nsize = 1\n")

    done = thenodes(
        *("run", "--prompt", "--port", "0", "--config", str(file)),
        *("--state-dir", str(tmp_path / "state")),
        stdin="quit\ny\n",
    )

    assert "[plugin.ghost] is set, but no such plugin is loaded" in done.stderr


def test_a_closed_terminal_stops_the_node_in_order(tmp_path: Path) -> None:
    state = tmp_path / "state"
    command = [*THENODES[1:], "run", "--port", "0", "--state-dir", str(state)]
    child = pexpect.spawn(THENODES[0], command, timeout=15)
    child.expect("listens on")

    os.close(child.child_fd)

    assert os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1]) == 0
    log = (state / "logs" / "events.jsonl").read_text()
    assert "the node is stopping" in log


def test_a_terminal_that_is_stopped_holds_up_nobody(tmp_path: Path) -> None:
    state = tmp_path / "state"
    command = [*THENODES[1:], "run", "--port", "0", "--state-dir", str(state)]
    child = pexpect.spawn(THENODES[0], command, timeout=15)
    child.expect("listens on")
    child.sendcontrol("s")
    port = json.loads(thenodes("status", "--state-dir", str(state), "--json").stdout)["listening"]

    for _ in range(30):
        # Each is told in a line of its own.
        with socket.create_connection(("127.0.0.1", int(port.rpartition(":")[2]))) as stranger:
            stranger.sendall(b"nonsense\r\n\r\n")
    status = thenodes("status", "--state-dir", str(state), "--json").stdout

    assert json.loads(status)["listening"] == port
    child.kill(signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1]) == 0


def test_a_pipe_that_nobody_reads_holds_up_nobody() -> None:
    code = (
        "import logging, sys\n"
        "from thenodes_cli.console import Console\n"
        "from thenodes_cli.log_lines import LogFormat, LogRecords\n"
        "console = Console(sys.stderr)\n"
        "log = logging.getLogger('flood')\n"
        "log.addHandler(LogRecords(console, LogFormat.TEXT))\n"
        "for number in range(20_000):\n"
        "    log.warning('line %d %s', number, 'x' * 80)\n"
        "console.close()\n"
        "print('done')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as flooding:
        assert flooding.stdout is not None
        assert flooding.stderr is not None
        assert flooding.stdout.readline() == "done\n"
        assert flooding.wait(15) == 0
        assert flooding.stderr.readline().endswith(f"line 0 {'x' * 80}\n")


@pytest.mark.parametrize("seconds", ["nan", "-1", "soon"])
def test_a_drain_takes_a_number_of_seconds(seconds: str) -> None:
    code, error = fails("run", "--drain-seconds", seconds, "--port", "0")

    assert code == 2
    assert "Invalid value for '--drain-seconds'" in error


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("words", [("--help",), ("config", "show"), ("version", "--json")])
def test_output_for_which_there_is_no_room_is_told_in_one_line(words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*THENODES, *words], stdout=full, stderr=subprocess.PIPE, text=True)

    assert done.returncode == 1
    assert done.stderr == "error: cannot write the output: No space left on device\n"
