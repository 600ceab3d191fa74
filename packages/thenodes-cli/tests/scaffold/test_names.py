"""Names of a new plugin, and what is refused."""

from __future__ import annotations

import keyword
import sys

import pytest

from thenodes_cli.scaffold.names import MOST_CHARACTERS, Names, derive_names
from thenodes_core.errors import CommandError


def refusal(typed: str, **given: str) -> str:
    with pytest.raises(CommandError) as caught:
        derive_names(typed, given)
    return str(caught.value)


def test_every_name_follows_from_the_one_that_was_typed() -> None:
    assert derive_names("my", {}) == Names(
        name="my", id="my", prefix="my", module="thenodes_my", distribution="thenodes-my"
    )


@pytest.mark.parametrize(
    ("typed", "plugin_id", "name"),
    [
        ("My Plugin", "my-plugin", "My Plugin"),
        ("my-plugin", "my-plugin", "my-plugin"),
        ("my_plugin", "my-plugin", "my_plugin"),
        ("  my   plugin ", "my-plugin", "my plugin"),
        ("my--plugin-", "my-plugin", "my--plugin"),
        ("naïve", "naive", "naïve"),
        ("nai\u0308ve", "naive", "naïve"),
        ("class", "class", "class"),
        ("json", "json", "json"),
        ("msgspec", "msgspec", "msgspec"),
        ("websockets", "websockets", "websockets"),
        ("thenodes-my", "my", "thenodes-my"),
        ("thenodes_my", "my", "thenodes_my"),
        ("v2.1", "v2-1", "v2.1"),
        ("x" * MOST_CHARACTERS, "x" * MOST_CHARACTERS, "x" * MOST_CHARACTERS),
    ],
)
def test_a_name_becomes_an_id_and_a_module_that_python_takes(
    typed: str, plugin_id: str, name: str
) -> None:
    names = derive_names(typed, {})

    assert (names.id, names.name) == (plugin_id, name)
    assert names.module == f"thenodes_{plugin_id.replace('-', '_')}"
    assert names.module.isidentifier()
    assert not keyword.iskeyword(names.module)
    assert names.module not in sys.stdlib_module_names


@pytest.mark.parametrize(
    ("typed", "instead"),
    [
        ("", "thenodes new-plugin my"),
        ("   ", "thenodes new-plugin my"),
        ("-", "thenodes new-plugin my"),
        ("thenodes", "thenodes new-plugin my"),
        ("TheNodes", "thenodes new-plugin my"),
        ("some/where/my", "thenodes new-plugin my --output some/where"),
        ("../my", "thenodes new-plugin my --output .."),
        ("/my", "thenodes new-plugin my --output /"),
        ("some\\my", "thenodes new-plugin my --output some"),
        ("C:my", "thenodes new-plugin my"),
        (".", "thenodes new-plugin my"),
        ("..", "thenodes new-plugin my"),
        ("/", "thenodes new-plugin my"),
        ("x" * 200, "thenodes new-plugin xxxxxxxxxxxxxxxxxxxx"),
        ("x" * (MOST_CHARACTERS + 1), "thenodes new-plugin xxxxxxxxxxxxxxxxxxxx"),
        ("3d", "thenodes new-plugin my-3d"),
        ("日本", "thenodes new-plugin my"),
        ("straße", "thenodes new-plugin strae"),
        ("my!", "thenodes new-plugin my"),
        ("a;b$(c)", "thenodes new-plugin abc"),
        ("my\x00\x1b[31m", "thenodes new-plugin my31m"),
        ("\udc80my", "thenodes new-plugin my"),
        ("con", "thenodes new-plugin my-con"),
        ("nul", "thenodes new-plugin my-nul"),
        ("core", "thenodes new-plugin my-core"),
        ("thenodes-core", "thenodes new-plugin my-core"),
        ("relay", "thenodes new-plugin my-relay"),
        ("plugin-api", "thenodes new-plugin my-plugin-api"),
        ("status", "--data prefix=my-status"),
        ("help", "--data prefix=my-help"),
        ("quit", "--data prefix=my-quit"),
        ("plugins", "--data prefix=my-plugins"),
    ],
)
def test_what_cannot_be_a_name_is_refused_with_what_to_write_instead(
    typed: str, instead: str
) -> None:
    text = refusal(typed)

    assert instead in text
    assert len(text) < 250


@pytest.mark.parametrize("typed", ["my-3d", "my-core", "my-con", "strae", "abc"])
def test_what_is_proposed_instead_is_possible(typed: str) -> None:
    assert derive_names(typed, {}).id == typed


def test_a_prompt_word_is_a_name_with_another_prefix() -> None:
    names = derive_names("status", {"prefix": "my-status"})

    assert (names.id, names.prefix) == ("status", "my-status")


def test_a_chosen_id_decides_the_other_names() -> None:
    names = derive_names("My Plugin", {"id": "other_one"})

    assert (names.name, names.prefix) == ("My Plugin", "other_one")
    assert (names.module, names.distribution) == ("thenodes_other_one", "thenodes-other-one")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("id", "My"),
        ("id", ""),
        ("id", "a b"),
        ("id", "a\n"),
        ("id", "../a"),
        ("id", "x" * 33),
        ("prefix", "9"),
        ("prefix", "peers"),
        ("module", "class"),
        ("module", "match"),
        ("module", "json"),
        ("module", "msgspec"),
        ("module", "thenodes_core"),
        ("module", "a-b"),
        ("module", "a.b"),
        ("module", "../a"),
    ],
)
def test_a_chosen_name_that_is_impossible_or_taken_is_refused(key: str, value: str) -> None:
    assert repr(value) in refusal("my", **{key: value})
