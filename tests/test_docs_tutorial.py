"""The tutorial, done from its first page to its last.

Its two machines are two folders of this one: 192.168.1.20 is 127.0.0.1 here, its ports are free
ones, and `scp` copies from one folder to the other. What runs are the processes that would run
on two machines, over TCP and TLS. What two machines have beyond that, another clock and a network
between, is not tried here.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .nodes import thenodes
from .tutorial import Reader, blocks

PAGES = sorted((Path(__file__).parent.parent / "docs" / "tutorial").glob("[0-9]*.md"))
MACHINES = {"first": "one", "second": "one", "third": "one", "far": "two", "far-away": "two"}
COMMANDS = {
    "thenodes": 'exec {python} -m thenodes_cli "$@"',
    "scp": 'exec cp "$1" {home}/two/',
}


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """A reader with the terminals of the tutorial."""
    for machine in ("one", "two", "commands"):
        (tmp_path / machine).mkdir()
    for name, does in COMMANDS.items():
        command = tmp_path / "commands" / name
        command.write_text(f"#!/bin/sh\n{does.format(python=sys.executable, home=tmp_path)}\n")
        command.chmod(0o755)

    port, next_port = _free_ports(2)
    folders = {terminal: tmp_path / machine for terminal, machine in MACHINES.items()}

    def environment(terminal: str) -> dict[str, str]:
        """Where the pages name no port, the test has to: only its own are free for sure."""
        default = {"first": port, "far": "0"}.get(terminal)
        return {
            "PATH": f"{tmp_path / 'commands'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(tmp_path),
        } | ({"THENODES_PORT": default} if default else {})

    reader = Reader(
        folders,
        environment,
        {
            "192.168.1.20": lambda: "127.0.0.1",
            "50000": lambda: port,
            "50001": lambda: next_port,
            "FIRST_ID": _of(tmp_path / "one" / "data", "node_id"),
            "SECOND_ID": _of(tmp_path / "one" / "data" / "second", "node_id"),
            "FAR_ID": _of(tmp_path / "two" / "data", "node_id"),
            "FAR_FINGERPRINT": _of(tmp_path / "two" / "data", "fingerprint"),
            "OTHER_ID": _of(tmp_path / "two" / "other", "node_id"),
            "OTHER_FINGERPRINT": _of(tmp_path / "two" / "other", "fingerprint"),
        },
    )
    yield reader
    reader.leaves()


def _of(state_dir: Path, what: str) -> Callable[[], str]:
    """What `thenodes identity show` says, once it is asked."""
    shown = ("identity", "show", "--state-dir", str(state_dir), "--json")
    return lambda: str(json.loads(thenodes(*shown).stdout)[what])


def _free_ports(count: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.mark.timeout(180)
def test_the_tutorial_does_what_it_says(reader: Reader) -> None:
    for page in PAGES:
        for block in blocks(page):
            reader.does(block)


def test_only_what_needs_the_network_is_not_tried() -> None:
    left_out = [
        block for page in PAGES for block in blocks(page) if block.asked.startswith("not run:")
    ]

    assert [block.text.splitlines()[-1] for block in left_out] == ["$ pip install thenodes-cli"]
