"""A relay in a process of its own, which is killed, started again, frozen and thawed."""

from __future__ import annotations

import asyncio
import inspect
import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any
from uuid import UUID

from thenodes_core.control.client import ask
from thenodes_core.errors import NoNode

from .nodes import THENODES, with_config

__all__ = ["Hub", "hubs", "memory_mib", "note", "random_of_test", "until"]

_START_SECONDS = 15.0
_POLL_SECONDS = 0.02

_CONFIG = """
host = "127.0.0.1"
port = {port}

[discovery]
enabled = false

[network.relay]
enabled = true
store_forward = true
store_path = "{store}"
{more}
"""


class Hub:
    """A relay with a state directory and a port that it keeps.

    Args:
        folder: where its files are.
        name: of its files.
        more: lines of its table `[network.relay]`.
    """

    def __init__(self, folder: Path, name: str, more: str = "") -> None:
        self.state_dir = folder / name
        self.port = _free_port()
        self._store = folder / f"{name}.sqlite3"
        text = _CONFIG.format(port=self.port, store=self._store, more=more)
        self._options = with_config(folder / f"{name}.toml", text)
        self._errors = folder / f"{name}.errors"
        self.process: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    async def start(self) -> float:
        """Start it, and wait until it answers, or is killed before.

        Returns:
            That moment, of the monotonic clock.
        """
        self._begin()
        await until(self.is_up, f"the relay on {self.address}", _START_SECONDS)
        return time.monotonic()

    def _begin(self) -> None:
        state = ("--state-dir", str(self.state_dir), "--log-level", "error")
        with self._errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [*THENODES, "run", *self._options, *state],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )

    async def is_up(self) -> bool:
        """Whether it answers, or was killed."""
        if self.process.poll() == -signal.SIGKILL:
            return True
        assert self.process.returncode is None, self.errors()
        # One that was killed has left the file of its socket.
        try:
            return bool(await self.ask("status"))
        except NoNode:
            return False

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Let it do nothing; its connections stay."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    async def ask(self, line: str) -> Any:
        """The data of a command's answer."""
        return (await ask(self.state_dir, line)).data

    async def told(self) -> dict[str, Any]:
        """What `relay status` says of the relay."""
        answer: dict[str, Any] = (await self.ask("relay status"))["relay"]
        return answer

    async def counter(self, name: str) -> int:
        """One of the relay's counters, since it started."""
        return int((await self.told())["counters"].get(name, 0))

    async def carried(self) -> int:
        """How many frames it has given to their targets, past its store or from it."""
        counters = (await self.told())["counters"]
        names = ("relay_forwarded", "relay_delivered_from_store")
        return sum(counters.get(name, 0) for name in names)

    async def joined_at(self) -> list[float]:
        """When each session with it began that there is, in Unix seconds."""
        return sorted(peer["connected_at"] for peer in (await self.ask("status"))["peers"])

    async def is_present(self, target: str) -> bool:
        """Whether a node has a session with it, and a mailbox."""
        (found,) = await self.ask(f"relay queue {target}")
        return bool(found["is_present"])

    def memory(self) -> float:
        """What it holds of main memory, in MiB."""
        return memory_mib(self.process.pid)

    def processor_seconds(self) -> float:
        """How long it has used a processor."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stored(self) -> dict[UUID, bool]:
        """The frames on its disk, by message id; of each, whether it was handed over once."""
        with closing(sqlite3.connect(f"file:{self._store}?mode=ro", uri=True)) as store:
            rows = store.execute("SELECT message_id, row IN (SELECT row FROM sent) FROM frames")
            return {UUID(bytes=name): bool(was_sent) for name, was_sent in rows}

    def errors(self) -> str:
        """What it wrote to its terminal, all lives together."""
        return self._errors.read_text()


@asynccontextmanager
async def hubs(*made: Hub) -> AsyncIterator[None]:
    """Start relays; in the end none may have failed, and none is left over."""
    try:
        for hub in made:
            await hub.start()
        yield
        for hub in made:
            assert "Traceback" not in hub.errors(), hub.errors()
    finally:
        for hub in made:
            if hasattr(hub, "process"):
                hub.kill()


async def until(
    condition: Callable[[], object | Awaitable[object]], what: str, seconds: float = 10.0
) -> float:
    """Poll until the condition holds; returns the seconds that took."""
    begun = time.monotonic()
    while True:
        holds = condition()
        if inspect.isawaitable(holds):
            holds = await holds
        waited = time.monotonic() - begun
        if holds:
            return waited
        assert waited < seconds, f"waited {seconds:g} s for {what}"
        await asyncio.sleep(_POLL_SECONDS)


def note(text: str) -> None:
    """Say something that pytest shows where a test fails, and with `-s`."""
    sys.stderr.write(f"{text}\n")


def random_of_test() -> random.Random:
    """Chances that are new in each run; RELAY_SEED has them come as in the run that noted it."""
    seed = os.environ.get("RELAY_SEED", f"{random.randrange(10**9)}")
    note(f"RELAY_SEED={seed}")
    return random.Random(seed)


def memory_mib(pid: int) -> float:
    """What a process holds of main memory, in MiB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
