"""The state directory and its lock."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from thenodes_core.errors import StateDirError, StateDirInUse
from thenodes_core.store.state_dir import LOCK_FILE, StateDir

HOLDER = """
import sys
from pathlib import Path
from thenodes_core.store.state_dir import StateDir
with StateDir(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def start_holder(path: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_the_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    with StateDir(tmp_path / "a" / "state") as state:
        assert stat.S_IMODE(state.path.stat().st_mode) == 0o700


def test_the_lock_file_names_the_holder(tmp_path: Path) -> None:
    with StateDir(tmp_path) as state:
        assert (state.path / LOCK_FILE).read_text() == f"{os.getpid()}\n"


def test_a_second_holder_in_the_same_process_is_refused(tmp_path: Path) -> None:
    with StateDir(tmp_path), pytest.raises(StateDirInUse) as caught, StateDir(tmp_path):
        pass

    assert caught.value.pid == os.getpid()


def test_a_second_holder_is_refused_with_the_firsts_pid(tmp_path: Path) -> None:
    with start_holder(tmp_path) as holder:
        with pytest.raises(StateDirInUse, match=f"process {holder.pid};") as caught:
            StateDir(tmp_path).__enter__()
        holder.kill()

    assert caught.value.pid == holder.pid


def test_the_lock_is_gone_once_the_holder_was_killed(tmp_path: Path) -> None:
    with start_holder(tmp_path) as holder:
        holder.kill()

    with StateDir(tmp_path) as state:
        assert (state.path / LOCK_FILE).read_text() == f"{os.getpid()}\n"


def test_the_lock_is_gone_after_the_context(tmp_path: Path) -> None:
    with StateDir(tmp_path):
        pass

    with StateDir(tmp_path):
        pass


def test_a_refused_holder_does_not_take_the_lock_from_the_first(tmp_path: Path) -> None:
    with StateDir(tmp_path):
        for _ in range(2):
            with pytest.raises(StateDirInUse):
                StateDir(tmp_path).__enter__()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff\xfe"])
def test_a_lock_file_without_a_pid_still_refuses(tmp_path: Path, content: bytes) -> None:
    with StateDir(tmp_path) as state:
        (state.path / LOCK_FILE).write_bytes(content)

        with pytest.raises(StateDirInUse, match="another process") as caught:
            StateDir(tmp_path).__enter__()

    assert caught.value.pid is None


def test_a_file_in_the_directorys_place_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_text("")

    with pytest.raises(StateDirError, match="cannot be created"):
        StateDir(path).__enter__()


def test_a_folder_in_the_locks_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).mkdir()

    with pytest.raises(StateDirError, match=LOCK_FILE):
        StateDir(tmp_path).__enter__()


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    with StateDir(Path("state")) as state:
        assert state.path == tmp_path / "state"


def test_a_temporary_directory_is_gone_afterwards() -> None:
    with StateDir(None) as state:
        assert state.is_temporary
        state.subdirectory("plugins", "my")

    assert not state.path.exists()


def test_a_given_directory_stays(tmp_path: Path) -> None:
    with StateDir(tmp_path / "state") as state:
        assert not state.is_temporary

    assert state.path.is_dir()


def test_every_level_of_a_subdirectory_is_for_the_owner_alone(tmp_path: Path) -> None:
    with StateDir(tmp_path) as state:
        path = state.subdirectory("plugins", "my")

    assert path == tmp_path / "plugins" / "my"
    assert [stat.S_IMODE(p.stat().st_mode) for p in (path, path.parent)] == [0o700, 0o700]


def test_a_file_in_a_subdirectorys_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plugins").write_text("")

    with StateDir(tmp_path) as state, pytest.raises(StateDirError, match="cannot be created"):
        state.subdirectory("plugins", "my")


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o1777])
def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "state"
    path.mkdir()
    path.chmod(mode)

    with pytest.raises(StateDirError, match="others can write") as caught:
        StateDir(path).__enter__()

    assert f"chmod go-w {path}" in str(caught.value)
    assert list(path.iterdir()) == []


def test_a_directory_that_others_can_read_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.mkdir()
    path.chmod(0o755)

    with StateDir(path):
        pass


def test_a_path_with_a_nul_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateDirError, match="not a path"):
        StateDir(tmp_path / "a\0b").__enter__()


def test_a_disk_without_room_is_told(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(StateDirError, match="lock: File too large"), StateDir(tmp_path):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with StateDir(tmp_path):
        pass
