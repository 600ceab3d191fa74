"""How often something may happen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from thenodes_core.rate import Damper, TokenBucket


def test_a_bucket_allows_its_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(2.0, 3.0, now=0.0)

    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(0.5), bucket.take(0.5)] == [True, False]


def test_a_refusal_uses_nothing_up() -> None:
    bucket = TokenBucket(1.0, 2.0, now=0.0)

    assert not bucket.take(0.0, 3)
    assert bucket.take(0.0, 2)


@given(st.lists(st.floats(0, 5), max_size=60))
def test_a_bucket_never_allows_more_than_its_burst_and_its_rate(waits: list[float]) -> None:
    bucket, now, taken = TokenBucket(1.0, 4.0, now=0.0), 0.0, 0
    for wait in waits:
        now += wait
        taken += bucket.take(now)

    assert taken <= 4 + now + 1e-6


def test_a_damper_tells_how_much_it_kept_back() -> None:
    damper = Damper(1.0, 2.0, now=0.0)

    assert [damper.let_through(0.0) for _ in range(5)] == [0, 0, None, None, None]
    assert damper.let_through(1.0) == 3
    assert damper.let_through(2.0) == 0


def test_what_is_kept_back_in_bulk_is_told_with_the_next() -> None:
    damper = Damper(1.0, 1.0, now=0.0)
    assert damper.let_through(0.0) == 0

    damper.keep_back(5)

    assert damper.let_through(1.0) == 5
