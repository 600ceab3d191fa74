"""Payloads: made and read in the form that they declare."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thenodes_plugin_api import Payload, PayloadError, PayloadForm


class Greeting(msgspec.Struct):
    name: str


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_comes_back_as_it_was(text: str) -> None:
    assert Payload.text(text).as_text() == text


@given(st.binary())
def test_bytes_come_back_as_they_were(data: bytes) -> None:
    assert Payload.binary(data).as_binary() == data


def test_json_comes_back_as_plain_values() -> None:
    assert Payload.json({"a": [1, None, "ü"]}).as_json() == {"a": [1, None, "ü"]}


def test_json_is_decoded_into_the_type_that_is_asked_for() -> None:
    assert Payload.json({"name": "Ada"}).as_json(Greeting) == Greeting("Ada")


def test_json_null_is_a_value() -> None:
    assert Payload.json(None).as_json() is None


def test_json_of_another_type_is_a_payload_error() -> None:
    with pytest.raises(PayloadError, match="name"):
        Payload.json({"name": 3}).as_json(Greeting)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'"\xff"', b"[" * 100_000])
def test_json_that_cannot_be_read_is_a_payload_error(data: bytes) -> None:
    with pytest.raises(PayloadError):
        Payload(PayloadForm.JSON, data).as_json()


def test_text_that_is_not_utf8_is_a_payload_error() -> None:
    with pytest.raises(PayloadError, match="UTF-8"):
        Payload(PayloadForm.TEXT, b"\xff").as_text()


def test_reading_another_form_is_a_payload_error_that_names_both() -> None:
    with pytest.raises(PayloadError, match="expected a text payload, got binary"):
        Payload.binary(b"").as_text()


@pytest.mark.parametrize("form", [PayloadForm.SEALED, PayloadForm.FRAME])
def test_a_sealed_payload_or_frame_is_not_read_as_bytes(form: PayloadForm) -> None:
    with pytest.raises(PayloadError):
        Payload(form, b"").as_binary()


def test_a_value_without_json_form_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        Payload.json(object())


def test_the_numbers_of_the_forms_are_the_wires() -> None:
    assert [(form.name, form.value) for form in PayloadForm] == [
        ("TEXT", 1),
        ("JSON", 2),
        ("BINARY", 3),
        ("SEALED", 4),
        ("FRAME", 5),
    ]
