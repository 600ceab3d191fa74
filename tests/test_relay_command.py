"""`thenodes relay`, as an operator uses it, on nodes that are relays and on one that is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import StartNode
from .nodes import RunningNode, data_of, fails, thenodes, wait_until, with_config

WORDS = (("status",), ("bindings",), ("queue",), ("queue", "kitchen"), ("drain",))


RELAY = "[network.relay]\nenabled = true\nstore_forward = true\n"
USER = "[discovery]\nenabled = false\n[network.relay]\nuse = ['127.0.0.1:{port}']\n"


class Two:
    """A relay, and a node that uses it and has a mailbox there."""

    def __init__(self, start_node: StartNode, folder: Path) -> None:
        self.hub = start_node("hub", *with_config(folder / "relay.toml", RELAY))
        config = with_config(folder / "user.toml", USER.format(port=self.hub.port))
        self.user = start_node("user", *config)
        wait_until(lambda: self.hub.counter("relay_bound"), "the mailbox")


@pytest.fixture
def two(start_node: StartNode, tmp_path: Path) -> Two:
    return Two(start_node, tmp_path)


def asked(node: RunningNode, *words: str) -> str:
    return thenodes("relay", *words, "--state-dir", str(node.state_dir)).stdout


def told(node: RunningNode, *words: str) -> Any:
    return data_of("relay", *words, "--state-dir", str(node.state_dir))


def test_a_relay_tells_what_it_carries_and_how_durable_it_is(two: Two) -> None:
    text, data = asked(two.hub, "status"), told(two.hub, "status")["relay"]

    assert "relay      serving; keeps frames for who is away" in text
    assert "relay_bound 1" in text
    assert "neither a kill of the relay nor a power failure loses it" in " ".join(text.split())
    assert (data["mailboxes"], data["present"], data["strangers"]) == (1, 1, 1)
    assert data["counters"]["relay_bound"] == 1
    assert data["store_bytes"] > 0
    assert two.hub.exec("relay").startswith("relay      serving")


def test_a_user_of_relays_tells_which(two: Two) -> None:
    text, data = asked(two.user, "status"), told(two.user, "status")

    assert f"uses       {two.hub.node_id}  connected  mailbox open  stores" in text
    assert data["relay"] is None


def test_bindings_are_listed_with_whose_they_are(two: Two) -> None:
    (binding,) = told(two.hub, "bindings")

    assert (binding["node"], binding["target"]) == (two.user.node_id, "*")
    assert asked(two.hub, "bindings").startswith(f"mailbox  {two.user.node_id}  present  stores")


def test_an_empty_queue_says_so(two: Two) -> None:
    assert asked(two.hub, "queue").strip() == "nothing waits"
    assert two.user.node_id in asked(two.hub, "queue", two.user.node_id)


def test_a_relay_that_is_drained_takes_nothing_new(two: Two, start_node: StartNode) -> None:
    assert "new binds and frames are refused from now on; 1 connected node was told" in asked(
        two.hub, "drain"
    )

    late = start_node("late", "--config", str(two.user.state_dir.parent / "user.toml"))
    wait_until(lambda: two.hub.counter("relay_refused_binds.restarting"), "the refusal")

    assert "draining, takes nothing new" in asked(two.hub, "status")
    assert len(told(two.hub, "bindings")) == 1
    assert late.counter("relay_client_refused_binds.restarting") >= 1
    assert two.hub.logged(action="relay_draining")


def test_a_relay_whose_plugin_is_loaded_anew_is_used_again_on_the_same_session(two: Two) -> None:
    wait_until(lambda: two.user.counter("relay_client_mailboxes"), "its word")
    assert "runs anew" in two.hub.exec("plugin reload relay")
    wait_until(lambda: two.hub.counter("relay_bound") == 2, "the mailbox")

    assert two.user.counter("relay_client_notified.restarting") == 1
    assert two.user.counter("peers_joined") == 1
    assert not two.user.events(action="peer_left")


def test_only_a_relay_has_bindings_and_a_queue(two: Two) -> None:
    for words in (("bindings",), ("queue",), ("drain",)):
        code, text = fails("relay", *words, "--state-dir", str(two.user.state_dir))

        assert (code, "this node is no relay" in text) == (2, True)


def test_a_node_that_has_to_do_with_no_relay_says_how_it_would(start_node: StartNode) -> None:
    node = start_node("node")

    for words in WORDS:
        code, text = fails("relay", *words, "--state-dir", str(node.state_dir))

        assert code == 2
        assert "neither is a relay nor uses one" in text
        assert "network.relay.enabled = true" in text


def test_where_the_relay_could_not_start_it_says_why_and_how_it_would(
    start_node: StartNode, tmp_path: Path
) -> None:
    path = tmp_path / "frames"
    path.mkdir()
    config = with_config(tmp_path / "relay.toml", RELAY + f"store_path = '{path}'\n")
    node = start_node("hub", *config)

    code, text = fails("relay", "status", "--state-dir", str(node.state_dir))
    path.rmdir()
    node.exec("plugin", "enable", "relay")

    assert code == 2
    assert f"does not run (failed): on_start raised StoreError: {path}" in text
    assert "plugin enable relay" in text
    assert "relay      serving" in asked(node, "status")


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_where_no_node_runs_it_says_so(words: tuple[str, ...], tmp_path: Path) -> None:
    code, text = fails("relay", *words, "--state-dir", str(tmp_path))

    assert (code, "no node runs on" in text) == (1, True)
