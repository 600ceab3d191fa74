"""The examples run as their text says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .conftest import StartNode
from .nodes import KVSTORE, wait_until

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_simple_node_says_hello_in_under_20_lines() -> None:
    assert "said hello to" in run("simple_node.py")
    assert len((EXAMPLES / "simple_node.py").read_text().splitlines()) < 20


def test_the_demo_puts_on_one_node_and_reads_on_the_other() -> None:
    lines = run("demo.py").splitlines()

    assert "kvstore put greeting hello   ->  stored greeting = hello, sent to 1 peer" in lines[3]
    assert lines[4].endswith("->  greeting = hello")
    assert lines[5] == "Both nodes have stopped, with exit codes 0 and 0."


def test_the_relay_chat_tells_who_was_away_what_was_said() -> None:
    lines = run("relay_chat/demo.py").splitlines()

    assert "Alice: chat say <Bob> hello      ->  stored at " in lines[2]
    assert lines[4].endswith(": hello (seal)")
    assert lines[6].endswith(": hi back (seal)")
    assert lines[7:] == [
        "Neither was ever connected with the other.",
        "All nodes have stopped.",
    ]


@contextmanager
def json_client(*arguments: str) -> Iterator[IO[str]]:
    """Runs the client; what it prints."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / "json_client.py"), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        try:
            assert client.stdout
            yield client.stdout
        finally:
            client.kill()


def test_the_json_client_proves_itself_to_a_node_with_default_settings(
    start_node: StartNode, tmp_path: Path
) -> None:
    node = start_node("node", "--plugin", str(KVSTORE))
    url, key_file = f"ws://{node.status()['listening']}", str(tmp_path / "client.key")

    with json_client(url, key_file) as printed:
        client, _, joined = printed.readline().strip().partition(" joined ")
        assert joined == node.status()["node_id"]
        (peer,) = node.status()["peers"]
        assert (peer["node_id"], peer["verified"]) == (client, "session")
        wait_until(lambda: node.exec("kvstore", "get", "from") == f"from = {client}", "the value")

        assert node.exec("kvstore", "put", "to", "client") == "stored to = client, sent to 1 peer"
        sent = '{"type": "Json", "value": {"key": "to", "value": "client"}}'
        assert printed.readline().strip() == f"kvstore.put {sent}"

    with json_client(url, key_file) as printed:
        assert printed.readline().startswith(client), "the key is kept"


def test_the_json_client_imports_nothing_of_ours() -> None:
    assert "thenodes_" not in (EXAMPLES / "json_client.py").read_text()
