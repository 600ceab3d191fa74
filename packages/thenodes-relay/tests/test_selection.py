"""Which relays a node goes to: the vectors, and what rendezvous hashing promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from thenodes_relay.selection import rank, score, use_position

VECTORS = Path(__file__).parents[3] / "tests" / "vectors" / "hrw.json"


def load(part: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(VECTORS.read_text())[part]
    return entries


def test_the_scores_are_those_of_the_vectors() -> None:
    assert [f"{score(entry['node'], entry['relay']):016x}" for entry in load("scores")] == [
        entry["score"] for entry in load("scores")
    ]


def test_the_orders_are_those_of_the_vectors() -> None:
    assert [rank(entry["node"], entry["relays"]) for entry in load("orders")] == [
        entry["order"] for entry in load("orders")
    ]


def test_a_relay_that_goes_away_leaves_the_order_of_the_others() -> None:
    relays = [f"relay-{number}" for number in range(8)]

    for node in (f"node-{number}" for number in range(50)):
        before = rank(node, relays)
        after = rank(node, [relay for relay in relays if relay != "relay-3"])
        assert after == [relay for relay in before if relay != "relay-3"]


def test_relays_get_about_as_many_nodes_each() -> None:
    relays = [f"relay-{number}" for number in range(4)]

    firsts = [rank(f"node-{number}", relays)[0] for number in range(2000)]

    assert all(400 < firsts.count(relay) < 600 for relay in relays)


def test_a_relay_that_is_named_twice_counts_once() -> None:
    assert rank("node", ["relay", "relay"]) == ["relay"]


@pytest.mark.parametrize(
    ("entry", "position"),
    [
        ("relay-a", 1),
        ("wss://example.org:443#relay-a", 1),
        ("ws://10.0.0.1:50000", 1),
        ("10.0.0.1:50000", 1),
        ("10.0.0.1:50000#relay-b", 2),
        ("10.0.0.2:50000", 2),
    ],
)
def test_an_entry_of_use_names_a_relay_by_id_or_by_address(entry: str, position: int) -> None:
    assert use_position(("other", entry), "relay-a", "10.0.0.1:50000") == position
