"""Who handles which EXTENSION kind."""

from __future__ import annotations

import pytest

from thenodes_core.plugins.claims import Claims


@pytest.fixture
def claims() -> Claims[str]:
    claims: Claims[str] = Claims()
    claims.add("my.*", "my")
    claims.add("my.deep.*", "deep")
    claims.add("my.deep.exact", "exact")
    return claims


def test_a_kind_that_nobody_claimed_has_no_owner(claims: Claims[str]) -> None:
    assert claims.find("other.x") is None


def test_a_claim_with_a_star_takes_what_begins_with_it(claims: Claims[str]) -> None:
    assert claims.find("my.x") == "my"
    assert claims.find("my.x.y") == "my"


@pytest.mark.parametrize("kind", ["my", "myself.x", "My.x", ""])
def test_a_claim_with_a_star_takes_nothing_else(claims: Claims[str], kind: str) -> None:
    assert claims.find(kind) is None


def test_the_longest_claim_wins(claims: Claims[str]) -> None:
    assert claims.find("my.deep.x") == "deep"


def test_an_exact_claim_wins_over_a_longer_reach(claims: Claims[str]) -> None:
    assert claims.find("my.deep.exact") == "exact"


def test_an_exact_claim_takes_that_kind_alone(claims: Claims[str]) -> None:
    assert claims.find("my.deep.exact.x") == "deep"


def test_a_claim_made_after_a_kind_was_looked_up_counts(claims: Claims[str]) -> None:
    claims.find("late.x")

    claims.add("late.*", "late")

    assert claims.find("late.x") == "late"


def test_more_kinds_than_are_remembered_are_all_found(claims: Claims[str]) -> None:
    for _ in range(2):
        assert {claims.find(f"my.{number}") for number in range(3000)} == {"my"}
        assert {claims.find(f"other.{number}") for number in range(3000)} == {None}
