"""`thenodes doctor`, of nodes that run and of stopped ones."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path
from typing import Any

from .nodes import RunningNode, thenodes


def doctor(state_dir: Path, *words: str) -> tuple[int, list[dict[str, Any]]]:
    done = thenodes("doctor", "--state-dir", str(state_dir), "--json", *words, check=False)
    return done.returncode, json.loads(done.stdout)


def outcomes(found: list[dict[str, Any]], check: str) -> list[str]:
    return [one["outcome"] for one in found if one["check"] == check]


def test_a_running_node_examines_itself(tmp_path: Path) -> None:
    node = RunningNode(tmp_path / "a")
    try:
        code, found = doctor(node.state_dir)
        told = node.exec("doctor")
        warnings = node.exec("events", "--level", "warning")
    finally:
        node.stop(signal.SIGTERM)

    assert code == 0
    assert outcomes(found, "port") == ["ok"]
    assert f"process {node.process.pid}" in told
    assert told.splitlines()[-1].startswith("nothing is wrong")
    # Its own check of the port is nothing to look at.
    assert warnings == "no such events lately"


def test_a_stopped_node_is_examined_and_finds_its_peer(tmp_path: Path) -> None:
    node = RunningNode(tmp_path / "a")
    RunningNode(tmp_path / "b").stop(signal.SIGTERM)
    file = tmp_path / "b.toml"
    try:
        file.write_text(
            f'port = 0\nbootstrap_nodes = ["127.0.0.1:{node.port}"]\n[node]\nstate_dir = "b"\n'
        )

        done = thenodes("doctor", "--config", str(file))

        assert f"admits this node: {node.node_id}" in done.stdout
        node.logged(action="peer_left")
    finally:
        node.stop(signal.SIGTERM)


def test_a_taken_port_and_an_address_where_nobody_is_end_with_1(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        file.write_text(
            f'port = {port}\nbootstrap_nodes = ["127.0.0.1:1"]\n[node]\nstate_dir = "none"\n'
        )
        done = thenodes("doctor", "--config", str(file), "--json", check=False)

    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert outcomes(found, "port") == ["problem"]
    assert outcomes(found, "bootstrap") == ["problem"]
    assert not (tmp_path / "none").exists()


def test_a_peer_that_takes_a_connection_and_says_nothing_holds_nobody_up(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    with socket.create_server(("127.0.0.1", 0), backlog=10) as server:
        port = server.getsockname()[1]
        file.write_text(
            f'port = 0\nbootstrap_nodes = ["127.0.0.1:{port}"]\n[node]\nstate_dir = "none"\n'
        )
        started = time.monotonic()
        done = thenodes("doctor", "--config", str(file), "--json", check=False)
        took = time.monotonic() - started

    assert done.returncode == 1
    assert took < 10
    assert outcomes(json.loads(done.stdout), "bootstrap") == ["problem"]


def test_settings_that_cannot_be_read_are_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text("prt = 1\n")

    done = thenodes("doctor", "--config", str(file), check=False)

    assert done.returncode == 1
    assert "did you mean port?" in done.stdout
