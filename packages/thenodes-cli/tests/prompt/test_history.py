"""What was typed before."""

from __future__ import annotations

import os
from pathlib import Path

from prompt_toolkit.history import InMemoryHistory

from thenodes_cli.prompt.history import open_history


def loaded(path: Path | None) -> list[str]:
    """Newest first."""
    return list(open_history(path).load_history_strings())


def test_what_was_typed_is_there_the_next_time_in_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "history"
    history = open_history(path)
    history.append_string("peers")
    history.append_string("status")

    assert loaded(path) == ["status", "peers"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_grew_keeps_its_newest_lines_whole(tmp_path: Path) -> None:
    path = tmp_path / "history"
    history = open_history(path)
    for number in range(1000):
        history.append_string(f"send kitchen {'x' * 400} {number}")
    assert path.stat().st_size > 256 * 1024

    kept = loaded(path)

    assert path.stat().st_size <= 128 * 1024
    assert kept[0].endswith(" 999")
    assert 200 < len(kept) < 1000
    assert all(line.startswith("send kitchen ") for line in kept)


def test_a_line_that_nobody_would_type_again_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "history"
    history = open_history(path)
    history.append_string("x" * 4097)
    history.append_string("x" * 4096)

    assert [len(line) for line in loaded(path)] == [4096]


def test_a_file_that_others_could_read_is_private_from_then_on(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text("\n# 2026-11-25\n+status\n")
    path.chmod(0o644)

    assert loaded(path) == ["status"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_no_file_is_done_without_and_left_as_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o644)
    (tmp_path / "null").symlink_to("/dev/null")

    for name in ("pipe", "null"):
        assert isinstance(open_history(tmp_path / name), InMemoryHistory)

    assert (tmp_path / "pipe").stat().st_mode & 0o777 == 0o644
    assert Path("/dev/null").stat().st_mode & 0o777 == 0o666


def test_a_file_that_cannot_be_used_is_done_without(tmp_path: Path) -> None:
    assert isinstance(open_history(tmp_path / "missing" / "history"), InMemoryHistory)
    assert isinstance(open_history(None), InMemoryHistory)
