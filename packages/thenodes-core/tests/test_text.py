"""Tests of text made safe to print."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thenodes_core.text import printable, printable_json


def test_printable_text_is_left_as_it_is() -> None:
    assert printable("Grüße, №2 — 世界 \\n") == "Grüße, №2 — 世界 \\n"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("\x1b[31m", "\\x1b[31m"),
        ("two\nlines", "two\\nlines"),
        ("bell\x07", "bell\\x07"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\x9b31m", "\\x9b31m"),
        ("half \ud800", "half \\ud800"),
    ],
)
def test_what_a_terminal_would_act_on_is_escaped(text: str, escaped: str) -> None:
    assert printable(text) == escaped


def test_text_of_the_greatest_length_is_not_cut() -> None:
    assert printable("x" * 10, most=10) == "x" * 10


def test_longer_text_is_cut_and_says_so() -> None:
    assert printable("x" * 11, most=10) == "x" * 10 + "…"


def test_text_that_grows_by_escaping_is_cut_as_well() -> None:
    assert len(printable("\x00" * 2000)) == 2001


@given(st.text(alphabet=st.characters(), max_size=50))
def test_any_text_becomes_printable(text: str) -> None:
    assert printable(text).isprintable()


@pytest.mark.parametrize(
    ("line", "escaped"),
    [
        ('{"a": "Grüße \\n"}', '{"a": "Grüße \\n"}'),
        ('"\x7f\x9b"', '"\\u007f\\u009b"'),
        ('"\u202e"', '"\\u202e"'),
        ('"\U000e0001"', '"\\udb40\\udc01"'),
        ('"\ud800"', '"\\ud800"'),
    ],
)
def test_json_is_escaped_the_way_of_json(line: str, escaped: str) -> None:
    assert printable_json(line) == escaped


@given(st.text(alphabet=st.characters(), max_size=50))
def test_json_is_printable_and_means_the_same(text: str) -> None:
    line = printable_json(json.dumps(text, ensure_ascii=False))

    assert line.isprintable()
    assert json.loads(line) == text
