"""Counters."""

from __future__ import annotations

from thenodes_core.events.counters import Counters


def test_what_was_never_counted_is_0() -> None:
    assert Counters().get("dials") == 0


def test_counts_add_up() -> None:
    counters = Counters()

    counters.add("dials")
    counters.add("dials", 2)

    assert counters.get("dials") == 3


def test_each_reason_is_counted_apart() -> None:
    counters = Counters()

    counters.add("messages_dropped", reason="bad_payload")
    counters.add("messages_dropped", reason="not_handled")

    assert counters.get("messages_dropped", reason="bad_payload") == 1
    assert counters.get("messages_dropped") == 0


def test_a_snapshot_is_ordered_by_name() -> None:
    counters = Counters()
    counters.add("b")
    counters.add("a", reason="why")

    assert list(counters.snapshot().items()) == [("a.why", 1), ("b", 1)]


def test_a_snapshot_does_not_change_later() -> None:
    counters = Counters()
    counters.add("a")
    snapshot = counters.snapshot()

    counters.add("a")

    assert snapshot == {"a": 1}


def test_counts_are_also_had_in_the_order_in_which_they_were_first_counted() -> None:
    counters = Counters()
    counters.add("b")
    counters.add("a")
    counters.add("b")

    assert list(counters.as_counted().items()) == [("b", 2), ("a", 1)]


def test_a_level_is_what_it_is_when_it_is_read() -> None:
    counters = Counters()
    waiting: list[int] = []

    hide = counters.show_level("waiting", lambda: len(waiting))
    counters.show_level("unknown", lambda: None)
    waiting.append(1)

    assert counters.levels() == {"waiting": 1}
    hide()
    assert counters.levels() == {}


def test_reading_a_count_does_not_make_one() -> None:
    counters = Counters()

    counters.get("never")

    assert counters.snapshot() == {}
