"""The settings of a command, where the state directory is not to be looked into."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from thenodes_cli.commands.target import read_settings


def test_a_state_directory_of_somebody_else_is_left_to_who_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, **_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refused)

    settings = read_settings(None, {"node": {"state_dir": str(tmp_path)}})

    assert settings.config.plugins.directory is None
