"""Two nodes as two processes, over real WebSockets."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from websockets.sync.client import connect
from websockets.typing import Subprotocol

from .conftest import StartNode
from .nodes import KVSTORE, wait_until

PLUGIN = ("--plugin", str(KVSTORE))


def test_a_value_put_on_one_node_is_read_on_the_other(start_node: StartNode) -> None:
    first = start_node("first", *PLUGIN)
    second = start_node("second", *PLUGIN, "--bootstrap", first.status()["listening"])
    wait_until(second.peers, "the nodes to connect")

    assert first.exec("kvstore", "put", "a", "1") == "stored a = 1, sent to 1 peer"

    wait_until(lambda: second.exec("kvstore", "get", "a") == "a = 1", "the value")


def test_a_node_that_joins_later_gets_the_entries_there_are(start_node: StartNode) -> None:
    first = start_node("first", *PLUGIN)
    for number in range(3):
        first.exec("kvstore", "put", f"key{number}", str(number))

    second = start_node("second", *PLUGIN, "--bootstrap", first.status()["listening"])

    wait_until(
        lambda: second.exec("kvstore", "list") == "key0 = 0\nkey1 = 1\nkey2 = 2", "the entries"
    )


def test_either_node_killed_and_started_again_is_connected_again(start_node: StartNode) -> None:
    first = start_node("first", *PLUGIN)
    port = int(first.status()["listening"].rpartition(":")[2])
    second = start_node("second", *PLUGIN, "--bootstrap", f"127.0.0.1:{port}")
    wait_until(second.peers, "the nodes to connect")

    first.stop(signal.SIGKILL)
    wait_until(lambda: not second.peers(), "the second to notice")
    again = start_node("first", *PLUGIN, port=port)
    wait_until(second.peers, "the second to dial again")

    second.stop(signal.SIGKILL)
    wait_until(lambda: not again.peers(), "the first to notice")
    start_node("second", *PLUGIN, "--bootstrap", f"127.0.0.1:{port}")
    wait_until(again.peers, "the second to be back")


def test_a_stopped_node_says_goodbye_and_exits_with_0(start_node: StartNode) -> None:
    first = start_node("first")
    second = start_node("second", "--bootstrap", first.status()["listening"])
    wait_until(second.peers, "the nodes to connect")

    code, errors = first.stop(signal.SIGTERM)
    wait_until(lambda: not second.peers(), "the second to notice")
    _, told = second.stop(signal.SIGINT)

    assert code == 0, errors
    assert "restarting (peer): the node is stopping" in told


def test_a_directory_of_plugins_is_loaded_whole(start_node: StartNode, tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    (plugins / "__pycache__").mkdir(parents=True)
    (plugins / "kvstore").symlink_to(KVSTORE)

    node = start_node("only", "--plugins", str(plugins))

    assert [(plugin["id"], plugin["state"]) for plugin in node.status()["plugins"]] == [
        ("kvstore", "running")
    ]


def test_a_client_that_shares_no_code_joins_over_json(
    start_node: StartNode, tmp_path: Path
) -> None:
    config = tmp_path / "node.toml"
    config.write_text("[encryption.trust_policy]\nrequire_identity = false\n")
    node = start_node("only", *PLUGIN, "--config", str(config))
    hello = {
        "from": "TheNodes",
        "to": "node",
        "msg_type": {"HELLO": {"node_id": "page", "protocol": "TheNodes", "version": "1"}},
        "payload": None,
        "realm": {"name": "default", "version": "1.0"},
    }
    put = {
        "from": "page",
        "to": "*",
        "msg_type": {"EXTENSION": {"kind": "kvstore.put"}},
        "payload": {"type": "Json", "value": {"key": "from", "value": "page"}},
        "realm": None,
    }
    url = f"ws://{node.status()['listening']}"
    with connect(url, subprotocols=[Subprotocol("thenodes.v1.json")]) as client:
        theirs = json.loads(client.recv(5))
        client.send(json.dumps(hello))
        admitted = json.loads(client.recv(5))
        client.send(json.dumps(put))
        wait_until(lambda: node.exec("kvstore", "get", "from") == "from = page", "the value")
        assert node.exec("kvstore", "put", "to", "page") == "stored to = page, sent to 1 peer"
        asked, received = json.loads(client.recv(5)), json.loads(client.recv(5))

    assert theirs["msg_type"]["HELLO"]["node_id"] == node.status()["node_id"]
    assert admitted["msg_type"] == "HEARTBEAT"
    assert asked["msg_type"] == {"PEER_REQUEST": {"want": 16}}
    assert received["msg_type"] == {"EXTENSION": {"kind": "kvstore.put"}}
    assert received["payload"] == {"type": "Json", "value": {"key": "to", "value": "page"}}
