"""Tests of ids and fingerprints."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thenodes_core.node_id import derive_node_id, fingerprint, may_be_derived


def test_a_fingerprint_is_sha_256_in_lowercase_hex() -> None:
    assert fingerprint(b"abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


@given(st.binary(max_size=200))
def test_a_derived_id_is_32_characters_of_lowercase_base32(public_key: bytes) -> None:
    assert re.fullmatch(r"[a-z2-7]{32}", derive_node_id(public_key))


@given(st.binary(max_size=200))
def test_a_derived_id_is_the_first_20_bytes_of_the_fingerprint(public_key: bytes) -> None:
    decoded = base64.b32decode(derive_node_id(public_key).upper())

    assert decoded == hashlib.sha256(public_key).digest()[:20]


def test_keys_that_differ_in_one_bit_have_different_ids() -> None:
    assert derive_node_id(b"key\x00") != derive_node_id(b"key\x01")


@pytest.mark.parametrize(
    ("node_id", "may_be"),
    [(derive_node_id(b"key"), True), ("kitchen", False), ("a" * 31, False), ("A" * 32, False)],
)
def test_an_id_that_was_chosen_is_told_from_one_that_may_be_a_keys(
    node_id: str, may_be: bool
) -> None:
    assert may_be_derived(node_id) is may_be
