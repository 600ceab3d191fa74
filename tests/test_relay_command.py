"""`thenodes relay`, as an operator uses it, on nodes that are relays and on one that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import StartNode
from .nodes import fails

WORDS = (("status",), ("bindings",), ("queue",), ("queue", "kitchen"), ("drain",))


def test_a_node_that_has_to_do_with_no_relay_says_how_it_would(start_node: StartNode) -> None:
    node = start_node("node")

    for words in WORDS:
        code, told = fails("relay", *words, "--state-dir", str(node.state_dir))

        assert code == 2
        assert "neither is a relay nor uses one" in told
        assert "network.relay.enabled = true" in told


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_where_no_node_runs_it_says_so(words: tuple[str, ...], tmp_path: Path) -> None:
    code, told = fails("relay", *words, "--state-dir", str(tmp_path))

    assert (code, "no node runs on" in told) == (1, True)
