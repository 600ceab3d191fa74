"""One setting of a TOML text changes, and nothing else of it."""

from __future__ import annotations

import math
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thenodes_cli.settings.edit import NotEdited, same, with_value, without

FILE = """\
# mine
port = 50001   # not the default

[realm]
# the flat
name = 'Home'
# version = "2.0"

[network.relay]
use = [
    "a:1",  # first
]
"""


def test_a_value_changes_in_its_place_and_keeps_its_comment() -> None:
    edited = with_value(FILE, ["port"], 50002)

    assert edited == FILE.replace("50001", "50002")


def test_a_setting_that_stands_as_a_comment_is_set_there() -> None:
    edited = with_value(FILE, ["realm", "version"], "3.0")

    assert edited == FILE.replace('# version = "2.0"', 'version = "3.0"')


def test_a_comment_of_another_table_is_not_taken() -> None:
    edited = with_value(FILE, ["app_name"], "x")

    assert '# version = "2.0"' in edited
    assert tomllib.loads(edited)["app_name"] == "x"
    assert tomllib.loads(edited)["realm"] == {"name": "Home"}


def test_a_table_that_is_missing_is_made() -> None:
    edited = with_value(FILE, ["encryption", "trust_policy", "mode"], "tofu")

    assert edited.startswith(FILE)
    assert tomllib.loads(edited)["encryption"] == {"trust_policy": {"mode": "tofu"}}


@pytest.mark.parametrize(
    "text",
    [
        'realm = { name = "Home" }\n',
        'realm.name = "Home"\nport = 1\n',
        '[realm]\nname = "Home"\n[node]\nid = "a"\n[realm.x]\n',
        'port = 1\r\n[realm]\r\nname = "Home"\r\n',
    ],
)
def test_every_form_of_a_table_can_be_changed(text: str) -> None:
    edited = with_value(text, ["realm", "name"], "Barn")

    assert edited == text.replace("Home", "Barn")


def test_lines_that_are_added_end_as_those_that_are_there() -> None:
    text = "# a\r\nport = 1 # b\r\n\r\n[realm]\r\nname = 'r' # c\r\n"

    edited = with_value(text, ["network", "relay", "enabled"], True)
    edited = with_value(edited, ["realm", "code"], "q")

    assert edited.count("\r\n") == edited.count("\n")
    assert "port = 1 # b\r\n" in edited
    assert (without(edited, ["realm", "code"]) or "").count("\n") == edited.count("\n") - 1
    assert with_value("port = 1\r\nhost = 'a'\n", ["port"], 2) == "port = 2\r\nhost = 'a'\n"


def test_a_file_with_a_value_that_equals_nothing_can_be_changed() -> None:
    text = "[plugin.kv]\na = nan\n"

    assert with_value(text, ["plugin", "kv", "b"], 1) == f"{text}b = 1\n"
    assert without(f"{text}b = 1\n", ["plugin", "kv", "b"]) == text


def test_values_of_two_types_do_not_mean_the_same() -> None:
    assert same({"a": [1.0, {"b": math.nan}]}, {"a": [1.0, {"b": math.nan}]})
    others: list[object] = [True, 1.0, "1", [1], {}]
    for other in others:
        assert not same({"a": 1}, {"a": other})
    assert not same([1], [1, 1])
    assert not same({"a": 1}, {"b": 1})


def test_a_value_below_another_value_is_refused() -> None:
    with pytest.raises(NotEdited):
        with_value("realm = 3\n", ["realm", "name"], "Home")


def test_a_setting_is_taken_out_and_the_rest_stays() -> None:
    edited = without(FILE, ["realm", "name"])

    assert edited == FILE.replace("name = 'Home'\n", "")
    assert without(FILE, ["realm", "code"]) is None


@given(st.text(), st.sampled_from([["port"], ["realm", "name"], ["plugin", "kv", "x"]]))
def test_any_text_comes_out_as_it_was_given(value: str, key: list[str]) -> None:
    found: Any = tomllib.loads(with_value(FILE, key, value))

    for word in key:
        found = found[word]
    assert found == value
