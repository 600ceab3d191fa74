"""What is set in a file passes its checks, or the file is as it was."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from thenodes_cli.settings import change, file
from thenodes_cli.settings.change import set_value, unset_value
from thenodes_cli.settings.edit import with_value
from thenodes_core import ConfigError

TEXT = b"# mine\nport = 50001\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "node.toml"
    path.write_bytes(TEXT)
    path.chmod(0o640)
    return path


@pytest.mark.parametrize(
    ("key", "text", "told"),
    [
        ("prt", "1", "unknown key prt; did you mean port?"),
        ("relm.nam", "1", "did you mean realm.name"),
        ("realm", "x", "realm is a table; name one of its keys: realm.name"),
        ("port", "many", "port: Expected `int`, got 'many'"),
        ("port", "70000", "port: Expected `int` <= 65535"),
        ("encryption.trust_policy.mode", "shut", 'expected "open"'),
        ("encryption.mtls", "true", "encryption.mtls: true needs TLS"),
        ("health.port", "null", "to take it out: config unset health.port"),
        ("plugin.kvstore", "3", "expected plugin.<id>.<key>"),
        ("bootstrap_nodes", "nowhere", "has no port"),
        ("", "x", "expected a key, got an empty one; known here: host"),
        ("realm.name", "home\udcff", "realm.name: not text in UTF-8, got 'home\\udcff'"),
        ("plugin.kvstore.name\udcff", "x", "not text in UTF-8"),
    ],
)
def test_what_is_wrong_leaves_the_file_as_it_was(
    path: Path, key: str, text: str, told: str
) -> None:
    before = path.stat()

    with pytest.raises(ConfigError) as caught:
        set_value(path, key, text)

    assert told in str(caught.value)
    assert path.read_bytes() == TEXT
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert [one.name for one in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("key", "text", "line"),
    [
        ("realm.name", "Home sweet", 'name = "Home sweet"'),
        ("discovery.enabled", "false", "enabled = false"),
        ("bootstrap_nodes", "a:1, b:2", 'bootstrap_nodes = ["a:1", "b:2"]'),
        ("bootstrap_nodes", '["a:1"]', 'bootstrap_nodes = ["a:1"]'),
        ("limits.close_seconds", "2", "close_seconds = 2.0"),
        ("plugin.kvstore.max_entries", "5", "max_entries = 5"),
        ("plugin.kvstore.greeting", "hello there", 'greeting = "hello there"'),
    ],
)
def test_a_value_is_read_by_the_type_of_its_setting(
    path: Path, key: str, text: str, line: str
) -> None:
    done = set_value(path, key, text)

    assert line in path.read_text().splitlines()
    assert path.read_bytes().startswith(b"# mine\n")
    assert done.restart or done.applied


def test_mode_and_link_stay(path: Path) -> None:
    link = path.with_name("link.toml")
    link.symlink_to(path.name)

    set_value(link, "port", "50002")

    assert link.is_symlink()
    assert path.read_bytes() == b"# mine\nport = 50002\n"
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone gives files away")
def test_the_owner_stays(path: Path) -> None:
    os.chown(path, 12345, 23456)

    set_value(path, "port", "50002")

    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)


def test_a_pipe_is_neither_read_nor_replaced(path: Path) -> None:
    pipe = path.with_name("pipe")
    os.mkfifo(pipe)

    with pytest.raises(ConfigError, match="expected a regular file"):
        set_value(pipe, "port", "50002")

    assert pipe.is_fifo()


def test_what_an_editor_wrote_meanwhile_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit = with_value

    def slow(text: str, key: list[str], value: object) -> str:
        path.write_bytes(b"port = 7\n")
        return edit(text, key, value)

    monkeypatch.setattr(change, "with_value", slow)

    with pytest.raises(ConfigError, match="another program wrote it meanwhile"):
        set_value(path, "port", "50002")

    assert path.read_bytes() == b"port = 7\n"
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_two_commands_do_not_change_it_at_once(path: Path) -> None:
    with file._Locked(path.parent, path), pytest.raises(ConfigError, match="another command"):
        set_value(path, "port", "50002")


def test_a_file_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config init .*none\.toml"):
        set_value(tmp_path / "none.toml", "port", "1")


def test_what_applies_at_once_is_told_apart_from_what_needs_a_restart(path: Path) -> None:
    at_once = set_value(path, "encryption.trust_policy.mode", "tofu")
    later = set_value(path, "port", "50002")

    assert list(at_once.applied) == ['encryption.trust_policy.mode = "tofu"']
    assert not at_once.restart
    assert list(later.restart) == ["port"]
    assert (later.before, later.after) == (50001, 50002)


def test_unset_takes_a_setting_out_and_one_that_is_unknown_too(path: Path) -> None:
    path.write_text("port = 1\nprot = 2\n")

    unset_value(path, "prot")
    done = unset_value(path, "port")

    assert path.read_text() == ""
    assert done.text.endswith("port is no longer set; it was 1")
    assert "was not set" in unset_value(path, "port").text
    with pytest.raises(ConfigError, match="unknown key prot"):
        unset_value(path, "prot")


def test_a_table_is_not_taken_out_with_all_that_is_in_it(path: Path) -> None:
    text = '[realm]\n# said here\nname = "Home"\n[plugin.kv.sub]\na = 1\n'
    path.write_text(text)

    with pytest.raises(ConfigError, match=r"realm is a table; name one of its keys: realm\.name"):
        unset_value(path, "realm")
    assert path.read_text() == text

    unset_value(path, "plugin.kv.sub")
    assert "sub" not in path.read_text()


def test_a_value_of_another_type_is_another_value(path: Path) -> None:
    path.write_text("[plugin.kv]\na = 1\n")

    assert set_value(path, "plugin.kv.a", "true").text.endswith("plugin.kv.a = true; it was 1")
    assert set_value(path, "plugin.kv.a", "true").text.endswith("plugin.kv.a = true already")


def test_a_file_that_is_no_toml_stays(path: Path) -> None:
    path.write_bytes(b"port = = 1\n")

    with pytest.raises(ConfigError, match="not TOML"):
        set_value(path, "port", "1")

    assert path.read_bytes() == b"port = = 1\n"


def test_a_full_disk_leaves_the_file_as_it_was_and_nothing_beside_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(ConfigError, match="cannot be written: No space left"):
        set_value(path, "port", "1")
    with pytest.raises(ConfigError, match="cannot be written: No space left"):
        file.create(path.with_name("new.toml"), b"port = 1\n", force=False)

    assert path.read_bytes() == TEXT
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(path: Path) -> None:
    path.parent.chmod(0o500)
    try:
        with pytest.raises(ConfigError, match="cannot be written"):
            set_value(path, "port", "1")
    finally:
        path.parent.chmod(0o700)
