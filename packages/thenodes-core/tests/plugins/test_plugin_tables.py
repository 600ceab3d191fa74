"""A plugin's own table of the configuration, held against what the plugin declares."""

from __future__ import annotations

import msgspec
import pytest

from thenodes_core.errors import PluginLoadError
from thenodes_core.plugins.tables import make_table

DEFAULTS: dict[str, object] = {
    "size": 1,
    "ratio": 0.5,
    "name": "x",
    "on": True,
    "words": ["a"],
    "any": [],
    "inner": {"depth": 1},
    "free": {},
}


class Typed(msgspec.Struct, rename="kebab"):
    max_size: int
    name: str = "none"


def refusal(
    given: dict[str, object],
    config_type: type[msgspec.Struct] | None = None,
    origins: dict[str, str] | None = None,
) -> PluginLoadError:
    with pytest.raises(PluginLoadError) as caught:
        make_table("my", {} if config_type else DEFAULTS, given, config_type, origins=origins)
    assert caught.value.code == "TN-P061"
    return caught.value


def test_what_the_operator_gives_wins_over_the_defaults() -> None:
    table = make_table("my", DEFAULTS, {"size": 2, "inner": {"depth": 3}}, None)

    assert table == {**DEFAULTS, "size": 2, "inner": {"depth": 3}}


@pytest.mark.parametrize(
    "given",
    [{"ratio": 2}, {"words": []}, {"words": ["b", "c"]}, {"any": [1, "x"]}, {"free": {"a": 1}}],
    ids=str,
)
def test_values_of_the_types_of_the_defaults_are_taken(given: dict[str, object]) -> None:
    assert make_table("my", DEFAULTS, given, None) == {**DEFAULTS, **given}


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"size": "2"}, "plugin.my.size"),
        ({"size": True}, "plugin.my.size"),
        ({"size": 2.0}, "plugin.my.size"),
        ({"on": 1}, "plugin.my.on"),
        ({"name": 1}, "plugin.my.name"),
        ({"words": "a"}, "plugin.my.words"),
        ({"words": ["b", 1]}, "plugin.my.words[1]"),
        ({"inner": 1}, "plugin.my.inner"),
        ({"inner": {"depth": "deep"}}, "plugin.my.inner.depth"),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_told_by_its_key(given: dict[str, object], key: str) -> None:
    error = refusal(given)

    assert error.received.startswith(f"{key}: got ")
    assert error.expected


def test_an_unknown_key_is_told_with_the_nearest() -> None:
    error = refusal({"sise": 2})

    assert error.received == "plugin.my.sise: got an unknown key"
    assert error.expected == "plugin.my.size"


def test_a_plugin_that_declares_nothing_takes_every_table() -> None:
    assert make_table("my", {}, {"what": 1}, None) == {"what": 1}


def test_the_type_of_the_class_wins_over_the_defaults() -> None:
    table = make_table("my", {"max-size": 1}, {"name": "y"}, Typed)

    assert table == {"max-size": 1, "name": "y"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"max-size": "big"}, "plugin.my.max-size: got Expected `int`, got `str`"),
        ({}, "plugin.my: got Object missing required field `max-size`"),
        ({"max-size": 1, "nam": "y"}, "plugin.my.nam: got an unknown key"),
    ],
    ids=str,
)
def test_what_does_not_fit_the_type_of_the_class_is_told(
    given: dict[str, object], told: str
) -> None:
    assert refusal(given, Typed).received == told


@pytest.mark.parametrize(
    ("given", "origins"),
    [
        ({"size": "2"}, {"plugin.my.size": "node.toml"}),
        ({"inner": {"depth": "2"}}, {"plugin.my.inner": "node.toml"}),
    ],
    ids=str,
)
def test_the_file_of_a_wrong_value_is_told(
    given: dict[str, object], origins: dict[str, str]
) -> None:
    assert refusal(given, origins=origins).received.startswith("node.toml: plugin.my.")
