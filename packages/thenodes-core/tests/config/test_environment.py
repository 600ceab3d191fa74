"""Settings from environment variables."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from thenodes_core.config import keys_and_values, read_environment, setting_types, settle, variable
from thenodes_core.errors import ConfigError


def read(name: str, text: str) -> dict[str, Any]:
    return dict(keys_and_values(read_environment({name: text}).table))


def problem(*names: str, text: str = "1") -> str:
    with pytest.raises(ConfigError) as caught:
        read_environment(dict.fromkeys(names, text))
    return str(caught.value)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("port", "THENODES_PORT"),
        ("realm.name", "THENODES_REALM__NAME"),
        ("node.state_dir", "THENODES_NODE__STATE_DIR"),
        (
            "encryption.trust_policy.paths.observed_dir",
            "THENODES_ENCRYPTION__TRUST_POLICY__PATHS__OBSERVED_DIR",
        ),
    ],
)
def test_the_variable_of_a_key_has_two_underscores_for_a_dot(key: str, name: str) -> None:
    assert variable(key) == name


def test_no_two_keys_share_a_variable() -> None:
    names = [variable(key) for key, _ in setting_types()]

    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("name", "text", "key", "value"),
    [
        ("PORT", "0", "port", 0),
        ("PORT", "65535", "port", 65_535),
        ("LIMITS__CLOSE_SECONDS", "0.5", "limits.close_seconds", 0.5),
        ("LIMITS__CLOSE_SECONDS", "2", "limits.close_seconds", 2.0),
        ("NETWORK__PERSISTENCE__TTL_SECS", "60", "network.persistence.ttl_secs", 60),
        ("DISCOVERY__ENABLED", "true", "discovery.enabled", True),
        ("DISCOVERY__ENABLED", "FALSE", "discovery.enabled", False),
        ("DISCOVERY__ENABLED", "1", "discovery.enabled", True),
        ("DISCOVERY__ENABLED", "0", "discovery.enabled", False),
        ("REALM__NAME", "Home", "realm.name", "Home"),
        ("REALM__VERSION", "2", "realm.version", "2"),
        ("REALM__NAME", "true", "realm.name", "true"),
        ("APP_NAME", "null", "app_name", "null"),
        ("NODE__ID", "1", "node.id", "1"),
        ("LOGGING__JSON_PATH", "", "logging.json_path", ""),
        ("ENCRYPTION__BACKEND", "none", "encryption.backend", "none"),
        ("BOOTSTRAP_NODES", "a:1", "bootstrap_nodes", ["a:1"]),
        ("BOOTSTRAP_NODES", "a:1, b:1 ,", "bootstrap_nodes", ["a:1", "b:1"]),
        ("BOOTSTRAP_NODES", "", "bootstrap_nodes", []),
        ("BOOTSTRAP_NODES", " , ", "bootstrap_nodes", []),
        ("BOOTSTRAP_NODES", '["a:1", "b:1"]', "bootstrap_nodes", ["a:1", "b:1"]),
        ("BOOTSTRAP_NODES", "[]", "bootstrap_nodes", []),
        ("BOOTSTRAP_NODES", "[::1]:1,[::2]:1", "bootstrap_nodes", ["[::1]:1", "[::2]:1"]),
        ("PLUGINS__PATHS", '["a,b"]', "plugins.paths", ["a,b"]),
        (
            "REALM_ACCESS__ALLOWED_NODE_TYPES",
            "daemon,sensor",
            "realm_access.allowed_node_types",
            ["daemon", "sensor"],
        ),
    ],
)
def test_a_variable_is_read_as_the_type_of_its_key(
    name: str, text: str, key: str, value: object
) -> None:
    source = read_environment({f"THENODES_{name}": text})

    [(read_key, read_value)] = keys_and_values(source.table)
    if isinstance(read_value, tuple):
        read_value = list(read_value)
    assert (read_key, read_value, type(read_value)) == (key, value, type(value))
    settle([source])


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("PORT", "x", "Expected `int`"),
        ("PORT", "", "Expected `int`"),
        ("PORT", "1_0", "Expected `int`"),
        ("PORT", "0x10", "Expected `int`"),
        ("PORT", "70000", "Expected `int` <= 65535"),
        ("PORT", "-1", "Expected `int` >= 0"),
        ("LIMITS__CLOSE_SECONDS", "nan", "Expected `float` > 0.0"),
        ("LIMITS__CLOSE_SECONDS", "inf", "Expected `float` <= 1000000.0"),
        ("DISCOVERY__ENABLED", "yes", "Expected `bool`"),
        ("DISCOVERY__ENABLED", "", "Expected `bool`"),
        ("NODE__ID", "", "Expected `str` of length >= 1"),
        ("BOOTSTRAP_NODES", "[1, 2]", "Expected `str`"),
        ("NETWORK__RELAY__SEAL", "on", 'expected "required" or "off"'),
    ],
)
def test_a_wrong_value_is_told_with_variable_and_value(name: str, text: str, expected: str) -> None:
    error = problem(f"THENODES_{name}", text=text)

    assert error == f"environment: THENODES_{name}: {expected}, got {text!r}"


def test_the_source_is_called_environment() -> None:
    settings = settle([read_environment({"THENODES_PORT": "1"})])

    assert settings.origins == {"port": "environment"}


def test_other_variables_are_none_of_ours() -> None:
    environ = {"PATH": "/bin", "thenodes_port": "1", "THENODES": "1", "MY_THENODES_PORT": "1"}

    assert read_environment(environ).table == {}


def test_the_variable_that_names_the_file_is_no_setting() -> None:
    assert read_environment({"THENODES_CONFIG": "node.toml"}).table == {}


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("THENODES_PROT", "THENODES_PORT"),
        ("THENODES_Port", "THENODES_PORT"),
        ("THENODES_REALM_NAME", "THENODES_REALM__NAME"),
        ("THENODES_REALM", "THENODES_REALM__NAME"),
        ("THENODES_NODE__STATEDIR", "THENODES_NODE__STATE_DIR"),
        ("THENODES_CONFIGG", "THENODES_CONFIG"),
    ],
)
def test_an_unknown_variable_is_told_with_the_nearest_one(name: str, nearest: str) -> None:
    assert problem(name) == f"environment: unknown variable {name}; did you mean {nearest}?"


def test_an_unknown_variable_like_no_other_is_told_without_a_suggestion() -> None:
    assert problem("THENODES_QQQQQQQQQQ") == "environment: unknown variable THENODES_QQQQQQQQQQ"


@pytest.mark.parametrize(
    "name",
    ["PLUGIN", "PLUGIN__MY", "PLUGIN__", "PLUGIN____A", "PLUGIN__MY__", "PLUGIN__MY____A", "_PORT"],
)
def test_what_names_no_key_of_a_plugin_is_unknown(name: str) -> None:
    assert problem(f"THENODES_{name}").startswith(f"environment: unknown variable THENODES_{name}")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("0.5", 0.5),
        ("true", True),
        ('"7"', "7"),
        ("hello", "hello"),
        ("hello world", "hello world"),
        ("", ""),
        ("[1, 2]", [1, 2]),
        ("[1, 2", "[1, 2"),
        ("2024-05-01", datetime.date(2024, 5, 1)),
        ("a = 1", "a = 1"),
        ("[" * 5000, "[" * 5000),
        ("9" * 5000, "9" * 5000),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_key_of_a_plugins_table_is_toml_or_else_text(text: str, value: object) -> None:
    assert read("THENODES_PLUGIN__MY__SIZE", text) == {"plugin.my.size": value}


@pytest.mark.parametrize("text", ["1\nb = 2", "true\n[c]"])
def test_text_of_several_lines_is_kept_whole(text: str) -> None:
    assert read("THENODES_PLUGIN__MY__SIZE", text) == {"plugin.my.size": text}


def test_a_plugins_name_keeps_its_single_underscores() -> None:
    assert read("THENODES_PLUGIN__MY_PLUGIN__MAX_SIZE", "1") == {"plugin.my_plugin.max_size": 1}


def test_a_table_within_a_plugins_table_can_be_set() -> None:
    environ = {
        "THENODES_PLUGIN__MY__A__B": "1",
        "THENODES_PLUGIN__MY__A__C": "2",
        "THENODES_PLUGIN__MY__D": "3",
    }

    assert read_environment(environ).table == {"plugin": {"my": {"a": {"b": 1, "c": 2}, "d": 3}}}


def test_a_key_below_a_value_is_told() -> None:
    error = problem("THENODES_PLUGIN__MY__A", "THENODES_PLUGIN__MY__A__B")

    assert error == "environment: THENODES_PLUGIN__MY__A__B is below another value"


def test_text_that_is_not_utf8_does_not_break_the_reading() -> None:
    assert read("THENODES_APP_NAME", "\udcff") == {"app_name": "\udcff"}


@pytest.mark.parametrize("name", ["THENODES_PORT", "THENODES_LIMITS__HANDSHAKE_SECONDS"])
def test_a_value_that_is_no_text_is_told(name: str) -> None:
    with pytest.raises(ConfigError, match=f"environment: {name}: not text in UTF-8"):
        read_environment({name: "\udcff"})
