"""What looking costs: `thenodes top` on a node with many sessions, in shares of a core."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import random
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thenodes_core import Config, Node, NodeTable

from .clients import Client, raise_descriptor_limit
from .result import Far, Row, report

__all__ = ["hold", "measure"]

_WARM_SECONDS = 2.0
_AT_ONCE = 50


async def hold(state_dir: Path) -> None:
    """Be the far process: a node with a control socket, until it is ended."""
    raise_descriptor_limit(10_000)
    config = Config(port=0, node=NodeTable(state_dir=str(state_dir)))
    async with Node(config) as node:
        report({"port": int(node.address.rpartition(":")[2])})
        await node.wait_stopped()


def measure(sessions: int, seconds: float, runs: int) -> list[Row]:
    """Per cent of a core: the node without and with somebody who looks, in turn, and who looks.

    Each peer sends a message a second.
    """
    if not Path("/proc/self/schedstat").exists():
        raise SystemExit("benchmarks top: expected /proc/*/schedstat, which tells what is computed")
    raise_descriptor_limit(sessions + 100)
    with tempfile.TemporaryDirectory() as directory, Far(directory, "top-far") as far:
        found = asyncio.run(_measure(far, Path(directory), sessions, seconds, runs))
    medians = {what: statistics.median(values) for what, values in found.items()}
    rows: list[Row] = [
        {"what": f"{what}, % of a core", "value": medians[what], "values": values}
        for what, values in found.items()
    ]
    costs = [one - other for one, other in zip(found[_LOOKED], found[_ALONE], strict=True)]
    cost = statistics.median(costs)
    rows.append({"what": "top costs the node, % of a core", "value": cost, "values": costs})
    return rows


_ALONE, _LOOKED, _CLIENT = "node, nobody looks", "node, somebody looks", "thenodes top itself"


async def _measure(
    far: Far, state_dir: Path, sessions: int, seconds: float, runs: int
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {_ALONE: [], _LOOKED: [], _CLIENT: []}
    few_at_once = asyncio.Semaphore(_AT_ONCE)
    clients = [await _join(far, few_at_once) for _ in range(sessions)]
    work = [asyncio.create_task(_be_a_peer(client)) for client in clients]
    for number in range(runs):
        sys.stderr.write(f"\rrun {number + 1} of {runs}, {sessions} sessions          ")
        (alone,) = await _shares(seconds, far.pid)
        with _looking(state_dir) as client:
            looked, own = await _shares(seconds, far.pid, client)
        found[_ALONE].append(alone)
        found[_LOOKED].append(looked)
        found[_CLIENT].append(own)
    sys.stderr.write("\n")
    lost = sum(task.done() for task in work)
    for task in work:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)
    if lost:
        raise RuntimeError(f"{lost} of {sessions} sessions were lost")
    return found


async def _join(far: Far, few_at_once: asyncio.Semaphore) -> Client:
    async with few_at_once:
        client = await Client.open(far.port, "thenodes.v1.json")
        await client.join_proven()
        return client


async def _be_a_peer(client: Client) -> None:
    """Send a message a second, and read everything in between."""
    await asyncio.sleep(random.random())
    reading = asyncio.create_task(_read(client))
    try:
        while not reading.done():
            client.send({"EXTENSION": {"kind": "bench.news"}}, {"type": "Text", "value": "x" * 64})
            await asyncio.sleep(1.0)
    finally:
        reading.cancel()
        client.close()


async def _read(client: Client) -> None:
    with contextlib.suppress(OSError, EOFError):
        while True:
            await client.receive()


async def _shares(seconds: float, *pids: int) -> list[float]:
    """How much processes compute, in per cent of a core."""
    await asyncio.sleep(_WARM_SECONDS)
    before = [_computed(pid) for pid in pids]
    await asyncio.sleep(seconds)
    return [100 * (_computed(pid) - then) / seconds for pid, then in zip(pids, before, strict=True)]


def _computed(pid: int) -> float:
    """Seconds that a process has computed, to the nanosecond: the sum of its threads."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


@contextmanager
def _looking(state_dir: Path) -> Iterator[int]:
    """Run `thenodes top` on a terminal of its own; gives its process."""
    terminal, own = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "thenodes_cli", "top", "--state-dir", str(state_dir)],
        stdin=own,
        stdout=own,
        stderr=own,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
    )
    os.close(own)
    shown: list[bytes] = []
    reader = threading.Thread(target=_drain, args=(terminal, shown), daemon=True)
    reader.start()
    try:
        yield process.pid
        if process.poll() is not None:
            raise RuntimeError(f"thenodes top ended with {process.returncode}")
    finally:
        process.terminate()
        process.wait(timeout=10)
        reader.join(timeout=10)
        os.close(terminal)
    if b"peers  loop late" not in b"".join(shown):
        raise RuntimeError("thenodes top has shown nothing")


def _drain(terminal: int, shown: list[bytes]) -> None:
    # The end of the other side is an error on Linux.
    with contextlib.suppress(OSError):
        while data := os.read(terminal, 65536):
            shown.append(data)
