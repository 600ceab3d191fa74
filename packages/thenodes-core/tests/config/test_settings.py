"""Configuration: files, flags, presets of plugins, and what is refused."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thenodes_core.config import (
    Config,
    EncryptionTable,
    NodeTable,
    RealmTable,
    Settings,
    given_keys,
    is_loopback,
    load_config,
    make_config,
    validate,
    with_defaults,
)
from thenodes_core.errors import ConfigError
from thenodes_plugin_api import ConfigDefaults, NodeDefaults, RealmDefaults

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a configuration file and returns its path."""

    def write(text: str) -> Path:
        path = tmp_path / "node.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def problem(path: Path, overrides: dict[str, Any] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return str(caught.value)


def test_an_empty_file_gives_the_librarys_defaults(write: Write) -> None:
    assert load_config(write("")) == Settings(Config(), {})


def test_by_default_a_node_listens_on_this_machine_at_the_references_port() -> None:
    assert (Config().host, Config().port) == ("127.0.0.1", 50000)


def test_the_keys_that_a_file_set_are_told(write: Write) -> None:
    settings = load_config(write('port = 1\n[realm]\nname = "Home"\n[plugin.my]\na = 1\n'))

    assert settings.given == {"port", "realm.name", "plugin.my.a"}


def test_the_table_of_a_plugin_is_read_as_it_stands(write: Write) -> None:
    config = load_config(write('[plugin.my]\ngreeting = "hello"\nlist = [1, 2]\n')).config

    assert config.plugin == {"my": {"greeting": "hello", "list": [1, 2]}}


def test_an_unknown_key_is_told_with_file_key_and_the_nearest_one(write: Write) -> None:
    path = write("prot = 1\n")

    assert problem(path) == f"{path}: unknown key prot; did you mean port?"


def test_an_unknown_key_in_a_table_is_told_by_its_dotted_name(write: Write) -> None:
    path = write("[encryption]\nallow_plain_text = true\n")

    text = "unknown key encryption.allow_plain_text; did you mean encryption.allow_plaintext?"
    assert problem(path) == f"{path}: {text}"


def test_a_key_of_another_table_is_found_there(write: Write) -> None:
    assert "did you mean node.state_dir?" in problem(write('state_dir = "x"\n'))


def test_an_unknown_key_like_no_other_lists_what_is_known_there(write: Write) -> None:
    assert "unknown key qqqq; known here: host, port, " in problem(write("qqqq = 1\n"))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('port = "50000"', "port"),
        ("port = 50000.0", "port"),
        ("port = true", "port"),
        ("port = 65536", "port"),
        ("port = -1", "port"),
        ("host = 1", "host"),
        ("[realm]\nname = 1", "realm.name"),
        ('[node]\nid = "a b"', "node.id"),
        ('[node]\nnode_type = ""', "node.node_type"),
        ('[encryption]\nenabled = "yes"', "encryption.enabled"),
        ("realm = 1", "realm"),
        ("plugin = 1", "plugin"),
    ],
)
def test_a_value_of_the_wrong_type_is_told_with_file_and_dotted_key(
    write: Write, text: str, key: str
) -> None:
    path = write(text)

    assert problem(path).startswith(f"{path}: {key}: ")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"

    assert problem(path) == f"{path}: cannot be read: No such file or directory"


def test_a_folder_instead_of_a_file_is_told(tmp_path: Path) -> None:
    assert problem(tmp_path).startswith(f"{tmp_path}: cannot be read")


def test_a_file_that_is_not_toml_is_told(write: Write) -> None:
    path = write("port = \n")

    assert problem(path).startswith(f"{path}: not TOML: ")


def test_a_file_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_bytes(b'app_name = "\xff"\n')

    assert problem(path).startswith(f"{path}: not TOML: ")


def test_relative_paths_are_anchored_at_the_files_folder(write: Write) -> None:
    path = write('[node]\nstate_dir = "s"\n[plugins]\ndirectory = "d"\npaths = ["p/one", "../q"]\n')
    folder = path.parent

    config = load_config(path).config

    assert config.node.state_dir == str(folder / "s")
    assert config.plugins.directory == str(folder / "d")
    assert config.plugins.paths == (str(folder / "p/one"), str(folder / "../q"))


def test_paths_of_a_file_named_relatively_are_absolute(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write('[node]\nstate_dir = "s"\n')
    monkeypatch.chdir(path.parent)

    config = load_config(Path(path.name)).config

    assert config.node.state_dir == str(path.parent / "s")


def test_absolute_and_home_paths_stay_where_they_point(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")

    config = load_config(
        write('[node]\nstate_dir = "/var/node"\n[plugins]\ndirectory = "~/plugins"\n')
    ).config

    assert config.node.state_dir == "/var/node"
    assert config.plugins.directory == "/home/ada/plugins"


def test_a_path_in_the_overrides_is_not_anchored_at_the_file(write: Write) -> None:
    config = load_config(write(""), {"node": {"state_dir": "here"}}).config

    assert config.node.state_dir == "here"


def test_flags_win_over_the_file(write: Write) -> None:
    config = load_config(write("port = 1\n"), {"port": 2}).config

    assert config.port == 2


def test_a_flag_leaves_the_other_keys_of_its_table_alone(write: Write) -> None:
    path = write('[realm]\nname = "Home"\nversion = "2"\n')

    settings = load_config(path, {"realm": {"version": "3"}})

    assert (settings.config.realm.name, settings.config.realm.version) == ("Home", "3")
    assert settings.given == {"realm.name", "realm.version"}


def test_an_unknown_flag_is_an_error(write: Write) -> None:
    assert "unknown key prot" in problem(write(""), {"prot": 1})


def test_a_configuration_can_be_made_without_a_file() -> None:
    settings = make_config({"port": 1, "realm": {"name": "Home"}})

    assert (settings.config.port, settings.config.realm.name) == (1, "Home")
    assert settings.given == {"port", "realm.name"}


def test_the_keys_that_a_program_set_are_those_that_differ() -> None:
    config = Config(port=0, host="127.0.0.1", node=NodeTable(id="a"))

    assert given_keys(config) == {"port", "node.id"}


def test_a_plugins_preset_wins_over_the_librarys_default() -> None:
    preset = ConfigDefaults(
        port=1,
        app_name="app",
        realm=RealmDefaults(name="Home"),
        node=NodeDefaults(node_type="sensor"),
    )

    config = with_defaults(Config(), (), [preset])

    assert (config.port, config.app_name) == (1, "app")
    assert (config.realm.name, config.node.node_type) == ("Home", "sensor")


def test_the_operators_value_wins_over_a_plugins_preset() -> None:
    config = with_defaults(Config(port=2), {"port"}, [ConfigDefaults(port=1)])

    assert config.port == 2


def test_an_operators_value_wins_even_where_it_is_the_librarys_default() -> None:
    config = with_defaults(Config(), {"port"}, [ConfigDefaults(port=1)])

    assert config.port == 50000


def test_a_preset_does_not_touch_the_other_keys_of_its_table() -> None:
    settings = make_config({"realm": {"version": "7"}})

    config = with_defaults(
        settings.config,
        settings.given,
        [ConfigDefaults(realm=RealmDefaults(name="Home", version="1"))],
    )

    assert (config.realm.name, config.realm.version) == ("Home", "7")


def test_of_two_plugins_that_preset_the_same_the_first_wins() -> None:
    config = with_defaults(Config(), (), [ConfigDefaults(port=1), ConfigDefaults(port=2)])

    assert config.port == 1


def test_flags_win_over_the_file_over_presets_over_the_library(write: Write) -> None:
    path = write('port = 2\nhost = "::1"\n')
    loaded = load_config(path, {"port": 3})

    config = with_defaults(loaded.config, loaded.given, [ConfigDefaults(port=4, app_name="preset")])

    assert (config.port, config.host, config.app_name) == (3, "::1", "preset")
    assert config.node.node_type == "daemon"


def test_bootstrap_nodes_of_the_operator_win_over_a_preset() -> None:
    settings = make_config({"bootstrap_nodes": ["a:1"]})

    config = with_defaults(
        settings.config, settings.given, [ConfigDefaults(bootstrap_nodes=("b:1",))]
    )

    assert config.bootstrap_nodes == ("a:1",)


def test_bootstrap_nodes_extend_adds_without_duplicates_and_in_order() -> None:
    settings = make_config({"bootstrap_nodes": ["a:1", "b:1"]})
    presets = [
        ConfigDefaults(bootstrap_nodes_extend=("b:1", "c:1")),
        ConfigDefaults(bootstrap_nodes_extend=("c:1", "d:1")),
    ]

    config = with_defaults(settings.config, settings.given, presets)

    assert config.bootstrap_nodes == ("a:1", "b:1", "c:1", "d:1")


def test_bootstrap_nodes_extend_adds_to_a_preset_list_too() -> None:
    presets = [
        ConfigDefaults(bootstrap_nodes_extend=("b:1",)),
        ConfigDefaults(bootstrap_nodes=("a:1",)),
    ]

    assert with_defaults(Config(), (), presets).bootstrap_nodes == ("a:1", "b:1")


def test_presets_leave_the_tables_of_plugins_as_they_are() -> None:
    config = Config(plugin={"my": {"a": {"b": [1]}}})

    assert with_defaults(config, ("plugin",), [ConfigDefaults(port=1)]).plugin == config.plugin


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_a_loopback_host_needs_nothing_more(host: str) -> None:
    assert is_loopback(host)
    validate(Config(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.2", "example.org", ""])
def test_listening_beyond_loopback_needs_allow_plaintext(host: str) -> None:
    with pytest.raises(ConfigError, match="allow_plaintext"):
        validate(Config(host=host))


def test_allow_plaintext_lets_a_node_listen_beyond_loopback() -> None:
    validate(Config(host="0.0.0.0", encryption=EncryptionTable(allow_plaintext=True)))


def test_tls_is_refused_as_long_as_it_is_not_built() -> None:
    with pytest.raises(ConfigError, match=r"encryption\.enabled"):
        validate(Config(encryption=EncryptionTable(enabled=True)))


@pytest.mark.parametrize("address", ["", "example.org", "http://a:1", "a:0", "a:99999", "a b:1"])
def test_a_bootstrap_address_that_cannot_be_dialled_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="bootstrap_nodes"):
        validate(Config(bootstrap_nodes=(address,)))


@pytest.mark.parametrize(
    "text", ["port = " + "[" * 50_000, "port = " + "9" * 5000], ids=["nested", "digits"]
)
def test_a_file_that_the_toml_reader_cannot_stomach_is_told(write: Write, text: str) -> None:
    path = write(text)

    assert problem(path).startswith(f"{path}: ")


@pytest.mark.parametrize("name", ["a\x1b[31m", "a\n", "a\u202eb", "x" * 129])
def test_a_realm_whose_name_cannot_be_shown_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"realm\.name: expected at most 64 printable"):
        validate(Config(realm=RealmTable(name=name)))


def test_a_date_in_the_table_of_a_plugin_stays_a_date(write: Write) -> None:
    loaded = load_config(write("[plugin.my]\nday = 2024-05-01\n"))

    config = with_defaults(loaded.config, loaded.given, [ConfigDefaults(port=1)])

    assert config.plugin == {"my": {"day": datetime.date(2024, 5, 1)}}
    assert config.port == 1


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_realm_name_is_refused(name: str) -> None:
    config = make_config({"realm": {"name": name}}).config

    with pytest.raises(ConfigError, match=r"realm\.name: expected a name"):
        validate(config)
