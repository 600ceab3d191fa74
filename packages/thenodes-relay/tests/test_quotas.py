"""What may wait, for whom and of whom (design: relay.md, Store; Admission and limits)."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thenodes_plugin_api import QoS, Reason
from thenodes_relay.causes import Cause
from thenodes_relay.quotas import Load, Quotas
from thenodes_relay.settings import Settings
from thenodes_relay.store.base import Stored

WIDE = 10**6


def quotas(frames: int = WIDE, size: int = 10**12, most: int = WIDE) -> Quotas:
    return Quotas(
        Settings(queue_max_per_target=frames, queue_bytes_per_target=size, queue_max_global=most)
    )


def take(
    table: Quotas,
    sender: str = "a",
    target: str = "t",
    size: int = 1,
    *,
    stranger: bool = False,
    qos: QoS = QoS.HIGH_THROUGHPUT,
) -> Cause | None:
    return table.take(target, sender, qos, size, stranger=stranger)


def test_what_is_taken_is_counted_for_target_sender_and_in_all() -> None:
    table = quotas()

    assert take(table, "a", "t", 10) is None
    assert take(table, "a", "u", 20) is None
    assert take(table, "b", "t", 30, stranger=True) is None

    assert table.waiting_for("t") == Load(2, 40)
    assert table.waiting_of("a") == Load(2, 30)
    assert table.waiting_of("b", "t") == Load(1, 30)
    assert table.total == Load(3, 60)
    assert table.strangers == Load(1, 30)


def test_a_target_has_so_many_frames() -> None:
    table = quotas(frames=8)
    taken = [take(table, f"s{number}") for number in range(9)]

    assert taken == [None] * 8 + [Cause.TARGET_FULL]
    assert take(table, "s", "another target") is None


def test_a_target_has_so_many_bytes() -> None:
    table = quotas(frames=1000, size=400)
    taken = [take(table, f"s{number}", size=90) for number in range(5)]

    assert taken == [None] * 4 + [Cause.TARGET_FULL]
    assert take(table, "s", size=40) is None


def test_one_sender_has_a_quarter_of_a_targets_frames_while_others_still_store() -> None:
    table = quotas(frames=1024)
    taken = Counter(take(table, "hostile") for _ in range(1000))

    assert taken == {None: 256, Cause.SHARE_OF_TARGET_FULL: 744}
    assert take(table, "honest") is None
    assert take(table, "hostile", "another target") is None


def test_one_sender_has_a_quarter_of_a_targets_bytes() -> None:
    table = quotas(frames=1000, size=400)

    assert take(table, size=100) is None
    assert take(table, size=1) is Cause.SHARE_OF_TARGET_FULL
    assert take(table, "b", size=100) is None


def test_one_sender_has_a_twentieth_of_everything() -> None:
    table = quotas(frames=100, most=200)
    taken = [take(table, "hostile", f"t{number}") for number in range(11)]

    assert taken == [None] * 10 + [Cause.SHARE_OF_ALL_FULL]
    assert take(table, "honest") is None


def test_one_sender_has_a_twentieth_of_all_bytes() -> None:
    table = quotas(frames=10, size=1000, most=1000)
    taken = [take(table, "hostile", f"t{number}", 250) for number in range(21)]

    assert taken == [None] * 20 + [Cause.SHARE_OF_ALL_FULL]


def test_strangers_together_have_half_of_everything() -> None:
    table = quotas(most=40)
    taken = [take(table, f"s{number}", f"t{number}", stranger=True) for number in range(21)]

    assert taken == [None] * 20 + [Cause.STRANGERS_FULL]
    assert take(table, "friend") is None


def test_strangers_together_have_half_of_all_bytes() -> None:
    table = quotas(frames=10, size=1000, most=1000)
    taken = [take(table, f"s{number}", f"t{number}", 250, stranger=True) for number in range(201)]

    assert taken == [None] * 200 + [Cause.STRANGERS_FULL]


def test_the_relay_has_so_many_frames_in_all() -> None:
    table = quotas(most=40)
    taken = [take(table, f"s{number}", f"t{number}") for number in range(41)]

    assert taken == [None] * 40 + [Cause.RELAY_FULL]


@pytest.mark.parametrize(("most", "expected"), [(1000, 100_000), (500, 50_000), (60, 8_000)])
def test_the_relay_has_as_many_bytes_as_full_targets_and_as_eight_at_least(
    most: int, expected: int
) -> None:
    table = quotas(frames=10, size=1000, most=most)
    count = expected // 200
    taken = [take(table, f"s{number}", f"t{number}", 200) for number in range(count + 1)]

    assert taken == [None] * count + [Cause.RELAY_FULL]


def test_a_share_is_one_frame_at_least() -> None:
    table = quotas(frames=1, most=1)

    assert take(table, stranger=True) is None
    assert take(table, "b") is Cause.TARGET_FULL


def test_a_refusal_takes_nothing() -> None:
    table = quotas(frames=4)
    take(table, "a")
    before = (table.total, table.waiting_for("t"), table.waiting_of("a"))

    assert take(table, "a") is Cause.SHARE_OF_TARGET_FULL
    assert take(table, "b", size=10**13) is Cause.SHARE_OF_TARGET_FULL

    assert (table.total, table.waiting_for("t"), table.waiting_of("a")) == before
    assert table.waiting_of("b") == Load()


def test_room_that_was_given_back_can_be_taken_again() -> None:
    table = quotas(frames=4)
    take(table, "a", size=5)

    table.give_back("t", "a", QoS.HIGH_THROUGHPUT, 5, stranger=False)

    assert table.is_empty("t")
    assert take(table, "a") is None


def test_nobody_gives_back_what_was_never_taken() -> None:
    table = quotas()
    take(table, "a")

    for sender, frames in (("b", 1), ("a", 2)):
        with pytest.raises(ValueError, match="given back"):
            table.give_back("t", sender, QoS.BULK, 1, stranger=False, frames=frames)
    assert table.total == Load(1, 1)


def test_what_was_stored_before_a_restart_counts_whatever_the_limits_say() -> None:
    table = quotas(frames=8, most=20)
    table.add("t", "a", QoS.BULK, 3000, stranger=True, frames=30)

    assert table.total == Load(30, 3000)
    assert table.bulk("t") == 30
    assert take(table, "b", "u") is Cause.RELAY_FULL
    table.give_back("t", "a", QoS.BULK, 3000, stranger=True, frames=30)
    assert take(table, "b", "u") is None


def test_bulk_frames_are_counted_apart() -> None:
    table = quotas()
    take(table, "a", qos=QoS.BULK)
    take(table, "b", "u", qos=QoS.BULK)
    take(table, "c")

    assert (table.bulk("t"), table.bulk("u"), table.bulk("v"), table.bulk()) == (1, 1, 0, 2)
    table.give_back("t", "a", QoS.BULK, 1, stranger=False)
    assert (table.bulk("t"), table.bulk()) == (0, 1)


@pytest.mark.parametrize(
    ("table", "stranger", "expected", "words"),
    [
        (quotas(frames=4), False, Cause.SHARE_OF_TARGET_FULL, "1 frames.*queue_max_per_target"),
        (
            quotas(frames=1000, size=40),
            False,
            Cause.SHARE_OF_TARGET_FULL,
            "10 bytes.*queue_bytes_per_target",
        ),
        (quotas(most=20), False, Cause.SHARE_OF_ALL_FULL, "1 frames.*twentieth.*queue_max_global"),
        (quotas(most=2), True, Cause.SHARE_OF_ALL_FULL, "1 frames.*queue_max_global"),
    ],
)
def test_a_refusal_names_the_limit(
    table: Quotas, stranger: bool, expected: Cause, words: str
) -> None:
    take(table, size=10, stranger=stranger)
    cause = take(table, size=10, stranger=stranger)
    assert cause is expected

    refused = table.refuse(cause, "t", "a", QoS.HIGH_THROUGHPUT, 10)

    assert refused.reason is Reason.OVERLOAD
    assert "network.relay." in refused.detail
    assert re.search(words, refused.detail)


def test_a_reliable_frame_is_told_quota_and_others_overload() -> None:
    table = quotas(frames=1)
    take(table)

    reasons = {qos: table.refuse(Cause.TARGET_FULL, "t", "a", qos, 1).reason for qos in QoS}

    assert reasons == {
        QoS.LOW_LATENCY: Reason.OVERLOAD,
        QoS.HIGH_THROUGHPUT: Reason.OVERLOAD,
        QoS.BULK: Reason.OVERLOAD,
        QoS.RELIABLE: Reason.QUOTA,
    }


def frame(sender: str, qos: QoS, size: int, stranger: bool) -> Stored:
    return Stored(
        to="t",
        sender=sender,
        message_id=bytes(16),
        qos=qos,
        created_at=0,
        expires_at=1,
        data=bytes(size),
        stranger=stranger,
    )


@given(
    st.lists(
        st.builds(
            frame,
            st.sampled_from(["a", "b", "c"]),
            st.sampled_from(list(QoS)),
            st.integers(0, 40),
            st.booleans(),
        ),
        max_size=40,
    ),
    st.booleans(),
)
def test_what_is_given_back_leaves_nothing_behind(frames: list[Stored], at_once: bool) -> None:
    table = quotas(frames=16, size=300, most=30)
    taken = []
    for each in frames:
        cause = table.take("t", each.sender, each.qos, len(each.data), stranger=each.stranger)
        if cause is None:
            taken.append(each)
    assert table.total == Load(len(taken), sum(len(each.data) for each in taken))
    assert table.bulk("t") == sum(each.qos is QoS.BULK for each in taken)
    assert table.strangers.frames == sum(each.stranger for each in taken)

    if at_once:
        table.give_back_all("t", taken)
    else:
        for each in taken:
            size = len(each.data)
            table.give_back("t", each.sender, each.qos, size, stranger=each.stranger)

    assert (table.total, table.strangers, table.bulk()) == (Load(), Load(), 0)
    assert table.is_empty("t")
    assert {table.waiting_of(sender) for sender in "abc"} == {Load()}
    assert not list(table.targets)
