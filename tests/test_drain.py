"""SIGTERM lets a node finish what it has begun: nothing that waited is lost, and it is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from .conftest import StartNode
from .nodes import THENODES, RunningNode, wait_until
from .relay_hub import Hub, hubs, until
from .relay_users import User, users

MANIFEST = """
manifest = 1
[plugin]
id = "slow"
version = "1"
entry = "slow_plugin:register_plugin"
abi = 1
[prompt]
prefix = "slow"
"""

# Takes a moment for each text, and keeps it in a file; sends as many as it is asked for.
PLUGIN = """
import asyncio
from thenodes_plugin_api import Payload, Plugin, Text

class Slow(Plugin):
    abi = 1
    prompt_prefix = "slow"

    async def on_start(self, ctx):
        if seconds := ctx.config.get("start_seconds"):
            (ctx.data_dir / "starting").touch()
            await asyncio.sleep(seconds)
        self.file = ctx.data_dir / "had"
        self.seconds = ctx.config.get("seconds", 0.0)

    async def on_message(self, message, ctx):
        if isinstance(message.body, Text):
            if self.seconds:
                await asyncio.sleep(self.seconds)
            with self.file.open("a") as had:
                had.write(f"{len(message.payload.data)}\\n")

    async def on_prompt(self, line, ctx):
        verb, *rest = line.split()
        if verb == "send":
            count, size = map(int, rest)
            for peer in ctx.peers.all():
                for number in range(count):
                    await ctx.send(peer.node_id, Text(""), Payload.text("x" * size))
        return verb

def register_plugin(api):
    api.register_plugin(Slow())
"""


@pytest.fixture
def plugin(tmp_path: Path) -> str:
    package = tmp_path / "slow" / "slow_plugin"
    package.mkdir(parents=True)
    (package / "thenodes-plugin.toml").write_text(MANIFEST)
    (package / "__init__.py").write_text(PLUGIN)
    return str(package.parent)


@pytest.fixture
def pair(start_node: StartNode, plugin: str, tmp_path: Path) -> Pair:
    return Pair(start_node, plugin, tmp_path)


class Pair:
    """Two nodes that are connected: one sends, the other takes its time."""

    def __init__(self, start_node: StartNode, plugin: str, folder: Path) -> None:
        self._start = start_node
        self._plugin = plugin
        self._folder = folder
        self.taker: RunningNode
        self.sender: RunningNode

    def begin(self, *options: str, seconds: float = 0.0) -> None:
        config = self._folder / "taker.toml"
        config.write_text(f"[plugin.slow]\nseconds = {seconds}\n")
        plugin = ("--plugin", self._plugin)
        self.taker = self._start("taker", "--config", str(config), *plugin, *options)
        address = f"127.0.0.1:{self.taker.port}"
        self.sender = self._start("sender", "--bootstrap", address, *plugin, *options)
        wait_until(self.sender.connected, "the nodes to connect")

    def had(self) -> int:
        """How many texts the taker's plugin has had."""
        with contextlib.suppress(FileNotFoundError):
            return len((self.taker.state_dir / "plugins" / "slow" / "had").read_text().split())
        return 0


def details(node: RunningNode, action: str) -> list[str]:
    return [event["detail"] for event in node.events(action=action)]


def test_what_is_in_a_plugins_inbox_is_done_before_the_node_ends(pair: Pair) -> None:
    pair.begin(seconds=0.02)
    pair.sender.ask("slow send 60 10")
    wait_until(pair.had, "the first of them")
    assert pair.had() < 50

    code, _ = pair.taker.stop()

    assert (code, pair.had()) == (0, 60)
    assert details(pair.taker, "draining")
    assert details(pair.taker, "drained")


def test_what_is_queued_for_a_peer_is_sent_before_the_node_ends(pair: Pair) -> None:
    pair.begin()
    pair.taker.process.send_signal(signal.SIGSTOP)
    # More than a socket holds, so that it waits in the node.
    pair.sender.ask("slow send 100 60000")

    pair.sender.process.terminate()
    wait_until(lambda: details(pair.sender, "draining"), "the drain to begin")
    time.sleep(0.5)
    assert pair.sender.process.poll() is None
    pair.taker.process.send_signal(signal.SIGCONT)

    assert pair.sender.process.wait(15) == 0
    wait_until(lambda: pair.had() == 100, "all of them")


def test_a_peer_that_reads_nothing_holds_the_end_up_no_longer_than_it_may(pair: Pair) -> None:
    pair.begin("--drain-seconds", "1")
    pair.taker.process.send_signal(signal.SIGSTOP)
    pair.sender.ask("slow send 100 60000")

    began = time.monotonic()
    code, _ = pair.sender.stop()
    took = time.monotonic() - began

    assert code == 0
    assert 1.0 <= took < 4.5
    (detail,) = details(pair.sender, "drain_cut")
    assert detail.startswith("1 s are up, and not everything is done: ")
    assert detail.endswith("frames unsent to 1 peers")
    pair.taker.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_node_at_once(pair: Pair, second: int) -> None:
    pair.begin(seconds=2.0)
    pair.sender.ask("slow send 20 10")
    pair.taker.process.terminate()
    wait_until(lambda: details(pair.taker, "draining"), "the drain to begin")

    began = time.monotonic()
    code, _ = pair.taker.stop(second)

    assert code == 0
    assert time.monotonic() - began < 1


def test_ctrl_c_does_not_wait_for_inboxes(pair: Pair) -> None:
    pair.begin(seconds=2.0)
    pair.sender.ask("slow send 20 10")

    began = time.monotonic()
    code, _ = pair.taker.stop(signal.SIGINT)

    assert code == 0
    assert time.monotonic() - began < 3
    assert not details(pair.taker, "draining")


def test_sighup_amid_a_drain_reloads_nothing_and_ends_nothing(pair: Pair) -> None:
    pair.begin(seconds=1.0)
    pair.sender.ask("slow send 2 10")
    pair.taker.process.terminate()
    wait_until(lambda: details(pair.taker, "draining"), "the drain to begin")

    code, errors = pair.taker.stop(signal.SIGHUP)

    assert code == 0
    assert pair.had() == 2
    assert "nothing is reloaded: the node is about to stop" in errors
    assert not details(pair.taker, "reloaded")


def test_sighup_amid_a_start_is_heeded_once_the_node_runs(plugin: str, tmp_path: Path) -> None:
    config, state = tmp_path / "node.toml", tmp_path / "state"
    config.write_text("port = 0\n[plugin.slow]\nstart_seconds = 1\n")
    words = ("--config", str(config), "--state-dir", str(state), "--plugin", plugin)
    with subprocess.Popen([*THENODES, "run", *words], stderr=subprocess.PIPE, text=True) as node:
        starting = state / "plugins" / "slow" / "starting"
        wait_until(starting.exists, "the start to begin")
        node.send_signal(signal.SIGHUP)

        log = state / "logs" / "events.jsonl"
        wait_until(lambda: log.exists() and '"reloaded"' in log.read_text(), "the reload")
        node.terminate()
        node.communicate(timeout=15)

    assert node.returncode == 0


def test_a_node_that_drains_is_not_ready_and_still_answers(pair: Pair) -> None:
    pair.begin("--health-port", "0", seconds=0.3)
    url = pair.taker.ask("status")["health"]
    assert readiness(url)[0] == 200
    pair.sender.ask("slow send 10 10")

    pair.taker.process.terminate()
    wait_until(lambda: details(pair.taker, "draining"), "the drain to begin")

    status, told = readiness(url)
    assert status == 503
    assert "draining" in json.dumps(told)
    assert pair.taker.ask("version")
    assert pair.taker.process.wait(15) == 0
    assert pair.had() == 10


def readiness(url: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/readyz", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


class Talk:
    """One user stores numbers for another, one after the other, until it is told to end."""

    def __init__(self, sender: User, receiver: User) -> None:
        self.stored = 0
        self._goes_on = True
        self._sender = sender
        self._to = receiver.node.id
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        while self._goes_on:
            await self._sender.store(self._to, str(self.stored))
            self.stored += 1

    async def end(self) -> None:
        self._goes_on = False
        await self._task


async def test_the_users_of_a_relay_that_drains_have_moved_before_it_ends(tmp_path: Path) -> None:
    first, second = Hub(tmp_path, "first"), Hub(tmp_path, "second")
    addresses = [first.address, second.address]
    async with hubs(first, second), users(addresses, "ann", "ben") as (ann, ben):
        await until(
            lambda: all(len(user.node.peers.all()) == 2 for user in (ann, ben)), "both relays"
        )
        talk = Talk(ann, ben)
        await until(lambda: ben.inbox.count > 20, "them to talk")
        assert await first.carried() > 0
        before = await second.carried()

        first.process.terminate()
        moved = False
        while first.process.poll() is None:
            moved = moved or await second.carried() > before
            await asyncio.sleep(0.02)
        at_end = talk.stored
        await until(lambda: talk.stored > at_end + 20, "them to go on talking")
        await talk.end()
        await until(lambda: ben.inbox.count >= talk.stored, "the last of it")

        assert first.process.returncode == 0
        assert moved
        assert ben.inbox.texts[ann.node.id] == [str(number) for number in range(talk.stored)]
