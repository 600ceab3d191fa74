"""Tests of realm codes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thenodes_core.protocol.realm import make_realm, realm_code
from thenodes_plugin_api import Realm


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("default", "default"),
        ("My Home", "my-home"),
        ("Müller  Home №2", "mueller-home-2"),
        ("MÜLLER", "mueller"),
        ("Mu\u0308ller", "mueller"),
        ("Größe", "grosse"),
        ("GROẞ", "gross"),
        ("Łódź", "lodz"),
        ("Æsir Ørsted", "aesir-orsted"),
        ("İstanbul", "istanbul"),
        ("--a__b..c--", "a-b-c"),
    ],
)
def test_a_name_has_its_code(name: str, code: str) -> None:
    assert realm_code(name) == code


@pytest.mark.parametrize("name", ["", "…", "---", "世界"])
def test_a_name_without_latin_letters_has_the_default_code(name: str) -> None:
    assert realm_code(name) == "default"


@settings(deadline=None)
@given(st.text(alphabet=st.characters(), max_size=40))
def test_a_code_is_lowercase_words_joined_by_single_dashes(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", realm_code(name))


@settings(deadline=None)
@given(st.text(alphabet=st.characters(), max_size=40))
def test_the_code_of_a_code_is_itself(name: str) -> None:
    assert realm_code(realm_code(name)) == realm_code(name)


def test_a_realm_takes_its_code_from_its_name() -> None:
    assert make_realm("Müller", "2") == Realm(name="Müller", code="mueller", version="2")


def test_a_code_that_is_given_is_brought_to_its_form() -> None:
    assert make_realm("Home", "1", "Other Home").code == "other-home"
