"""Fixtures of the cross-package tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .nodes import RunningNode, stop_all

StartNode = Callable[..., RunningNode]


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[StartNode]:
    """Starts nodes as processes: `start_node("name", *options)`; what is left over is killed."""
    nodes: list[RunningNode] = []

    def start(name: str, *options: str, port: int = 0) -> RunningNode:
        node = RunningNode(tmp_path / name, *options, port=port)
        nodes.append(node)
        return node

    yield start
    stop_all(nodes)
