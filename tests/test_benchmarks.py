"""The benchmarks run; what they measure is never asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


def run(*options: str, file: Path) -> list[dict[str, Any]]:
    """The rows of a run, which are as many as the table's."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *options, "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(file.read_text())["rows"]
    assert len(done.stdout.splitlines()) == 2 + len(rows)
    return rows


@pytest.mark.parametrize(("what", "unit"), [("throughput", "messages/s"), ("latency", "µs p50")])
def test_nodes_are_measured_against_bare_websockets(what: str, unit: str, tmp_path: Path) -> None:
    rows = run(what, "--runs", "1", "--messages", "50", file=tmp_path / "n")

    assert {row["kind"] for row in rows} == {"bare", "thenodes.v1.bin", "thenodes.v1.json"}
    assert all(row[unit] > 0 for row in rows)


def test_the_memory_of_sessions_is_measured(tmp_path: Path) -> None:
    rows = run("connections", "--sessions", "20", file=tmp_path / "n")

    assert [row["kind"] for row in rows] == ["bare", "node"]


def test_the_time_to_start_is_measured(tmp_path: Path) -> None:
    rows = run("startup", "--runs", "1", file=tmp_path / "n")

    assert all(row["ms"] > 0 for row in rows)


def test_the_time_to_judge_plugins_is_measured_and_none_is_imported(tmp_path: Path) -> None:
    rows = run("plugins", "--runs", "1", "--plugins", "3", file=tmp_path / "n")

    assert all(row["ms"] > 0 and row["wheels"] == 3 for row in rows)


def test_in_a_small_crowd_every_peer_is_served(tmp_path: Path) -> None:
    options = ("--sessions", "8", "--frozen", "2", "--garbage", "2", "--seconds", "3")

    rows = run("crowd", *options, file=tmp_path / "n")

    values = {row["what"]: row["value"] for row in rows}
    assert values["of them lost"] == 0
    assert values["questions answered, of those asked"] > 0.5
    assert values["attempts to send garbage"] > 2


def test_the_relay_is_measured_against_a_bare_forwarder(tmp_path: Path) -> None:
    options = ("--part", "senders", "--runs", "1", "--messages", "400", "--sessions", "2")

    rows = run("relay", *options, file=tmp_path / "n")

    assert {row["unit"] for row in rows} == {"messages/s", "frames/s"}
    assert all(row["value"] > 0 for row in rows)


def test_what_a_relay_stores_and_what_a_binding_costs_is_measured(tmp_path: Path) -> None:
    options = ("--part", "store", "--part", "bindings", "--runs", "1", "--messages", "2000")

    rows = run("relay", *options, "--sessions", "8", file=tmp_path / "n")

    values = {row["what"]: row["value"] for row in rows}
    assert values["relay, 64 senders wait for each"] > 0
    assert values["relay, drain"] > 0
    assert "memory of a mailbox" in values


def test_what_events_cost_the_data_path_is_measured(tmp_path: Path) -> None:
    rows = run("events", "--runs", "1", "--messages", "5000", file=tmp_path / "n")

    assert [row["events"] for row in rows] == ["none", "told"]
    assert all(row["messages/s"] > 0 for row in rows)


def test_what_looking_costs_a_node_is_measured(tmp_path: Path) -> None:
    options = ("--sessions", "10", "--seconds", "1", "--runs", "1")

    rows = run("top", *options, file=tmp_path / "n")

    assert rows[-1]["what"] == "top costs the node, % of a core"
    assert rows[0]["value"] >= 0
