"""What is due when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from thenodes_relay.deadlines import Deadlines


def test_what_is_due_comes_out_once_the_soonest_first() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for key, when in (("c", 3.0), ("a", 1.0), ("b", 2.0)):
        deadlines.set(key, when)

    assert deadlines.next == 1.0
    assert deadlines.due(2.0) == ["a", "b"]
    assert deadlines.due(2.0) == []
    assert (deadlines.next, len(deadlines)) == (3.0, 1)


def test_a_key_is_due_when_it_was_set_to_last_or_never() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("later", 1.0)
    deadlines.set("later", 5.0)
    deadlines.set("never", 1.0)
    deadlines.set("never", None)

    assert deadlines.next == 5.0
    assert deadlines.due(4.0) == []
    assert deadlines.due(5.0) == ["later"]
    assert deadlines.next is None


def test_a_key_that_is_moved_on_and_on_takes_no_more_room() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for when in range(100_000, 0, -1):
        deadlines.set("a", float(when))
        deadlines.set("b", 200_000.0 - when)

    assert deadlines.entries < 200
    assert deadlines.due(1e6) == ["a", "b"]


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.none() | st.integers(0, 9)), max_size=40),
    st.integers(0, 9),
)
def test_what_is_due_is_what_a_dictionary_says(
    changes: list[tuple[str, int | None]], now: int
) -> None:
    deadlines: Deadlines[str] = Deadlines()
    expected: dict[str, int] = {}
    for key, when in changes:
        deadlines.set(key, when)
        expected.pop(key, None)
        if when is not None:
            expected[key] = when

    assert deadlines.next == min(expected.values(), default=None)
    due = deadlines.due(now)
    assert sorted(due) == sorted(key for key, when in expected.items() if when <= now)
    assert [expected[key] for key in due] == sorted(expected[key] for key in due)
