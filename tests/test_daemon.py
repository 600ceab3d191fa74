"""A node as a service runs it: its lines on a pipe, floods of events, and the service manager."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from .nodes import THENODES, data_of, thenodes, wait_until, with_config

EVENTS = 100_000
RATE = 10_000

MANIFEST = """
manifest = 1
[plugin]
id = "odd"
version = "1"
entry = "odd_plugin:register_plugin"
abi = 1
[prompt]
prefix = "odd"
"""

PLUGIN = '''
import asyncio, logging, time
from thenodes_plugin_api import Plugin, PluginEvent

class Odd(Plugin):
    abi = 1
    prompt_prefix = "odd"

    async def on_prompt(self, line, ctx):
        verb, _, number = line.partition(" ")
        if verb == "flood":
            ctx.spawn(self.flood(ctx, int(number)), name="flood")
        elif verb == "hold":
            ctx.spawn(self.hold(float(number)), name="hold")
        elif verb == "log":
            ctx.logger.debug("a word")
            ctx.logger.warning("a warning")
        return "begun"

    async def flood(self, ctx, count):
        """So many events, as many a second as the test says."""
        began, number = time.monotonic(), 0
        while number < count:
            due = min(count, int((time.monotonic() - began) * RATE))
            for number in range(number, due):
                ctx.events.emit(PluginEvent(plugin="odd", action="flood", detail=f"<{number}>"))
            number = due
            await asyncio.sleep(0.01)
        ctx.events.emit(PluginEvent(plugin="odd", action="flood_over"))

    async def hold(self, seconds):
        await asyncio.sleep(0.2)
        time.sleep(seconds)

def register_plugin(api):
    api.register_plugin(Odd())
'''.replace("RATE", str(RATE))

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    package = tmp_path / "odd" / "odd_plugin"
    package.mkdir(parents=True)
    (package / "thenodes-plugin.toml").write_text(MANIFEST)
    (package / "__init__.py").write_text(PLUGIN)
    return package.parent


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def start(state: Path, plugin: Path) -> Iterator[Start]:
    """Starts a node as a process, whose stderr goes where the test says; all are ended."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(
        *options: str, stderr: int = subprocess.PIPE, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        words = ("run", "--port", "0", "--state-dir", str(state), "--plugin", str(plugin))
        process = subprocess.Popen(
            [*THENODES, *words, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env={**os.environ, **(env or {})},
        )
        running.append(process)
        wait_until((state / "control.sock").exists, "the node to start")
        return process

    yield begin
    for process in running:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def ask(state: Path, *words: str) -> str:
    return thenodes("exec", "--state-dir", str(state), *words).stdout.strip()


def ended(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int:
    process.send_signal(number)
    return process.wait(15)


def logged(state: Path) -> list[dict[str, Any]]:
    """Every event of the JSON log, that of its old files first."""
    files = sorted((state / "logs").glob("events.jsonl*"), reverse=True)
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


class Reading(threading.Thread):
    """Reads a descriptor to its end, and remembers how many lines came in which second."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(daemon=True)
        self._descriptor = descriptor
        self.data = b""
        self.lines_by_second: dict[int, int] = {}
        self.start()

    def run(self) -> None:
        while True:
            try:
                got = os.read(self._descriptor, 65536)
            except OSError:
                return
            if not got:
                return
            self.data += got
            second = int(time.monotonic())
            lines = self.lines_by_second.get(second, 0) + got.count(b"\n")
            self.lines_by_second[second] = lines

    @property
    def lines(self) -> list[str]:
        return self.data.decode(errors="replace").replace("\r", "").splitlines()


def rows(process: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    """The JSON lines that a process wrote that has ended."""
    assert process.stderr is not None
    text = process.stderr.read().decode()
    assert "\x1b" not in text
    return [json.loads(line) for line in text.splitlines()]


def test_on_a_pipe_events_and_log_records_are_json_lines_of_one_shape(
    start: Start, state: Path
) -> None:
    process = start()
    ask(state, "odd", "log")
    assert ended(process) == 0

    lines = rows(process)
    assert all({"type", "level", "at"} <= line.keys() for line in lines)
    events = [line for line in lines if line["type"] != "log"]
    assert events == [row for row in logged(state) if row["level"] != "debug"]
    (record,) = [line for line in lines if line["type"] == "log"]
    assert (record["logger"], record["detail"]) == ("thenodes.plugin.odd", "a warning")


def test_a_prompt_and_the_operator_may_have_it_otherwise(start: Start, state: Path) -> None:
    process = start("--log-format", "text")
    assert ended(process) == 0
    assert process.stderr is not None
    assert b" info    the node is stopping\n" in process.stderr.read()

    done = thenodes("run", "--prompt", "--port", "0", "--state-dir", str(state), stdin="quit\ny\n")
    assert " info    the node is stopping\n" in done.stderr


def test_a_level_is_changed_while_the_node_runs(start: Start, state: Path) -> None:
    process = start()
    before = thenodes("log", "level", "--state-dir", str(state)).stdout
    told = thenodes("log", "level", "debug", "thenodes.odd", "--state-dir", str(state)).stdout
    ask(state, "odd", "log")
    data = data_of("log", "level", "--state-dir", str(state))
    assert ended(process) == 0

    assert before == "shown from info on\n"
    assert told == "log records of thenodes.plugin.odd from debug on\n"
    assert data == {"level": "info", "loggers": {"thenodes.plugin.odd": "debug"}}
    records = [line["detail"] for line in rows(process) if line["type"] == "log"]
    assert records == ["a word", "a warning"]


@pytest.mark.timeout(90)
def test_of_a_flood_the_terminal_shows_what_can_be_followed_and_the_log_has_all_of_it(
    start: Start, state: Path, tmp_path: Path
) -> None:
    ours, theirs = pty.openpty()
    config = with_config(tmp_path / "node.toml", "[logging]\njson_rotate = 9\n")
    process = start(*config, stderr=theirs)
    os.close(theirs)
    reading = Reading(ours)

    ask(state, "odd", "flood", str(EVENTS))
    longest = 0.0
    while not any(row["action"] == "flood_over" for row in last_rows(state)):
        began = time.monotonic()
        data_of("status", "--state-dir", str(state))
        longest = max(longest, time.monotonic() - began)
    assert ended(process) == 0
    reading.join(5)
    os.close(ours)

    flood = [row["detail"] for row in logged(state) if row.get("action") == "flood"]
    assert flood == [f"<{number}>" for number in range(EVENTS)]
    assert not [row for row in logged(state) if row.get("action") == "events_dropped"]
    shown = [line for line in reading.lines if "[odd] <" in line]
    assert len(shown) < 3000
    assert max(reading.lines_by_second.values()) <= 350
    skipped = [line for line in reading.lines if "lines were skipped" in line]
    assert sum(int(line.partition(" ")[0].lstrip("\x1b[3m")) for line in skipped) > 0
    assert "events.jsonl has every event" in skipped[0]
    # A whole process that asks: most of it is the start of Python.
    assert longest < 5


def last_rows(state: Path) -> list[dict[str, Any]]:
    lines = (state / "logs" / "events.jsonl").read_text().splitlines()[-3:]
    return [row for line in lines if line.endswith("}") for row in [json.loads(line)]]


@pytest.mark.timeout(60)
def test_a_pipe_of_json_that_nobody_reads_holds_up_nothing(start: Start, state: Path) -> None:
    process = start()
    ask(state, "odd", "flood", "30000")

    wait_until(
        lambda: any(row["action"] == "flood_over" for row in last_rows(state)),
        "the flood to be in the log",
    )
    assert data_of("status", "--state-dir", str(state))["node_id"]
    assert ended(process) == 0


class Manager:
    """A service manager's end of NOTIFY_SOCKET."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._path))
        self.messages: list[str] = []

    def env(self, *, watchdog_seconds: float) -> dict[str, str]:
        usec = str(int(watchdog_seconds * 1e6))
        return {"NOTIFY_SOCKET": str(self._path), "WATCHDOG_USEC": usec}

    def close(self) -> None:
        self._socket.close()

    def wait(self, text: str, *, seconds: float = 15) -> str:
        """The next message that has this in it."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            message = self._next(left)
            if message is not None and text in message:
                return message
        raise AssertionError(f"no {text} within {seconds} s, but {self.messages}")

    def pings(self, seconds: float) -> int:
        """How many signs of life come in that time."""
        deadline, count = time.monotonic() + seconds, 0
        while (left := deadline - time.monotonic()) > 0:
            count += self._next(left) == "WATCHDOG=1"
        return count

    def _next(self, seconds: float) -> str | None:
        ready, _, _ = select.select([self._socket], [], [], seconds)
        if not ready:
            return None
        message = self._socket.recv(4096).decode()
        self.messages.append(message)
        return message


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    one = Manager(tmp_path)
    yield one
    one.close()


def test_a_service_manager_is_told_each_state(
    start: Start, manager: Manager, tmp_path: Path
) -> None:
    config = with_config(tmp_path / "node.toml", "")
    process = start(*config, env=manager.env(watchdog_seconds=60))

    ready = manager.wait("READY=1")
    assert "STATUS=no peers; " in ready
    assert "listens on 127.0.0.1:" in ready
    process.send_signal(signal.SIGHUP)
    assert "MONOTONIC_USEC=" in manager.wait("RELOADING=1")
    manager.wait("READY=1")
    assert ended(process) == 0
    manager.wait("STOPPING=1")


def test_signs_of_life_stop_where_a_plugin_holds_the_event_loop(
    start: Start, manager: Manager, state: Path
) -> None:
    start(env=manager.env(watchdog_seconds=0.2))
    manager.wait("READY=1")
    assert manager.pings(1.0) >= 5

    ask(state, "odd", "hold", "4")
    wait_until(lambda: manager.pings(0.5) == 0, "the pings to stop")
    assert manager.pings(1.0) == 0

    assert manager.wait("WATCHDOG=1")
