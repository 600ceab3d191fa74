"""Where settings come from, which of them wins, and what a program fixes."""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from thenodes_core.config import (
    Config,
    Locks,
    NodeTable,
    Source,
    given_keys,
    keys_and_values,
    load_config,
    make_config,
    read_environment,
    read_file,
    setting_types,
    settle,
    with_defaults,
)
from thenodes_core.errors import ConfigError
from thenodes_plugin_api import ConfigDefaults, NodeDefaults, RealmDefaults

Write = Callable[[str], Path]

PATHS = (
    "node.state_dir",
    "plugins.directory",
    "logging.json_path",
    "network.persistence.path",
    "network.relay.store_path",
    "encryption.paths.own_certificate",
    "encryption.paths.own_private_key",
    "encryption.paths.trusted_cert_dir",
    "encryption.paths.trusted_crl_dir",
    "encryption.paths.rejected_dir",
    "encryption.paths.issuer_cert_dir",
    "encryption.paths.issuer_crl_dir",
    "encryption.noise.static_key_path",
    "encryption.trust_policy.paths.observed_dir",
)


def problem(path: Path, overrides: dict[str, Any] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return str(caught.value)


def refused(locks: Locks, *sources: Source) -> str:
    with pytest.raises(ConfigError) as caught:
        settle(sources, locks=locks)
    return str(caught.value)


def values(table: Mapping[str, Any]) -> dict[str, Any]:
    return dict(keys_and_values(table))


def test_the_keys_that_a_file_set_are_told(write: Write) -> None:
    settings = load_config(write('port = 1\n[realm]\nname = "Home"\n[plugin.my]\na = 1\n'))

    assert settings.given == {"port", "realm.name", "plugin.my.a"}


def test_each_key_has_the_file_as_its_origin(write: Write) -> None:
    path = write('port = 1\n[realm]\nname = "Home"\n')

    assert load_config(path).origins == {"port": str(path), "realm.name": str(path)}


def test_an_empty_table_sets_nothing(write: Write) -> None:
    assert load_config(write("[realm]\n[plugin.my]\n")).origins == {}


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"

    assert problem(path) == f"{path}: cannot be read: No such file or directory"


def test_a_folder_instead_of_a_file_is_told(tmp_path: Path) -> None:
    assert problem(tmp_path).startswith(f"{tmp_path}: cannot be read")


@pytest.mark.parametrize(
    "text", ["port = \n", "port = 1\nport = 2\n", "[realm\n", "port 1\n"], ids=repr
)
def test_a_file_that_is_not_toml_is_told(write: Write, text: str) -> None:
    path = write(text)

    assert problem(path).startswith(f"{path}: not TOML: ")


def test_a_file_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_bytes(b'app_name = "\xff"\n')

    assert problem(path).startswith(f"{path}: not TOML: ")


@pytest.mark.parametrize(
    "text", ["port = " + "[" * 50_000, "port = " + "9" * 5000], ids=["nested", "digits"]
)
def test_a_file_that_the_toml_reader_cannot_stomach_is_told(write: Write, text: str) -> None:
    path = write(text)

    assert problem(path).startswith(f"{path}: ")


@pytest.mark.parametrize("key", PATHS)
def test_a_relative_path_is_anchored_at_the_files_folder(write: Write, key: str) -> None:
    path = write(f'{key} = "some/where"\n')

    assert values(read_file(path).table) == {key: str(path.parent / "some/where")}


@pytest.mark.parametrize("key", PATHS)
def test_a_path_in_the_home_directory_is_not_anchored_at_the_files_folder(
    write: Write, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")

    assert values(read_file(write(f'{key} = "~/x"\n')).table) == {key: "/home/ada/x"}


def test_every_key_whose_name_says_path_or_folder_is_anchored() -> None:
    endings = ("_dir", "path", "paths", "directory", "certificate", "private_key")
    named = {key for key, _ in setting_types() if key.endswith(endings)}

    assert named == {*PATHS, "plugins.paths"}


def test_each_of_the_plugins_paths_is_anchored(write: Write) -> None:
    path = write('plugins.paths = ["p/one", "../q", "/r"]\n')
    folder = path.parent

    paths = load_config(path).config.plugins.paths

    assert paths == (str(folder / "p/one"), str(folder / "../q"), "/r")


def test_an_absolute_path_stays_where_it_points(write: Write) -> None:
    assert load_config(write('node.state_dir = "/var/node"\n')).config.node.state_dir == "/var/node"


def test_an_empty_log_path_stays_empty_as_it_means_no_log(write: Write) -> None:
    assert load_config(write('logging.json_path = ""\n')).config.logging.json_path == ""


def test_paths_of_a_file_named_relatively_are_absolute(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write('[node]\nstate_dir = "s"\n')
    monkeypatch.chdir(path.parent)

    config = load_config(Path(path.name)).config

    assert config.node.state_dir == str(path.parent / "s")


def test_a_path_in_the_overrides_is_not_anchored_at_the_file(write: Write) -> None:
    config = load_config(write(""), {"node": {"state_dir": "here"}}).config

    assert config.node.state_dir == "here"


@pytest.mark.parametrize(
    "text", ['node.state_dir = "~no-such-user/x"', 'plugins.paths = ["~no-such-user/x"]']
)
def test_the_home_directory_of_nobody_is_told(write: Write, text: str) -> None:
    path = write(text)

    assert problem(path).startswith(f"{path}: ")


def test_flags_win_over_the_file(write: Write) -> None:
    config = load_config(write("port = 1\n"), {"port": 2}).config

    assert config.port == 2


def test_a_flag_leaves_the_other_keys_of_its_table_alone(write: Write) -> None:
    path = write('[realm]\nname = "Home"\nversion = "2"\n')

    settings = load_config(path, {"realm": {"version": "3"}})

    assert (settings.config.realm.name, settings.config.realm.version) == ("Home", "3")
    assert settings.origins == {"realm.name": str(path), "realm.version": "configuration"}


def test_a_list_replaces_the_list_below_it() -> None:
    settings = settle(
        [
            Source("file", {"bootstrap_nodes": ["a:1", "b:1"]}),
            Source("options", {"bootstrap_nodes": ["c:1"]}),
        ]
    )

    assert settings.config.bootstrap_nodes == ("c:1",)


def test_an_unknown_flag_is_an_error(write: Write) -> None:
    assert "unknown key prot" in problem(write(""), {"prot": 1})


def test_a_wrong_value_is_told_with_its_source_even_where_a_later_one_wins() -> None:
    with pytest.raises(ConfigError, match=r"^file: port: Expected `int`"):
        settle([Source("file", {"port": "x"}), Source("options", {"port": 1})])


def test_a_configuration_can_be_made_without_a_file() -> None:
    settings = make_config({"port": 1, "realm": {"name": "Home"}})

    assert (settings.config.port, settings.config.realm.name) == (1, "Home")
    assert settings.given == {"port", "realm.name"}


def test_nothing_at_all_gives_the_defaults() -> None:
    assert settle([]).config == Config()


def test_the_keys_that_a_program_set_are_those_that_differ() -> None:
    config = Config(port=0, host="127.0.0.1", node=NodeTable(id="a"))

    assert given_keys(config) == {"port", "node.id"}


def test_a_date_in_the_table_of_a_plugin_stays_a_date(write: Write) -> None:
    loaded = load_config(write("[plugin.my]\nday = 2024-05-01\n"))

    config = with_defaults(loaded.config, loaded.given, [ConfigDefaults(port=1)])

    assert config.plugin == {"my": {"day": datetime.date(2024, 5, 1)}}
    assert config.port == 1


def test_options_win_over_the_environment_over_the_file_over_presets_over_defaults(
    write: Write,
) -> None:
    path = write(
        "port = 1\napp_name = 'file'\nrealm = {name = 'file', version = 'file'}\n"
        "node = {node_type = 'file'}\n"
    )
    environ = {
        "THENODES_PORT": "2",
        "THENODES_APP_NAME": "environment",
        "THENODES_REALM__NAME": "environment",
    }
    options = {"port": 3, "app_name": "options"}
    preset = ConfigDefaults(
        port=4,
        realm=RealmDefaults(name="preset", version="preset", code="preset"),
        node=NodeDefaults(node_type="preset"),
    )

    settings = settle([read_file(path), read_environment(environ), Source("options", options)])
    config = with_defaults(settings.config, settings.given, [preset])

    assert (config.port, config.app_name) == (3, "options")
    assert config.realm.name == "environment"
    assert (config.realm.version, config.node.node_type) == ("file", "file")
    assert config.realm.code == "preset"
    assert config.host == "127.0.0.1"
    assert settings.origins == {
        "port": "options",
        "app_name": "options",
        "realm.name": "environment",
        "realm.version": str(path),
        "node.node_type": str(path),
    }


def test_a_lock_applies_where_nobody_sets_the_key() -> None:
    settings = settle([], locks=Locks({"realm": {"name": "Home"}}))

    assert settings.config.realm.name == "Home"
    assert settings.origins == {"realm.name": "fixed by the program"}


def test_what_no_lock_names_may_be_anything() -> None:
    settings = make_config({"plugin": {"kv": {"a": math.nan}}}, locks=Locks({"port": 2}))

    assert math.isnan(settings.config.plugin["kv"]["a"])


def test_a_lock_that_a_file_breaks_is_an_error_with_file_key_and_both_values(
    write: Write,
) -> None:
    path = write("port = 1\n")

    with pytest.raises(ConfigError) as caught:
        load_config(path, locks=Locks({"port": 2}))

    assert str(caught.value) == f"{path}: port = 1, but this program fixes it to 2; remove it there"


@pytest.mark.parametrize("source", ["environment", "options"])
def test_a_lock_holds_against_every_source(source: str) -> None:
    text = refused(Locks({"port": 2}), Source("file", {}), Source(source, {"port": 1}))

    assert text.startswith(f"{source}: port = 1, but this program fixes it to 2")


def test_a_lock_that_overrides_applies_with_a_warning_of_each_source() -> None:
    sources = [Source("file", {"port": 1, "host": "::1"}), Source("environment", {"port": 3})]

    settings = settle(sources, locks=Locks({"port": 2}, override=True))

    assert (settings.config.port, settings.config.host) == (2, "::1")
    assert settings.origins == {"host": "file", "port": "fixed by the program"}
    assert settings.warnings == (
        "file: port = 1, but this program fixes it to 2, which applies",
        "environment: port = 3, but this program fixes it to 2, which applies",
    )


@pytest.mark.parametrize("override", [False, True])
def test_a_source_may_set_a_locked_key_to_the_same_value(override: bool) -> None:
    settings = settle([Source("file", {"port": 2})], locks=Locks({"port": 2}, override=override))

    assert (settings.config.port, settings.warnings) == (2, ())
    assert settings.origins == {"port": "fixed by the program"}


@pytest.mark.parametrize(
    ("locked", "source"),
    [
        (("a:1",), Source("file", {"bootstrap_nodes": ["a:1"]})),
        (["a:1"], read_environment({"THENODES_BOOTSTRAP_NODES": "a:1"})),
    ],
    ids=["tuple locked", "variable"],
)
def test_a_source_may_set_a_locked_list_to_the_same_value(locked: object, source: Source) -> None:
    settings = settle([source], locks=Locks({"bootstrap_nodes": locked}))

    assert settings.config.bootstrap_nodes == ("a:1",)


def test_a_lock_leaves_the_other_keys_of_its_table_open() -> None:
    settings = settle(
        [Source("file", {"realm": {"version": "2"}})], locks=Locks({"realm": {"name": "Home"}})
    )

    assert (settings.config.realm.name, settings.config.realm.version) == ("Home", "2")


def test_a_lock_holds_for_the_table_of_a_plugin() -> None:
    locks = Locks({"plugin": {"my": {"size": 1}}})

    text = refused(locks, Source("file", {"plugin": {"my": {"size": 2, "name": "x"}}}))

    assert text.startswith("file: plugin.my.size = 2, but this program fixes it to 1")


def test_keys_of_plugins_can_be_fixed_one_by_one() -> None:
    locks = Locks({"plugin": {"kv": {"max": 5}}})

    settings = make_config({"plugin": {"kv": {"name": "x"}}}, locks=locks)

    assert settings.config.plugin == {"kv": {"name": "x", "max": 5}}


def test_a_lock_holds_against_the_presets_of_plugins() -> None:
    settings = settle([], locks=Locks({"port": 50000, "realm": {"name": "default"}}))

    config = with_defaults(
        settings.config,
        settings.given,
        [ConfigDefaults(port=1, realm=RealmDefaults(name="preset", version="preset"))],
    )

    assert (config.port, config.realm.name, config.realm.version) == (50000, "default", "preset")


def test_locked_bootstrap_nodes_are_not_extended_by_a_plugin() -> None:
    settings = make_config({}, locks=Locks({"bootstrap_nodes": ["a:1"]}))
    preset = ConfigDefaults(bootstrap_nodes_extend=("b:1",))

    config = with_defaults(settings.config, settings.given, [preset], locked=settings.locked)

    assert config.bootstrap_nodes == ("a:1",)


@pytest.mark.parametrize(
    ("locked", "given"), [({"a": {"b": 1}}, {"a": 2}), ({"a": 1}, {"a": {"b": 2}})], ids=str
)
def test_a_table_in_place_of_a_locked_value_breaks_the_lock(
    locked: dict[str, Any], given: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match="fixes it"):
        settle([Source("file", {"plugin": {"my": given}})], locks=Locks({"plugin": {"my": locked}}))


@pytest.mark.parametrize("override", [False, True])
def test_a_lock_of_an_unknown_key_is_the_programs_error(override: bool) -> None:
    text = refused(Locks({"prot": 1}, override=override))

    assert text == "fixed by the program: unknown key prot; did you mean port?"


def test_a_lock_of_the_wrong_type_is_the_programs_error() -> None:
    assert refused(Locks({"port": "x"})).startswith("fixed by the program: port: Expected `int`")


@pytest.mark.parametrize("override", [False, True])
def test_an_unknown_key_of_a_source_is_an_error_whatever_is_locked(override: bool) -> None:
    text = refused(Locks({"port": 1}, override=override), Source("file", {"prot": 1}))

    assert text.startswith("file: unknown key prot")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "node.toml")

    with pytest.raises(ConfigError, match="expected a regular file"):
        read_file(tmp_path / "node.toml")
