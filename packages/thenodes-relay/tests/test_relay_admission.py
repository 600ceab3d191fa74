"""Whom the relay serves, and how fast (design: relay.md, Admission and limits)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thenodes_plugin_api import Reason
from thenodes_relay.admission import Admission, Rates
from thenodes_relay.causes import Cause, Refused
from thenodes_relay.settings import Settings

KEY, OTHER_KEY = "ab" * 32, "cd" * 32


def admission(allow: tuple[str, ...] = (), deny: tuple[str, ...] = ()) -> Admission:
    return Admission(Settings(allow=allow, deny=deny), lambda key: key == OTHER_KEY)


def rates(frames: int = 0, burst: int = 1, size: int = 0, bytes_burst: int = 1) -> Rates:
    return Rates(
        Settings(
            frames_per_second=frames,
            frames_burst=burst,
            bytes_per_second=size,
            bytes_burst=bytes_burst,
        )
    )


def test_everybody_with_a_key_is_served_where_nobody_is_named() -> None:
    assert admission().admit("a", KEY) is None


def test_a_node_without_a_key_is_not_served() -> None:
    refused = admission(allow=("a",)).admit("a", None)

    assert refused is not None
    assert (refused.cause, refused.reason) == (Cause.UNPROVEN, Reason.POLICY_DENIED)


@pytest.mark.parametrize("entry", ["a", KEY, KEY.upper()])
def test_who_is_denied_by_id_or_key_is_not_served_even_if_allowed(entry: str) -> None:
    refused = admission(allow=("a", KEY), deny=(entry,)).admit("a", KEY)

    assert refused is not None
    assert (refused.cause, refused.reason) == (Cause.DENIED, Reason.POLICY_DENIED)


@pytest.mark.parametrize("entry", ["a", KEY, KEY.upper()])
def test_where_somebody_is_allowed_nobody_else_is_served(entry: str) -> None:
    gate = admission(allow=(entry,))

    assert gate.admit("a", KEY) is None
    refused = gate.admit("b", OTHER_KEY)
    assert refused is not None
    assert (refused.cause, refused.reason) == (Cause.NOT_ALLOWED, Reason.POLICY_DENIED)


def test_who_is_neither_allowed_nor_pinned_nor_trusted_is_a_stranger() -> None:
    gate = admission(allow=("allowed",))

    assert gate.is_stranger("a", KEY)
    assert not gate.is_stranger("allowed", KEY)
    assert not gate.is_stranger("a", OTHER_KEY)
    assert not admission(allow=(KEY,)).is_stranger("a", KEY)


def test_a_node_sends_its_burst_and_then_its_rate() -> None:
    table = rates(frames=10, burst=3)

    passed = [table.take("a", 1, 100, 0.0) is None for _ in range(5)]

    assert passed == [True, True, True, False, False]
    assert table.take("a", 1, 100, 0.1) is None
    assert table.take("a", 1, 100, 0.1) is not None


def test_each_node_has_a_rate_of_its_own() -> None:
    table = rates(frames=10, burst=1)
    assert table.take("a", 1, 1, 0.0) is None

    assert table.take("a", 1, 1, 0.0) is not None
    assert table.take("b", 1, 1, 0.0) is None


def test_bytes_have_a_rate_too() -> None:
    table = rates(size=1000, bytes_burst=500)
    assert table.take("a", 1, 500, 0.0) is None

    refused = table.take("a", 1, 1, 0.0)

    assert refused is not None
    assert (refused.cause, refused.reason) == (Cause.TOO_FAST, Reason.RATE_LIMITED)
    assert "bytes_per_second = 1000" in refused.detail


def test_a_refusal_says_when_to_come_again() -> None:
    table = rates(frames=10, burst=5)
    assert table.take("a", 25, 1, 0.0) is None

    refused = table.take("a", 1, 1, 0.0)

    assert refused is not None
    assert "frames_per_second = 10" in refused.detail
    assert refused.retry_after is not None
    assert refused.retry_after == pytest.approx(2.1)
    assert table.take("a", 1, 1, 2.0 - 1e-6) is not None
    assert table.take("a", 1, 1, refused.retry_after) is None


def test_a_rate_of_nothing_is_no_limit() -> None:
    table = rates()

    assert all(table.take("a", 10**6, 10**9, 0.0) is None for _ in range(100))
    assert len(table) == 0


def test_one_of_the_rates_may_be_without_limit() -> None:
    table = rates(frames=10, burst=1)

    assert table.take("a", 1, 10**9, 0.0) is None
    assert table.take("a", 1, 1, 1.0) is None


def test_what_a_node_used_up_is_not_forgotten_while_others_come_and_go() -> None:
    table = rates(frames=10, burst=10)
    table.take("fast", 1000, 1, 0.0)

    for number in range(10_000):
        table.take(f"node {number}", 1, 1, number / 1000)

    assert isinstance(table.take("fast", 1, 1, 10.0), Refused)
    assert len(table) < 1000


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 8)), max_size=80))
def test_nobody_is_faster_than_burst_and_rate_and_one_batch(
    batches: list[tuple[float, int]],
) -> None:
    table, now, sent = rates(frames=2, burst=4), 0.0, 0
    for wait, frames in batches:
        now += wait
        if table.take("a", frames, 1, now) is None:
            sent += frames

    assert sent <= 4 + 2 * now + 8 + 1e-6
