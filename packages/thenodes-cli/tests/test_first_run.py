"""What the first start of a node tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from thenodes_cli.first_run import first_run_lines, is_first_run
from thenodes_core import Config, Settings
from thenodes_core.config import NodeTable


def settings(state_dir: Path) -> Settings:
    return Settings(Config(node=NodeTable(state_dir=str(state_dir))), {})


def test_a_node_without_a_key_and_a_file_starts_for_the_first_time(tmp_path: Path) -> None:
    assert is_first_run(settings(tmp_path), None)
    assert is_first_run(settings(tmp_path / "missing"), None)


def test_a_node_with_a_key_or_a_file_is_known_to_its_operator(tmp_path: Path) -> None:
    with_file = is_first_run(settings(tmp_path), tmp_path / "node.toml")
    (tmp_path / "identity.pem").touch()

    assert not with_file
    assert not is_first_run(settings(tmp_path), None)


NODE_ID = "zkidddkrx56ytizuwxyocakenig5gfgd"


def told(*, state_dir: str = "data", bootstrap: tuple[str, ...] = (), prompt: bool = True) -> str:
    lines = first_run_lines(Path(state_dir), NODE_ID, "127.0.0.1:50000", bootstrap, prompt=prompt)
    assert len(lines) == 5
    return "\n".join(lines)


def test_five_lines_tell_what_was_made_and_what_to_type() -> None:
    text = told()

    assert "made       data;" in text
    assert "identity.pem" in text
    assert f"id         {NODE_ID}" in text
    assert "listening  127.0.0.1:50000; others join with --bootstrap 127.0.0.1:50000" in text
    assert "type help; from elsewhere: thenodes attach" in text


@pytest.mark.parametrize("prompt", [True, False])
@pytest.mark.parametrize("bootstrap", [(), ("192.168.100.200:50000",) * 9])
def test_no_line_is_wider_than_a_terminal(bootstrap: tuple[str, ...], prompt: bool) -> None:
    text = told(state_dir="data/second", bootstrap=bootstrap, prompt=prompt)

    assert max(map(len, text.split("\n"))) <= 80


def test_who_it_stays_connected_with_is_told() -> None:
    assert "it connects to a:1\n" in told(bootstrap=("a:1",))
    assert "it connects to a:1 and 2 more" in told(bootstrap=("a:1", "b:2", "c:3"))


def test_without_a_prompt_it_tells_how_to_get_one_also_for_another_state_directory() -> None:
    assert "thenodes attach --state-dir 'my data' opens a prompt" in told(
        state_dir="my data", prompt=False
    )


def test_a_state_directory_below_this_one_is_named_as_it_is_typed_here() -> None:
    here = told(state_dir=str(Path.cwd() / "data"), prompt=False)

    assert "thenodes attach opens a prompt" in here
