"""Slow, silent, frozen and flooding peers against a real node, which goes on serving."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from .conftest import StartNode
from .nodes import KVSTORE, RunningNode, wait_until

LIMITS = """
[logging]
json_path = ""
[limits]
max_sessions = 3
max_handshakes = 5
handshake_seconds = 1.0
heartbeat_seconds = 0.5
progress_seconds = 1.0
control_per_second = 3
"""
REALM = {"name": "default", "code": "default", "version": "1.0"}


class Peers:
    """Makes connections to a node by hand."""

    def __init__(self, node: RunningNode, stack: ExitStack) -> None:
        self.host, _, port = node.status()["listening"].rpartition(":")
        self.port = int(port)
        self._stack = stack

    def raw(self) -> socket.socket:
        """A TCP connection."""
        made = socket.create_connection((self.host, self.port), timeout=10)
        return self._stack.enter_context(made)

    def open(self) -> ClientConnection:
        """A WebSocket connection on which nothing was said yet."""
        return self._stack.enter_context(
            connect(
                f"ws://{self.host}:{self.port}",
                subprotocols=["thenodes.v1.json"],  # type: ignore[list-item]
                ping_interval=None,
                close_timeout=0.1,
            )
        )

    def join(self, node_id: str) -> ClientConnection:
        """A session."""
        link = self.open()
        link.recv(timeout=5)
        say(link, {"HELLO": {"node_id": node_id}}, REALM)
        return link


def say(link: ClientConnection, kind: object, realm: object = None) -> None:
    link.send(json.dumps({"from": "", "to": "", "msg_type": kind, "payload": None, "realm": realm}))


def hear(link: ClientConnection) -> tuple[list[Any], int]:
    """What the node says until it ends the session, and the close code."""
    heard = []
    try:
        while True:
            heard.append(json.loads(link.recv(timeout=10))["msg_type"])
    except ConnectionClosed as closed:
        return heard, closed.rcvd.code if closed.rcvd else 1006


def reason(heard: list[Any]) -> dict[str, Any]:
    """What DISCONNECT said."""
    (told,) = [kind["DISCONNECT"] for kind in heard if "DISCONNECT" in kind]
    assert isinstance(told, dict)
    return told


@pytest.fixture
def node(start_node: StartNode, tmp_path: Path) -> RunningNode:
    (tmp_path / "node.toml").write_text(LIMITS)
    return start_node("n", "--config", str(tmp_path / "node.toml"), "--plugin", str(KVSTORE))


@pytest.fixture
def peers(node: RunningNode) -> Iterator[Peers]:
    with ExitStack() as stack:
        yield Peers(node, stack)


def test_one_peer_more_than_fit_is_told_to_come_back_later(node: RunningNode, peers: Peers) -> None:
    links = [peers.join(f"p{number}") for number in range(3)]
    wait_until(lambda: len(node.peers()) == 3, "three peers")

    heard, code = hear(peers.join("p3"))

    assert code == 4006
    assert reason(heard)["reason"] == "overload"
    assert reason(heard)["retry_after"] == 10.0
    again = peers.join("p0")
    assert json.loads(again.recv(timeout=5))["msg_type"] == "HEARTBEAT"
    assert links


def test_a_silent_peer_is_asked_and_then_cut(node: RunningNode, peers: Peers) -> None:
    heard, code = hear(peers.join("silent"))

    assert heard[0] == "HEARTBEAT"
    assert 2 <= heard.count("HEARTBEAT") <= 4
    assert code == 1006
    wait_until(lambda: node.peers() == [], "the peer to be gone")


def test_a_peer_that_answers_heartbeats_stays(node: RunningNode, peers: Peers) -> None:
    link = peers.join("alive")

    for _ in range(6):
        if json.loads(link.recv(timeout=5))["msg_type"] == "HEARTBEAT":
            say(link, "HEARTBEAT")

    assert node.peers() == ["alive"]


def test_a_peer_that_stops_reading_is_cut_and_the_others_are_served(
    node: RunningNode, peers: Peers
) -> None:
    frozen = peers.raw()
    frozen.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    frozen.sendall(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    hello = {"msg_type": {"HELLO": {"node_id": "frozen"}}, "from": "", "to": "", "realm": REALM}
    data = json.dumps(hello).encode()
    frozen.sendall(b"\x81\xfe" + len(data).to_bytes(2, "big") + b"\0\0\0\0" + data)
    wait_until(lambda: node.peers() == ["frozen"], "the session")

    answers = [node.exec("kvstore", "put", f"k{n}", "v" * 2000) for n in range(5)]

    assert all(answer.startswith("stored") for answer in answers)
    wait_until(lambda: node.peers() == [], "the frozen peer to be cut")


def test_a_flood_of_control_messages_is_rate_limited(node: RunningNode, peers: Peers) -> None:
    link = peers.join("flood")

    for _ in range(40):
        say(link, "HEARTBEAT")
    heard, code = hear(link)

    assert code == 4008
    assert reason(heard)["retry_after"] == 30.0
    assert node.exec("kvstore", "get", "a") == "no entry a"


@pytest.mark.parametrize("garbage", ["\0" * 100, "{", '{"msg_type": 5}', "[" * 5000])
def test_garbage_is_refused_with_its_reason(node: RunningNode, peers: Peers, garbage: str) -> None:
    before, after = peers.open(), peers.join("garbage")
    before.send(garbage)
    after.send(garbage)

    for link in (before, after):
        heard, code = hear(link)
        assert code == 4000
        assert reason(heard)["reason"] == "bad_frame"
    assert node.peers() == []


def test_who_says_nothing_is_cut_before_and_after_the_upgrade(
    node: RunningNode, peers: Peers
) -> None:
    mute, slow, waiting = peers.raw(), peers.raw(), peers.open()
    slow.sendall(b"GET / HTTP/1.1\r\nHost: ")

    heard, code = hear(waiting)

    assert code == 4010
    assert reason(heard)["detail"] == "handshake not complete within 1 s"
    assert (mute.recv(100), slow.recv(1)) == (b"", b"")


def test_too_many_connections_at_once_are_cut_and_the_next_one_is_served(
    node: RunningNode, peers: Peers
) -> None:
    idle = [peers.raw() for _ in range(30)]

    wait_until(lambda: all(_is_cut(one) for one in idle), "all of them to be cut")

    assert node.status()["counters"]["connections_refused"] == 30
    assert json.loads(peers.open().recv(timeout=5))["msg_type"].keys() == {"HELLO"}


def _is_cut(one: socket.socket) -> bool:
    one.settimeout(0.01)
    try:
        return one.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_what_strangers_do_is_not_reported_without_end(
    start_node: StartNode, tmp_path: Path
) -> None:
    node = start_node("n")
    with ExitStack() as stack:
        peers = Peers(node, stack)
        for _ in range(60):
            with peers.raw() as stranger:
                stranger.sendall(b"garbage\r\n\r\n")
                while stranger.recv(1000):
                    pass

    counted = node.status()["counters"]["connections_refused"]
    _, errors = node.stop()

    assert counted == 60
    assert 20 <= errors.count("refused a connection") <= 30
