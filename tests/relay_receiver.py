"""A node that uses relays, in a process of its own: it is killed, or frozen.

As a script: `relay_receiver.py STATE_DIR LOG HOLD_AFTER RELAY…`. What reaches its plugin is a
line of LOG at once, so that a kill leaves it; the plugin never ends with what comes after the
first HOLD_AFTER messages.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from thenodes_core import Config, DiscoveryTable, NetworkTable, Node, NodeTable, RelayTable
from thenodes_core.control.client import ask
from thenodes_core.errors import NoNode
from thenodes_plugin_api import Message, Plugin, PluginContext, Text

__all__ = ["NEVER", "Arrival", "Receiver"]

_LOGGED = 100
NEVER = 10**9
"""Hold nothing."""


class Arrival(NamedTuple):
    """What reached the plugin; of a long text its first 100 characters."""

    text: str
    redelivered: bool


class Receiver:
    """The process.

    Args:
        folder: where its state directory and logs are.
        addresses: of the relays.
    """

    def __init__(self, folder: Path, addresses: list[str]) -> None:
        self.state_dir = folder / "receiver"
        self.node_id = ""
        self._folder, self._addresses = folder, addresses
        self._lives = 0
        self._log: Path
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self, *, hold_after: int = NEVER) -> None:
        """Begin a life of it, and wait until it answers."""
        # Here, since a script that is run has no package.
        from .relay_hub import until

        self._begin(hold_after)
        await until(self._is_up, "the receiver", 15)

    def _begin(self, hold_after: int) -> None:
        self._lives += 1
        self._log = self._folder / f"receiver-{self._lives}.log"
        self._log.touch()
        words = [str(self.state_dir), str(self._log), str(hold_after), *self._addresses]
        self.process = subprocess.Popen([sys.executable, __file__, *words])

    async def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the receiver has ended"
        try:
            self.node_id = str((await self.ask("status"))["node_id"])
        except NoNode:
            return False
        return True

    async def ask(self, line: str) -> Any:
        """The data of a command's answer."""
        return (await ask(self.state_dir, line)).data

    async def counter(self, name: str) -> int:
        """One of its counters."""
        return int((await self.ask("status"))["counters"].get(name, 0))

    def arrivals(self) -> list[Arrival]:
        """What reached the plugin in this life."""
        whole_lines = self._log.read_text().rpartition("\n")[0].splitlines()
        return [Arrival(*json.loads(line)) for line in whole_lines]

    def kill(self) -> None:
        """End it as a crash does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def freeze(self) -> None:
        """Let it read nothing; its connections stay."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


class _Recorder(Plugin):
    abi = 1

    def __init__(self, log: int, hold_after: int) -> None:
        self._log = log
        self._left = hold_after

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        if not isinstance(message.body, Text) or message.payload is None:
            return
        arrival = Arrival(message.payload.as_text()[:_LOGGED], message.redelivered)
        os.write(self._log, json.dumps(arrival).encode() + b"\n")
        self._left -= 1
        if self._left < 0:
            await asyncio.Event().wait()


async def _main(state_dir: str, log: str, hold_after: str, *addresses: str) -> None:
    config = Config(
        port=0,
        node=NodeTable(state_dir=state_dir),
        discovery=DiscoveryTable(enabled=False),
        network=NetworkTable(relay=RelayTable(use=addresses, selection="rendezvous")),
    )
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    recorder = _Recorder(descriptor, int(hold_after))
    async with Node(config, plugins={"recorder": recorder}):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
