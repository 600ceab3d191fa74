"""Hostile peers against one real node with tight limits: each is cut, and others are served."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from thenodes_core.limits import Limits
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.frame import make_head, pack
from thenodes_plugin_api import Body, Disconnect, Heartbeat, Hello, Message, Realm, Reason

from .nodes import RunningNode, stop_all, wait_until

CONFIG = """
[discovery]
enabled = false

[encryption.trust_policy]
require_identity = false

[limits]
max_sessions = 2
max_handshakes = 8
handshake_bytes = 4096
handshake_seconds = 0.8
heartbeat_seconds = 0.5
control_per_second = 2
close_seconds = 0.3
"""

CODEC = BinaryCodec(Limits())
BINARY = Subprotocol("thenodes.v1.bin")
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: thenodes.v1.bin\r\n\r\n"
)
PING = b"\x89\x80\x00\x00\x00\x00"
HEARTBEAT = CODEC.encode(Message(Heartbeat()))
UNKNOWN = pack(make_head(200, 0, b""), b"")


class Target:
    """The node under attack."""

    def __init__(self, node: RunningNode) -> None:
        self.node = node
        self.port = int(node.status()["listening"].rpartition(":")[2])

    def open(self) -> ClientConnection:
        """A WebSocket connection on which nothing was said yet."""
        return connect(
            f"ws://127.0.0.1:{self.port}", subprotocols=[BINARY], compression=None, proxy=None
        )

    @contextlib.contextmanager
    def joined(self, node_id: str) -> Iterator[ClientConnection]:
        """The connection of a peer that was admitted; not used, it is cut as silent."""
        with self.open() as connection:
            connection.recv(timeout=5)
            connection.send(hello(node_id))
            assert connection.recv(timeout=5) == HEARTBEAT
            yield connection

    @contextlib.contextmanager
    def raw(self, *said: bytes) -> Iterator[socket.socket]:
        """A bare connection on which something was said."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as client:
            for data in said:
                client.sendall(data)
            yield client

    def events(self, action: str) -> list[dict[str, Any]]:
        """What the node logged."""
        lines = (self.node.state_dir / "logs" / "events.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event.get("action") == action]

    def left(self, node_id: str) -> str:
        """Why a peer left, once it has."""

        def endings() -> list[str]:
            found = [e for e in self.events("peer_left") if e.get("node_id") == node_id]
            return [event["detail"] for event in found]

        wait_until(endings, f"the end of {node_id}")
        return endings()[-1]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One node for all tests of this file: it must outlive every one of them."""
    directory: Path = tmp_path_factory.mktemp("target")
    file = directory / "node.toml"
    file.write_text(CONFIG)
    node = RunningNode(directory / "state", "--config", str(file))
    try:
        target = Target(node)
        yield target
        assert node.status()["counters"].get("internal_errors", 0) == 0
        assert "Traceback" not in node.stop()[1]
    finally:
        stop_all([node])


def hello(node_id: str) -> bytes:
    realm = Realm("default", "default", "1.0")
    return CODEC.encode(Message(Hello(node_id, realm=realm, instance=node_id.encode()[:16])))


def masked(data: bytes, *, opcode: int = 2) -> bytes:
    """A client's WebSocket frame."""
    length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2)
    return bytes([0x80 | opcode]) + length + bytes(4) + data


def told(connection: ClientConnection) -> tuple[list[Body], int, str]:
    """Everything that comes until the connection ends, and how it ends."""
    bodies: list[Body] = []
    while True:
        try:
            data = connection.recv(timeout=5)
        except ConnectionClosed as closed:
            if closed.rcvd is None:
                raise
            return bodies, closed.rcvd.code, closed.rcvd.reason
        assert isinstance(data, bytes)
        bodies += [m.body for m in CODEC.decode(data) if isinstance(m, Message)]


def seconds_until_cut(client: socket.socket, dribble: bytes = b"") -> float:
    """How long the node keeps a bare connection on which a byte comes now and then."""
    begin = time.monotonic()
    client.settimeout(0.1)
    while time.monotonic() < begin + 5:
        try:
            if dribble:
                client.sendall(dribble)
            if not client.recv(65536):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - begin


def test_a_peer_that_falls_silent_is_cut(target: Target) -> None:
    with target.raw(UPGRADE, masked(hello("frozen"))) as client:
        why = target.left("frozen")

        assert why == "frozen left: timeout (here): no sign of life for 1.5 s"
        assert seconds_until_cut(client) < 1


def test_a_peer_that_floods_with_pings_and_never_reads_is_cut(target: Target) -> None:
    pings = masked(bytes(125), opcode=9) * 500
    with target.raw(UPGRADE, masked(hello("flood"))) as client:
        client.settimeout(0.5)
        sent, deadline = 0, time.monotonic() + 10
        with contextlib.suppress(OSError):
            while time.monotonic() < deadline:
                sent += client.send(pings)

        assert "flood left: " in target.left("flood")
    assert sent < 64 * 1024 * 1024


@pytest.mark.parametrize(
    "garbage",
    [b"garbage", b"\xff" * 100, bytes(8), hello("again"), "text where bytes are spoken"],
    ids=["words", "lengths", "zeros", "a second HELLO", "text"],
)
def test_a_peer_that_sends_garbage_is_refused_and_another_is_served(
    target: Target, garbage: bytes | str
) -> None:
    with target.joined("bystander") as bystander:
        with target.joined("babbler") as babbler:
            babbler.send(garbage)
            _, code, reason = told(babbler)
        with target.joined("next"):
            pass
        bystander.send(HEARTBEAT)
        bystander.ping().wait(5)

    assert (code, reason) == (4000, "protocol")


@pytest.mark.parametrize("garbage", [b"garbage", HEARTBEAT, bytes(900)])
def test_a_stranger_that_sends_garbage_instead_of_hello_is_refused(
    target: Target, garbage: bytes
) -> None:
    with target.open() as connection:
        connection.send(garbage)
        bodies, code, _ = told(connection)

    assert code == 4000
    assert isinstance(bodies[-1], Disconnect)
    assert bodies[-1].reason is Reason.BAD_FRAME


def test_a_stranger_that_sends_more_than_a_handshake_needs_is_cut(target: Target) -> None:
    with target.open() as connection:
        connection.send(bytes(5000))
        _, code, _ = told(connection)

    assert code == 1009


@pytest.mark.parametrize(
    "dribble", [b"", b"X-Slow: x\r\n"], ids=["silence", "a header now and then"]
)
def test_a_request_that_never_ends_is_cut(target: Target, dribble: bytes) -> None:
    with target.raw(b"GET / HTTP/1.1\r\nHost: x\r\n") as client:
        assert 0.5 < seconds_until_cut(client, dribble) < 3


@pytest.mark.parametrize("dribble", [b"", PING], ids=["silence", "a ping now and then"])
def test_a_stranger_that_never_says_hello_is_cut(target: Target, dribble: bytes) -> None:
    with target.raw(UPGRADE) as client:
        assert 0.5 < seconds_until_cut(client, dribble) < 3


def test_a_stranger_that_never_says_hello_is_told_why(target: Target) -> None:
    with target.open() as connection:
        bodies, code, reason = told(connection)

    assert (code, reason) == (4010, "timeout")
    assert bodies[-1] == Disconnect(Reason.TIMEOUT, "handshake not complete within 0.8 s")


def test_strangers_that_say_nothing_do_not_keep_others_out_for_long(target: Target) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(target.raw(b"GET"))
        wait_until(lambda: is_admitted(target), "a place")


def is_admitted(target: Target) -> bool:
    try:
        with target.joined("patient"):
            return True
    except (OSError, WebSocketException):
        return False


def test_one_peer_too_many_is_told_when_to_come_back(target: Target) -> None:
    with target.joined("first"), target.joined("second"), target.open() as third:
        third.recv(timeout=5)
        third.send(hello("third"))
        bodies, code, reason = told(third)

    assert (code, reason) == (4006, "overloaded")
    (disconnect,) = bodies
    assert isinstance(disconnect, Disconnect)
    assert (disconnect.reason, disconnect.retry_after) == (Reason.OVERLOAD, 10.0)


def test_a_peer_that_restarts_is_admitted_to_a_full_node(target: Target) -> None:
    realm = Realm("default", "default", "1.0")
    again = CODEC.encode(Message(Hello("returns", realm=realm, instance=b"a second life")))
    with target.joined("returns") as former, target.joined("stays"), target.open() as connection:
        connection.recv(timeout=5)
        connection.send(again)

        assert connection.recv(timeout=5) == HEARTBEAT
        assert told(former)[1:] == (4004, "replaced")


@pytest.mark.parametrize(
    "flood",
    [[HEARTBEAT] * 40, [HEARTBEAT * 40], [UNKNOWN] * 40],
    ids=["heartbeats", "heartbeats in one message", "unknown kinds"],
)
def test_a_peer_that_floods_the_node_itself_is_told_to_come_back_later(
    target: Target, flood: list[bytes]
) -> None:
    with target.joined("busy") as connection:
        with contextlib.suppress(ConnectionClosed):
            for data in flood:
                connection.send(data)
        bodies, code, reason = told(connection)

    assert (code, reason) == (4008, "rate-limited")
    (disconnect,) = [body for body in bodies if isinstance(body, Disconnect)]
    assert (disconnect.reason, disconnect.retry_after) == (Reason.RATE_LIMITED, 30.0)
