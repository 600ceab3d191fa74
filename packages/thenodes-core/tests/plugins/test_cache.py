"""Unpacked wheels: whole or not at all, read-only, made anew where they were changed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from thenodes_core.errors import PluginLoadError
from thenodes_core.plugins.cache import cache_directory, unpack
from thenodes_core.plugins.find import candidates
from thenodes_core.plugins.gates import scan
from thenodes_core.plugins.loader import Loaded, load
from thenodes_core.plugins.policy import GatePolicy

MakeWheel = Callable[..., Path]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "state" / "plugins"


def load_wheel(path: Path, cache: Path) -> Loaded:
    (source,) = scan(candidates([path], None, ()), GatePolicy(cache=cache)).accepted
    return load(source)


def test_a_wheel_is_loaded_from_the_cache_and_the_search_path_is_as_before(
    make_wheel: MakeWheel, cache: Path, canary: Path
) -> None:
    path, before = make_wheel(), list(sys.path)

    loaded = load_wheel(path, cache)

    file = sys.modules[type(loaded.plugin).__module__].__file__
    assert file is not None
    assert Path(file).is_relative_to(cache)
    assert Path(file).parent.parent.name.startswith("sha256-")
    assert sys.path == before
    assert canary.exists()


def test_a_wheel_of_which_nothing_is_to_be_run_is_not_unpacked(
    make_wheel: MakeWheel, cache: Path
) -> None:
    scan(candidates([make_wheel(requires_python=">=4")], None, ()), GatePolicy(cache=cache))

    assert not cache.exists()


def test_the_cache_is_for_its_owner_and_the_unpacked_for_nobody_to_write(
    make_wheel: MakeWheel, cache: Path
) -> None:
    folder = unpack(make_wheel().read_bytes(), cache)

    assert cache.stat().st_mode & 0o777 == 0o700
    assert cache.parent.stat().st_mode & 0o777 == 0o700
    for parent, _, names in os.walk(folder):
        assert Path(parent).stat().st_mode & 0o222 == 0
        assert all((Path(parent) / name).stat().st_mode & 0o222 == 0 for name in names)


def test_what_is_unpacked_already_is_left_as_it_is(make_wheel: MakeWheel, cache: Path) -> None:
    wheel = make_wheel().read_bytes()
    first = unpack(wheel, cache).stat()

    assert unpack(wheel, cache).stat().st_ino == first.st_ino


def change_a_file(folder: Path) -> None:
    (file,) = folder.rglob("__init__.py")
    file.chmod(0o600)
    file.write_text("raise SystemExit")


def remove_a_file(folder: Path) -> None:
    (file,) = folder.rglob("__init__.py")
    file.parent.chmod(0o700)
    file.unlink()


def add_a_file(folder: Path) -> None:
    folder.chmod(0o700)
    (folder / "more.py").write_text("")


def replace_a_file_by_a_link(folder: Path) -> None:
    remove_a_file(folder)
    (file,) = folder.rglob("thenodes-plugin.toml")
    (file.parent / "__init__.py").symlink_to(file)


def replace_all_by_a_file(folder: Path) -> None:
    for parent, _, _ in os.walk(folder):
        Path(parent).chmod(0o700)
    shutil.rmtree(folder)
    folder.write_text("")


@pytest.mark.parametrize(
    "damage",
    [change_a_file, remove_a_file, add_a_file, replace_a_file_by_a_link, replace_all_by_a_file],
)
def test_what_was_changed_is_made_anew(
    make_wheel: MakeWheel, cache: Path, damage: Callable[[Path], None]
) -> None:
    wheel = make_wheel().read_bytes()
    folder = unpack(wheel, cache)
    whole = sorted(path.relative_to(folder) for path in folder.rglob("*"))
    damage(folder)

    assert unpack(wheel, cache) == folder

    assert sorted(path.relative_to(folder) for path in folder.rglob("*")) == whole
    (file,) = folder.rglob("__init__.py")
    assert "class Made" in file.read_text()
    assert [path.name for path in cache.iterdir()] == [folder.name]


def test_compiled_code_of_somebody_is_not_believed(make_wheel: MakeWheel, cache: Path) -> None:
    wheel = make_wheel().read_bytes()
    (file,) = unpack(wheel, cache).rglob("__init__.py")
    file.parent.chmod(0o700)
    compiled = file.parent / "__pycache__" / "__init__.cpython-311.pyc"
    compiled.parent.mkdir()
    compiled.write_bytes(b"poison")

    unpack(wheel, cache)

    assert not compiled.exists()


def test_a_cache_that_cannot_be_written_is_told(make_wheel: MakeWheel, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(PluginLoadError, match="TN-P002") as caught:
        unpack(make_wheel().read_bytes(), tmp_path / "file" / "cache")

    assert str(tmp_path / "file") in str(caught.value)


def test_nothing_is_unpacked_where_others_can_write(make_wheel: MakeWheel, cache: Path) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o777)

    with pytest.raises(PluginLoadError, match="TN-P001"):
        unpack(make_wheel().read_bytes(), cache)

    assert list(cache.iterdir()) == []


def test_two_nodes_with_caches_of_their_own_load_one_wheel(
    make_wheel: MakeWheel, tmp_path: Path
) -> None:
    path = make_wheel()

    one = load_wheel(path, tmp_path / "one")
    other = load_wheel(path, tmp_path / "other")

    assert one.plugin is not other.plugin


def test_without_a_state_directory_the_cache_is_the_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    assert cache_directory(None) == tmp_path / "thenodes" / "plugins"
    assert cache_directory(tmp_path / "state") == tmp_path / "state" / "plugins"
