"""Sources over each other, and what an embedding program fixes."""

from __future__ import annotations

from typing import Any

import pytest

from thenodes_core.config import Locks, Source, make_config, read_environment, settle, with_defaults
from thenodes_core.errors import ConfigError
from thenodes_plugin_api import ConfigDefaults


def environment(**variables: str) -> dict[str, Any]:
    return dict(read_environment(variables).table)


def test_later_sources_win_and_origins_say_which_did() -> None:
    settings = settle(
        [
            Source("file", {"port": 1, "host": "::1", "realm": {"name": "Home"}}),
            read_environment({"THENODES_PORT": "2", "THENODES_REALM__VERSION": "9"}),
            Source("options", {"port": 3}),
        ]
    )

    config = settings.config
    assert (config.port, config.host, config.realm.name, config.realm.version) == (
        3,
        "::1",
        "Home",
        "9",
    )
    assert settings.origins == {
        "host": "file",
        "realm.name": "file",
        "realm.version": "environment",
        "port": "options",
    }


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("THENODES_PORT", "0", {"port": 0}),
        ("THENODES_APP_NAME", "an app", {"app_name": "an app"}),
        ("THENODES_APP_NAME", "12", {"app_name": "12"}),
        ("THENODES_DISCOVERY__ENABLED", "false", {"discovery": {"enabled": False}}),
        ("THENODES_BOOTSTRAP_NODES", "a:1, b:2", {"bootstrap_nodes": ["a:1", "b:2"]}),
        ("THENODES_BOOTSTRAP_NODES", '["a:1"]', {"bootstrap_nodes": ["a:1"]}),
        ("THENODES_BOOTSTRAP_NODES", "", {"bootstrap_nodes": []}),
        ("THENODES_LIMITS__HEARTBEAT_SECONDS", "2.5", {"limits": {"heartbeat_seconds": 2.5}}),
        (
            "THENODES_NETWORK__PERSISTENCE__TTL_SECS",
            "60",
            {"network": {"persistence": {"ttl_secs": 60}}},
        ),
        ("THENODES_PLUGIN__KV__MAX", "5", {"plugin": {"kv": {"max": 5}}}),
        ("THENODES_PLUGIN__KV__NAME", "x y", {"plugin": {"kv": {"name": "x y"}}}),
        ("THENODES_PLUGIN__KV__ON", "true", {"plugin": {"kv": {"on": True}}}),
    ],
)
def test_a_variable_is_read_as_its_setting_is_typed(
    name: str, text: str, expected: dict[str, Any]
) -> None:
    table = environment(**{name: text})

    assert {k: list(v) if isinstance(v, tuple) else v for k, v in table.items()} == expected
    make_config(table)


def test_other_variables_are_not_looked_at() -> None:
    assert environment(PATH="/bin", THENODES_CONFIG="a.toml", MYTHENODES_PORT="1") == {}


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("THENODES_PROT", "1", "unknown variable THENODES_PROT; did you mean THENODES_PORT?"),
        ("THENODES_PORT", "x", "THENODES_PORT: Expected `int`, got 'x'"),
        ("THENODES_PORT", "", "THENODES_PORT: Expected `int`, got ''"),
        ("THENODES_PORT", "99999", "THENODES_PORT: Expected `int` <= 65535, got '99999'"),
        ("THENODES_DISCOVERY__ENABLED", "no", "THENODES_DISCOVERY__ENABLED: Expected `bool`"),
        ("THENODES_PLUGIN", "1", "unknown variable THENODES_PLUGIN"),
        ("THENODES_PLUGIN__KV", "1", "unknown variable THENODES_PLUGIN__KV"),
        ("THENODES_PLUGIN__", "1", "unknown variable THENODES_PLUGIN__"),
    ],
)
def test_a_variable_that_cannot_be_used_is_told_by_its_name(
    name: str, text: str, problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        environment(**{name: text})

    assert str(caught.value).startswith(f"environment: {problem}")


def test_a_variable_below_another_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="THENODES_PLUGIN__KV__A__B is below another value"):
        environment(THENODES_PLUGIN__KV__A="1", THENODES_PLUGIN__KV__A__B="2")


LOCKS = Locks({"realm": {"name": "Fixed"}, "port": 7})


def test_what_a_program_fixes_applies() -> None:
    settings = make_config({"host": "::1"}, locks=LOCKS)

    assert (settings.config.realm.name, settings.config.port) == ("Fixed", 7)
    assert settings.origins["port"] == "fixed by the program"
    assert settings.warnings == ()


def test_a_source_that_sets_it_otherwise_is_an_error_with_the_way_out() -> None:
    with pytest.raises(ConfigError) as caught:
        settle([Source("node.toml", {"port": 8})], locks=LOCKS)

    text = "node.toml: port = 8, but this program fixes it to 7; remove it there"
    assert str(caught.value) == text


def test_a_source_that_sets_it_to_the_same_is_fine() -> None:
    assert make_config({"port": 7}, locks=LOCKS).config.port == 7


def test_a_program_may_override_with_a_warning() -> None:
    settings = make_config({"port": 8}, locks=Locks({"port": 7}, override=True))

    assert settings.config.port == 7
    assert settings.warnings == (
        "configuration: port = 8, but this program fixes it to 7, which applies",
    )


def test_no_plugins_preset_wins_over_what_is_fixed() -> None:
    settings = make_config({}, locks=LOCKS)

    config = with_defaults(settings.config, settings.given, [ConfigDefaults(port=9)])

    assert config.port == 7


def test_a_program_cannot_fix_what_there_is_not() -> None:
    with pytest.raises(ConfigError, match="fixed by the program: unknown key prot"):
        make_config({}, locks=Locks({"prot": 1}))


def test_keys_of_plugins_can_be_fixed_one_by_one() -> None:
    locks = Locks({"plugin": {"kv": {"max": 5}}})

    settings = make_config({"plugin": {"kv": {"name": "x"}}}, locks=locks)

    assert settings.config.plugin == {"kv": {"name": "x", "max": 5}}
