"""What operators see of peers and say to them: two nodes and a relay, as processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .nodes import RunningNode, data_of, fails, stop_all, thenodes, wait_until, with_config

RELAY = "[network.relay]\nenabled = true\nstore_forward = true\n"
USER = '[discovery]\nenabled = false\n[network.relay]\nuse = ["127.0.0.1:{port}"]\n'


class Hamlet:
    """A relay, and two nodes that reach each other through it alone."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.nodes: list[RunningNode] = []
        self.relay = self._start("relay", RELAY)
        self.one, self.other = self._user("one"), self._user("other")

    def _start(self, name: str, config: str) -> RunningNode:
        options = with_config(self._root / f"{name}.toml", config)
        node = RunningNode(self._root / name, *options)
        self.nodes.append(node)
        return node

    def _user(self, name: str) -> RunningNode:
        node = self._start(name, USER.format(port=self.relay.port))
        wait_until(lambda: _has_mailbox(node), f"a mailbox of {name}")
        return node

    def restart_other(self) -> None:
        self.other = self._user("other")

    def row(self, node: RunningNode, node_id: str) -> dict[str, Any]:
        rows = {row["node_id"]: row for row in node.ask("peers")}
        found: dict[str, Any] = rows[node_id]
        return found


def _has_mailbox(node: RunningNode) -> bool:
    return any(relay["mailbox"] == "open" for relay in node.ask("relay")["client"]["relays"])


@pytest.fixture
def hamlet(tmp_path: Path) -> Iterator[Hamlet]:
    hamlet = Hamlet(tmp_path)
    yield hamlet
    stop_all(hamlet.nodes)


def test_two_people_talk_through_a_relay_and_what_they_say_is_escaped(hamlet: Hamlet) -> None:
    one, other = hamlet.one, hamlet.other
    relay_id = hamlet.relay.node_id

    said = _run(one, "send", other.node_id, "it's me\x1b[2J")
    answer = _run(other, "send", one.node_id[:6], "good morning")

    assert said == f"delivered to {other.node_id} through relay {relay_id}"
    assert answer.startswith(f"delivered to {one.node_id}")
    heard = _run(other, "events", "--filter", "text_received")
    assert heard.endswith(f"{one.node_id} says: it's me\\x1b[2J")
    assert "good morning" in _run(one, "events", "--filter", "says")
    row = hamlet.row(other, one.node_id)
    assert (row["path"], row["relay"]) == ("relay", relay_id)
    assert hamlet.relay.counter("relay_delivered_from_store") >= 2


def test_a_text_for_a_node_that_is_away_is_stored_and_shown_so_until_it_is_there(
    hamlet: Hamlet,
) -> None:
    one, other_id = hamlet.one, hamlet.other.node_id
    _run(one, "send", other_id, "first")
    hamlet.other.stop()

    said = _run(one, "send", other_id, "while you were away")

    assert said.startswith(f"stored at relay {hamlet.relay.node_id} for {other_id}")
    assert hamlet.row(one, other_id)["path"] == "stored"
    assert "stored at" in _run(one, "peers")
    hamlet.restart_other()
    wait_until(
        lambda: "while you were away" in _run(hamlet.other, "events", "--filter", "says"), "a text"
    )
    _run(hamlet.other, "send", one.node_id, "here again")
    assert hamlet.row(one, other_id)["path"] == "relay"


def test_peers_are_connected_and_let_go_of_by_hand(hamlet: Hamlet) -> None:
    one, other = hamlet.one, hamlet.other
    address = f"127.0.0.1:{other.port}"

    assert _run(one, "peer", "connect", address) == f"connected with {other.node_id} at {address}"
    assert hamlet.row(one, other.node_id)["path"] == "direct"
    assert _run(one, "send", other.node_id[:8], "hi") == f"sent to {other.node_id}"
    info = _run(one, "peer", "info", other.node_id[:8])
    assert address in info
    assert other.fingerprint in info

    ended = _run(one, "peer", "disconnect", other.node_id[:8])
    assert ended.startswith(f"{other.node_id} disconnected")
    wait_until(lambda: one.node_id not in other.connected(), "the end of the session")
    assert other.node_id not in one.connected()

    _run(one, "peer", "connect", other.node_id[:8])
    assert other.node_id in one.connected()
    assert f"its addresses {address}" in _run(one, "peer", "forget", other.node_id[:8])
    assert address not in _run(one, "known")


def test_a_peer_has_the_name_that_is_in_its_certificate(tmp_path: Path) -> None:
    state = tmp_path / "kitchen"
    thenodes("cert", "new", "--cn", "Kitchen\x07", "--state-dir", str(state))
    kitchen, hall = RunningNode(state), RunningNode(tmp_path / "hall")
    try:
        _run(hall, "peer", "connect", f"127.0.0.1:{kitchen.port}")

        (row,) = hall.ask("peers")
        assert (row["node_id"], row["name"]) == (kitchen.node_id, "Kitchen\x07")
        assert "Kitchen\\x07" in _run(hall, "peers")
        # The hall's certificate has its id for a name, as every node makes it.
        assert kitchen.ask("peers")[0]["name"] == ""
    finally:
        stop_all([kitchen, hall])


def test_what_does_not_work_says_why_and_ends_with_1(hamlet: Hamlet) -> None:
    directory = str(hamlet.one.state_dir)

    code, error = fails("peer", "connect", "127.0.0.1:1", "--state-dir", directory)
    assert (code, "connection refused" in error) == (1, True)
    code, error = fails("send", "nobody", "hello", "--state-dir", directory)
    assert (code, "not sent to nobody: " in error) == (1, True)
    code, error = fails("peer", "info", "nobody", "--state-dir", directory)
    assert (code, "no peer's id begins with 'nobody'" in error) == (1, True)


def test_the_status_tells_of_relays(hamlet: Hamlet) -> None:
    status = data_of("status", "--state-dir", str(hamlet.one.state_dir))
    (line,) = status["relays"]

    assert (line["node_id"], line["is_connected"]) == (hamlet.relay.node_id, True)
    assert (status["is_relay"], hamlet.relay.status()["is_relay"]) == (False, True)
    assert "this node is one" in _run(hamlet.relay, "status")
    assert hamlet.one.ask("glance")["relay"] == "1 of 1 relays"
    assert all(len(line) <= 80 for line in _run(hamlet.one, "peers").splitlines())


def _run(node: RunningNode, *words: str) -> str:
    return thenodes(*words, "--state-dir", str(node.state_dir)).stdout.strip()
