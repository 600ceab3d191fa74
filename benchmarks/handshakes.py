"""From a dialled address to a proven session: how long, and how many a second."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from thenodes_core import Config, EncryptionTable, Limits, Node
from thenodes_core.clock import SystemClock
from thenodes_core.credentials import Credentials
from thenodes_core.errors import DialError
from thenodes_core.events.counters import Counters
from thenodes_core.events.dispatcher import Dispatcher
from thenodes_core.peers.admission import Admission
from thenodes_core.peers.trust_keeper import TrustKeeper
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.handshake import Handshake, LocalNode
from thenodes_core.protocol.proof import Channel, Role, dialled_bindings
from thenodes_core.protocol.realm import make_realm
from thenodes_core.session.session import Session
from thenodes_core.transport.websocket import WebSocketTransport
from thenodes_plugin_api import Message

from .result import Far, Row, report

__all__ = ["listen", "measure"]

KINDS = ("bare ws", "node ws", "bare wss", "node wss")
_WARM_UP = 10
_AT_ONCE = 16

Close: TypeAlias = Callable[[], Awaitable[None]]


async def listen(kind: str) -> None:
    """Be the far process: accept connections until it is ended."""
    if kind.startswith("node"):
        config = Config(port=0, encryption=EncryptionTable(enabled=kind.endswith("wss")))
        async with Node(config) as node:
            report({"port": int(node.address.rpartition(":")[2])})
            await node.wait_stopped()

    async def handle(connection: ServerConnection) -> None:
        await connection.wait_closed()

    tls = None
    with tempfile.TemporaryDirectory() as folder:
        if kind.endswith("wss"):
            tls = _credentials(Path(folder)).tls.server
        options = {"compression": None, "ping_interval": None, "ssl": tls}
        async with serve(handle, "127.0.0.1", 0, **options) as server:  # type: ignore[arg-type]
            report({"port": server.sockets[0].getsockname()[1]})
            await asyncio.Event().wait()


def measure(count: int, runs: int) -> list[Row]:
    """Milliseconds a connection, one after the other, and connections a second on one core."""
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(runs):
        for kind in KINDS:
            with Far(kind, "handshakes") as far:
                times[kind].append(asyncio.run(_one_by_one(far, kind, count)))
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        # The far process inherits the one core.
        rates = {kind: _rate_of(kind, count) for kind in KINDS}
    finally:
        os.sched_setaffinity(0, cores)
    medians = {kind: statistics.median(values) for kind, values in times.items()}
    return [
        {
            "kind": kind,
            "ms p50": medians[kind],
            "ratio to bare": medians[kind] / medians[f"bare {kind.split()[1]}"],
            "a second, both ends on one core": rates[kind],
            "values": times[kind],
        }
        for kind in KINDS
    ]


def _rate_of(kind: str, count: int) -> float:
    with Far(kind, "handshakes") as far:
        return asyncio.run(_together(far, kind, count))


async def _one_by_one(far: Far, kind: str, count: int) -> float:
    times = []
    with tempfile.TemporaryDirectory() as folder:
        dialling = _Dialling(far, kind, Path(folder))
        for number in range(_WARM_UP + count):
            started = time.perf_counter()
            close = await dialling.connect()
            if number >= _WARM_UP:
                times.append(time.perf_counter() - started)
            await close()
    return statistics.median(times) * 1000


async def _together(far: Far, kind: str, count: int) -> float:
    few_at_once = asyncio.Semaphore(_AT_ONCE)
    with tempfile.TemporaryDirectory() as folder:
        dialling = _Dialling(far, kind, Path(folder))

        async def one() -> None:
            async with few_at_once:
                close = await dialling.connect()
                await close()

        started = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(count)))
        return count / (time.perf_counter() - started)


class _Dialling:
    """Connects as bare websockets, or as a node until its session is proven."""

    def __init__(self, far: Far, kind: str, folder: Path) -> None:
        self._scheme = kind.split()[1]
        self._url = f"{self._scheme}://127.0.0.1:{far.port}"
        self._is_node = kind.startswith("node")
        self._credentials = _credentials(folder)
        self._codec = BinaryCodec(Limits())
        self._transport = WebSocketTransport(Limits(), client_tls=self._credentials.tls)
        self._gate = _gate(folder, self._credentials)

    async def connect(self) -> Close:
        if self._is_node:
            return await self._session()
        tls = self._credentials.tls.unverified if self._scheme == "wss" else None
        connection = await connect(self._url, compression=None, ping_interval=None, ssl=tls)
        return connection.close

    async def _session(self) -> Close:
        credentials, codec = self._credentials, self._codec
        local = LocalNode(
            node_id=credentials.node_id,
            realm=credentials.realm,
            instance=os.urandom(16),
            public_key=credentials.identity.public_key,
            sign=credentials.identity.sign,
            certificate=credentials.certificate.der,
            card=credentials.card,
        )
        link = await self._transport.dial(self._url)
        bindings = dialled_bindings(
            encrypted=link.encrypted, certificate_digest=link.certificate_digest
        )
        channel = Channel(link.subprotocol, bindings)
        handshake = Handshake(
            Role.DIALER,
            local,
            os.urandom(32),
            channel,
            lambda body: codec.encode(Message(body)),
            judge=self._gate.judge(Role.DIALER, link.remote, None),
        )
        session = Session(link, Role.DIALER, handshake, codec, limits=Limits(), clock=SystemClock())
        ending = await session.establish() or session.admit()
        if ending is not None:
            raise DialError(f"{self._url}: {ending}")
        return lambda: link.close(1000, "")


def _gate(folder: Path, credentials: Credentials) -> Admission:
    clock, counters = SystemClock(), Counters()
    events = Dispatcher(counters)
    keeper = TrustKeeper(folder, EncryptionTable(), credentials.realm, events.emit, clock)
    keeper.load()
    return Admission(
        credentials,
        keeper.policy,
        keeper.store,
        keeper.known,
        credentials.realm,
        (),
        events,
        counters,
        clock=clock,
    )


def _credentials(folder: Path) -> Credentials:
    realm = make_realm("default", "1.0")
    return Credentials.load(folder, EncryptionTable(), None, realm, (), SystemClock())
