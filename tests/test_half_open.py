"""2,000 strangers that begin and never finish: the oldest go, memory is bounded, others get in."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from thenodes_core.descriptors import raise_descriptor_limit

from .nodes import RunningNode, stop_all, wait_until, with_config
from .stranger import Stranger

CROWD = 2000
TLS_CROWD = 1000
AT_ONCE = 50
# The default of limits.max_handshakes.
PLACES = 512
# What half-open connections may cost a node at the most, in MiB. Of each with TLS asyncio
# keeps a buffer of 256 KiB.
MOST_GROWTH = 48
MOST_TLS_GROWTH = 240
# Nobody is to go because his time is over.
ALONE = "[discovery]\nenabled = false\n\n[limits]\nhandshake_seconds = 60\n"
TLS = f"{ALONE}\n[encryption]\nenabled = true\n"

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: thenodes.v1.bin\r\n\r\n"
)
# The header of a TLS record, and not what it announces.
HALF_A_CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00"


class HalfOpen(asyncio.Protocol):
    """A connection on which something is said, and nothing more after the answer.

    Args:
        first: what is said at once.
        answer: what the other side's HELLO is answered with; empty for nothing.
        expects_hello: whether one is waited for.
    """

    def __init__(self, first: bytes, answer: bytes = b"", *, expects_hello: bool = True) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self.lost = False
        self._first, self._answer, self._expects_hello = first, answer, expects_hello
        self._came = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._first)
        if not self._expects_hello:
            self.done.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._came += data
        _, end, frame = self._came.partition(b"\r\n\r\n")
        if end and len(frame) > 4 and not self.done.done():
            # The node's HELLO: longer than 125 bytes, and so with a length of two.
            assert frame[:2] == b"\x82\x7e"
            if len(frame) >= 4 + int.from_bytes(frame[2:4]):
                self.transport.write(self._answer)
                self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if not self.done.done():
            self.done.set_result(None)


class Crowd:
    """Strangers that come, in a thread of its own, and stay until they are cut.

    Args:
        port: where they go.
        make: makes the one of a number.
    """

    def __init__(self, port: int, make: Callable[[int], HalfOpen]) -> None:
        self._port, self._make = port, make
        self._members: list[HalfOpen] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def come(self, count: int) -> None:
        """Let more come, and wait until all have heard what they wait for."""
        asyncio.run_coroutine_threadsafe(self._come(count), self._loop).result(50)

    def lost(self) -> Sequence[bool]:
        """Of each, in the order of their coming, whether it was cut."""
        return [member.lost for member in self._members]

    def leave(self) -> None:
        """Let all go."""
        asyncio.run_coroutine_threadsafe(self._leave(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _come(self, count: int) -> None:
        loop = asyncio.get_running_loop()
        while count > 0:
            numbers = range(len(self._members), len(self._members) + min(AT_ONCE, count))
            opened = await asyncio.gather(
                *(
                    loop.create_connection(lambda n=n: self._make(n), "127.0.0.1", self._port)  # type: ignore[misc]  # bound at once
                    for n in numbers
                )
            )
            new = [member for _, member in opened]
            self._members += new
            await asyncio.gather(*(member.done for member in new))
            count -= len(new)

    async def _leave(self) -> None:
        for member in self._members:
            member.transport.abort()
        await asyncio.sleep(0)


class Besieged:
    """A node that is overrun, and others that want to reach it."""

    def __init__(self, folder: Path, config: str) -> None:
        self._folder, self._options = folder, with_config(folder / "node.toml", config)
        self.node = RunningNode(folder / "node", *self._options)
        self.port = self.node.port
        self.nodes = [self.node]

    def memory(self) -> float:
        """What the node holds of main memory, in MiB."""
        status = Path(f"/proc/{self.node.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) / 1024

    def admits(self, name: str) -> None:
        """See that a node that is started now gets in."""
        address = f"127.0.0.1:{self.port}"
        peer = RunningNode(self._folder / name, *self._options, "--bootstrap", address)
        self.nodes.append(peer)
        wait_until(peer.connected, f"{name} to be admitted")
        assert peer.node_id in self.node.connected()


@contextmanager
def besieged(folder: Path, config: str) -> Iterator[Besieged]:
    scene = Besieged(folder, config)
    try:
        yield scene
        assert scene.node.counter("internal_errors") == 0
        code, errors = scene.node.stop()
        assert code == 0
        assert "Traceback" not in errors
    finally:
        stop_all(scene.nodes)


@contextmanager
def crowd(port: int, make: Callable[[int], HalfOpen]) -> Iterator[Crowd]:
    gathered = Crowd(port, make)
    try:
        yield gathered
    finally:
        gathered.leave()


def masked(data: bytes) -> bytes:
    """A client's WebSocket frame of 126 to 65,535 bytes."""
    return b"\x82\xfe" + len(data).to_bytes(2) + bytes(4) + data


def never_proving(number: int) -> HalfOpen:
    """Every second one says HELLO, with a key, and none proves it."""
    return HalfOpen(UPGRADE, masked(Stranger().hello()) if number % 2 else b"")


@pytest.fixture(autouse=True)
def _many_descriptors() -> None:
    if raise_descriptor_limit() < CROWD + 200:
        pytest.skip("this process may not open as many connections")


def oldest_are_cut(lost: Sequence[bool], places: int = PLACES) -> bool:
    """Whether those went that came first; of those that came together, any."""
    gone = len(lost) - places
    return all(lost[: gone - 2 * AT_ONCE]) and not any(lost[gone + 2 * AT_ONCE :])


def test_2000_half_finished_handshakes_harm_nobody(tmp_path: Path) -> None:
    with besieged(tmp_path, ALONE) as scene, crowd(scene.port, never_proving) as strangers:
        scene.admits("early")
        before = scene.memory()

        strangers.come(CROWD // 2)
        rest = threading.Thread(target=strangers.come, args=[CROWD // 2])
        rest.start()
        scene.admits("during")
        rest.join()
        assert len(strangers.lost()) == CROWD
        growth = scene.memory() - before

        wait_until(lambda: sum(strangers.lost()) >= CROWD - PLACES, "the oldest to be cut")
        # Who is honest has a place, too, for as long as it shakes hands.
        cut = scene.node.counter("sessions_refused.crowded_out")
        assert CROWD - PLACES <= cut <= CROWD - PLACES + 2
        assert oldest_are_cut(strangers.lost())
        assert growth < MOST_GROWTH

        scene.admits("late")
        assert len(scene.node.connected()) == 3


def test_hundreds_that_never_finish_tls_harm_nobody(tmp_path: Path) -> None:
    def never_securing(number: int) -> HalfOpen:
        first = HALF_A_CLIENT_HELLO if number % 2 else b""
        return HalfOpen(first, expects_hello=False)

    with besieged(tmp_path, TLS) as scene, crowd(scene.port, never_securing) as strangers:
        scene.admits("early")
        before = scene.memory()

        strangers.come(TLS_CROWD)
        wait_until(lambda: sum(strangers.lost()) >= TLS_CROWD - PLACES, "the oldest to be cut")
        growth = scene.memory() - before
        assert scene.node.counter("connections_refused") == TLS_CROWD - PLACES
        assert oldest_are_cut(strangers.lost())
        assert growth < MOST_TLS_GROWTH

        scene.admits("late")
        assert len(scene.node.connected()) == 2
        assert sum(strangers.lost()) >= TLS_CROWD - PLACES + 1
        refused = scene.node.logged(action="connection_refused")
        assert f"{PLACES} newer ones are being opened" in refused[0]["detail"]
