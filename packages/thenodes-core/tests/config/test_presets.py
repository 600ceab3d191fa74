"""What plugins preset, where nobody set anything."""

from __future__ import annotations

import pytest

from thenodes_core.config import Config, make_config, with_defaults
from thenodes_core.errors import ConfigError
from thenodes_plugin_api import ConfigDefaults, NodeDefaults, RealmDefaults


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


def test_two_plugins_may_preset_different_keys_of_a_table() -> None:
    presets = [
        ConfigDefaults(realm=RealmDefaults(name="Home")),
        ConfigDefaults(realm=RealmDefaults(name="Work", version="2")),
    ]

    realm = with_defaults(Config(), (), presets).realm

    assert (realm.name, realm.version) == ("Home", "2")


def test_without_presets_nothing_changes() -> None:
    config = Config(port=1, bootstrap_nodes=("a:1",))

    assert with_defaults(config, (), [ConfigDefaults()]) == config


def test_a_preset_list_applies_where_nobody_gave_one() -> None:
    config = with_defaults(Config(), (), [ConfigDefaults(bootstrap_nodes=("a:1", "b:1"))])

    assert config.bootstrap_nodes == ("a:1", "b:1")


def test_capabilities_are_no_setting() -> None:
    assert with_defaults(Config(), (), [ConfigDefaults(capabilities=("a/1",))]) == Config()


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        (ConfigDefaults(port=70_000), "port: Expected `int` <= 65535"),
        (ConfigDefaults(port="x"), "port: Expected `int`"),  # type: ignore[arg-type]
        (ConfigDefaults(realm=RealmDefaults(name="a\n")), r"realm\.name: expected at most 64"),
        (ConfigDefaults(realm=RealmDefaults(name="")), r"realm\.name: expected a name"),
        (ConfigDefaults(node=NodeDefaults(node_type="")), r"node\.node_type: Expected `str`"),
        (ConfigDefaults(bootstrap_nodes=("nowhere",)), "bootstrap_nodes: 'nowhere' has no port"),
        (ConfigDefaults(bootstrap_nodes_extend=("nowhere",)), "'nowhere' has no port"),
        (ConfigDefaults(capabilities=("x" * 65,)), "Expected `str`"),
    ],
    ids=["port", "type", "word", "empty", "node type", "address", "extension", "capability"],
)
def test_a_preset_that_is_not_allowed_is_refused(preset: ConfigDefaults, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        with_defaults(Config(), (), [preset])


def test_a_preset_that_is_not_allowed_is_refused_even_where_the_operator_set_the_key() -> None:
    with pytest.raises(ConfigError, match="presets of a plugin"):
        with_defaults(Config(port=1), {"port"}, [ConfigDefaults(port=70_000)])
