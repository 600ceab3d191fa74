"""Private files, replaced whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from thenodes_core.files import write_private


def test_a_written_file_is_its_owners_alone(tmp_path: Path) -> None:
    write_private(tmp_path / "f", b"one")

    assert (tmp_path / "f").read_bytes() == b"one"
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    write_private(tmp_path / "f", b"one")
    write_private(tmp_path / "f", b"two")

    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_bytes() == b"two"


def test_what_a_killed_process_left_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "f.new").write_bytes(b"half")

    write_private(tmp_path / "f", b"one")

    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_where_it_cannot_be_replaced_the_old_one_stays(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "inside").write_bytes(b"kept")

    with pytest.raises(OSError, match="f"):
        write_private(tmp_path / "f", b"one")

    assert (tmp_path / "f" / "inside").read_bytes() == b"kept"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
