"""Lanes for a target that has no room (design: relay.md, QoS)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from thenodes_plugin_api import QoS, Reason
from thenodes_relay.causes import Cause
from thenodes_relay.queue import Dropped, TargetQueue
from thenodes_relay.quotas import Load, Quotas
from thenodes_relay.settings import Settings
from thenodes_relay.store.base import Stored

LOW, HIGH, BULK = QoS.LOW_LATENCY, QoS.HIGH_THROUGHPUT, QoS.BULK
WIDE = 10**6


def frame(
    sender: str,
    number: int = 0,
    qos: QoS = HIGH,
    *,
    size: int = 10,
    expires_at: int = 1000,
    stranger: bool = False,
) -> Stored:
    return Stored(
        to="t",
        sender=sender,
        message_id=number.to_bytes(16),
        qos=qos,
        sequence=number,
        created_at=0,
        expires_at=expires_at,
        data=bytes(size),
        stranger=stranger,
    )


def queue(frames: int = WIDE, most: int = WIDE) -> TargetQueue:
    return TargetQueue("t", Quotas(Settings(queue_max_per_target=frames, queue_max_global=most)))


def names(frames: Sequence[Stored]) -> list[str]:
    return [f"{each.sender}{each.sequence}" for each in frames]


def take(waiting: TargetQueue, frames: int = 1000, size: int = 10**9, now: int = 0) -> list[str]:
    return names(waiting.take(frames, size, now).frames)


def dropped(found: Sequence[Dropped]) -> list[tuple[str, Cause]]:
    return [(f"{each.frame.sender}{each.frame.sequence}", each.why.cause) for each in found]


def test_low_latency_goes_first_and_bulk_last() -> None:
    waiting = queue()
    for number, qos in enumerate((BULK, HIGH, LOW, BULK, HIGH, LOW)):
        assert waiting.put(frame("a", number, qos)) == ()

    assert take(waiting) == ["a2", "a5", "a1", "a4", "a0", "a3"]
    assert len(waiting) == 0


@pytest.mark.parametrize("qos", [LOW, HIGH, BULK])
def test_senders_are_served_in_turn_and_each_in_its_order(qos: QoS) -> None:
    waiting = queue()
    for number in range(4):
        waiting.put(frame("busy", number, qos))
    for number in range(2):
        waiting.put(frame("a", number, qos))
        waiting.put(frame("b", number, qos))

    assert take(waiting) == ["busy0", "a0", "b0", "busy1", "a1", "b1", "busy2", "busy3"]


def test_one_of_a_thousand_senders_waits_for_one_frame_of_each_other() -> None:
    waiting = queue()
    for sender in range(1000):
        for number in range(5):
            waiting.put(frame(f"s{sender}.", number))
    waiting.put(frame("late.", 0))

    assert "late.0" in take(waiting, frames=1001)


def test_so_much_is_taken_as_there_is_room_for() -> None:
    waiting = queue()
    for number in range(6):
        waiting.put(frame("a", number, size=100))

    assert take(waiting, frames=1) == ["a0"]
    assert take(waiting, size=101) == ["a1", "a2"]
    assert take(waiting, size=0) == []
    assert take(waiting, frames=0) == []
    assert len(waiting) == 3


@pytest.mark.parametrize("qos", [LOW, HIGH, BULK])
def test_what_was_not_sent_comes_next_again(qos: QoS) -> None:
    waiting = queue()
    for number in range(3):
        for sender in ("a", "b"):
            waiting.put(frame(sender, number, qos))
    taken = waiting.take(3, 10**9, 0).frames

    waiting.put_back(taken[1:])

    assert take(waiting) == ["b0", "a1", "b1", "a2", "b2"]
    assert waiting.loads()[qos] == Load()


def test_nobody_starves_where_the_last_taken_is_never_sent() -> None:
    waiting = queue()
    for number in range(3):
        for sender in ("a", "b"):
            waiting.put(frame(sender, number))
    sent = []
    while len(waiting):
        taken = waiting.take(2, 10**9, 0).frames
        sent += names(taken[:1])
        waiting.put_back(taken[1:])

    assert sent == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_what_expired_meanwhile_is_not_sent() -> None:
    waiting = queue()
    waiting.put(frame("a", 0, expires_at=5))
    waiting.put(frame("a", 1, expires_at=6))
    assert waiting.next_deadline == 5

    taken = waiting.take(10, 10**9, 5)

    assert (names(taken.expired), names(taken.frames)) == (["a0"], ["a1"])


def test_what_expires_while_nothing_is_taken_comes_out_when_asked_for() -> None:
    waiting = queue()
    for number, qos in enumerate((LOW, HIGH, BULK)):
        waiting.put(frame("a", number, qos, expires_at=5 + number))
    waiting.put(frame("b", 9, BULK, expires_at=100))

    assert names(waiting.expire(4)) == []
    assert names(waiting.expire(6)) == ["a0", "a1"]
    assert waiting.next_deadline == 7
    assert names(waiting.expire(7)) == ["a2"]
    assert waiting.next_deadline == 100
    assert take(waiting) == ["b9"]
    assert waiting.next_deadline is None


def test_everything_comes_out_when_the_target_left() -> None:
    waiting = queue()
    for number, qos in enumerate((BULK, HIGH, LOW, HIGH, LOW)):
        waiting.put(frame("a", number, qos))

    assert names(waiting.drain()) == ["a2", "a4", "a1", "a3", "a0"]
    assert (len(waiting), waiting.next_deadline, take(waiting)) == (0, None, [])


def test_a_reliable_frame_has_no_lane() -> None:
    with pytest.raises(KeyError):
        queue().put(frame("a", 0, QoS.RELIABLE))


def test_a_full_queue_refuses_high_throughput_with_overload() -> None:
    waiting = queue(frames=8)
    for number in range(8):
        assert waiting.put(frame(f"s{number}.")) == ()

    found = waiting.put(frame("late"))

    assert dropped(found) == [("late0", Cause.TARGET_FULL)]
    assert found[0].why.reason is Reason.OVERLOAD
    assert "8 frames" in found[0].why.detail
    assert len(waiting) == 8


def test_a_full_queue_refuses_bulk() -> None:
    waiting = queue(frames=4)
    for number in range(4):
        waiting.put(frame(f"s{number}.", 0, BULK))

    assert dropped(waiting.put(frame("late", 0, BULK))) == [("late0", Cause.TARGET_FULL)]


@pytest.mark.parametrize("qos", [LOW, HIGH])
def test_the_oldest_bulk_makes_room_for_what_goes_before_it(qos: QoS) -> None:
    waiting = queue(frames=4)
    for number in range(4):
        waiting.put(frame(f"s{number}.", 0, HIGH if number == 0 else BULK))

    found = waiting.put(frame("late", 0, qos))

    assert dropped(found) == [("s1.0", Cause.EVICTED)]
    assert found[0].why.reason is Reason.OVERLOAD
    assert len(waiting) == 4


def test_the_oldest_low_latency_frame_makes_room_for_a_new_one() -> None:
    waiting = queue(frames=4)
    for number in range(4):
        waiting.put(frame(f"s{number}.", 0, HIGH if number == 0 else LOW))

    assert dropped(waiting.put(frame("late", 0, LOW))) == [("s1.0", Cause.EVICTED)]
    assert take(waiting) == ["s2.0", "s3.0", "late0", "s0.0"]


def test_low_latency_makes_no_room_for_high_throughput() -> None:
    waiting = queue(frames=4)
    for number in range(4):
        waiting.put(frame(f"s{number}.", 0, LOW))

    assert dropped(waiting.put(frame("late"))) == [("late0", Cause.TARGET_FULL)]
    assert len(waiting) == 4


def test_who_has_its_share_makes_room_with_its_own_frames() -> None:
    waiting = queue(frames=8)
    waiting.put(frame("honest", 0, LOW))
    waiting.put(frame("honest", 1, BULK))
    for number in range(2):
        waiting.put(frame("hostile", number, LOW))

    found = waiting.put(frame("hostile", 2, LOW))

    assert dropped(found) == [("hostile0", Cause.EVICTED)]
    assert take(waiting) == ["honest0", "hostile1", "hostile2", "honest1"]


def test_who_replaces_its_only_frame_keeps_its_turn() -> None:
    waiting = queue(frames=8)
    waiting.put(frame("a", 0, HIGH))
    waiting.put(frame("a", 1, LOW))
    waiting.put(frame("b", 0, LOW))

    assert dropped(waiting.put(frame("a", 2, LOW))) == [("a1", Cause.EVICTED)]
    assert take(waiting) == ["a2", "b0", "a0"]


def test_who_has_its_share_in_bulk_still_sends_what_goes_before() -> None:
    waiting = queue(frames=8)
    for number in range(2):
        waiting.put(frame("a", number, BULK))

    assert dropped(waiting.put(frame("a", 2, HIGH))) == [("a0", Cause.EVICTED)]
    assert dropped(waiting.put(frame("a", 3, BULK))) == [("a3", Cause.SHARE_OF_TARGET_FULL)]
    assert take(waiting) == ["a2", "a1"]


def test_a_stranger_makes_no_room_with_the_frames_of_others() -> None:
    waiting = queue(most=8)
    for number in range(4):
        waiting.put(frame(f"s{number}.", 0, BULK, stranger=True))

    found = waiting.put(frame("s9.", 0, LOW, stranger=True))

    assert dropped(found) == [("s9.0", Cause.STRANGERS_FULL)]
    assert waiting.put(frame("friend", 0, BULK)) == ()


def test_nothing_is_evicted_for_a_frame_that_finds_no_room_even_so() -> None:
    quotas = Quotas(Settings(queue_max_per_target=1000, queue_bytes_per_target=400))
    waiting = TargetQueue("t", quotas)
    waiting.put(frame("a", 0, HIGH, size=60))
    waiting.put(frame("a", 1, BULK, size=30))
    before = quotas.total

    found = waiting.put(frame("a", 2, HIGH, size=50))

    assert dropped(found) == [("a2", Cause.SHARE_OF_TARGET_FULL)]
    assert "100 bytes" in found[0].why.detail
    assert quotas.total == before
    assert take(waiting) == ["a0", "a1"]


def test_as_many_are_evicted_as_the_frame_needs() -> None:
    waiting = TargetQueue(
        "t", Quotas(Settings(queue_max_per_target=1000, queue_bytes_per_target=400))
    )
    for number in range(5):
        waiting.put(frame("a", number, BULK, size=20))

    found = waiting.put(frame("a", 5, HIGH, size=55))

    assert dropped(found) == [(f"a{number}", Cause.EVICTED) for number in range(3)]
    assert take(waiting) == ["a5", "a3", "a4"]


def test_bulk_makes_room_for_what_is_to_be_stored() -> None:
    quotas = Quotas(Settings(queue_max_per_target=4))
    waiting = TargetQueue("t", quotas)
    for number in range(4):
        waiting.put(frame(f"s{number}.", 0, LOW if number == 0 else BULK))
    reliable = frame("late", 0, QoS.RELIABLE)

    assert dropped(waiting.make_room(reliable)) == [("s1.0", Cause.EVICTED)]
    assert quotas.take("t", "late", QoS.RELIABLE, 10, stranger=False) is None
    assert quotas.waiting_for("t").frames == 4
    assert take(waiting) == ["s0.0", "s2.0", "s3.0"]


def test_no_more_is_evicted_for_what_is_to_be_stored_than_it_needs() -> None:
    waiting = queue(frames=4)
    waiting.put(frame("a", 0, BULK))

    assert waiting.make_room(frame("b", 0, QoS.RELIABLE)) == ()
    assert waiting.make_room(frame("a", 1, BULK)) == ()
    for number in range(3):
        waiting.put(frame(f"s{number}.", 0, HIGH))
    assert waiting.make_room(frame("s0.", 1, QoS.RELIABLE)) == ()
    assert len(waiting) == 4


def test_what_waits_is_known_by_class_and_counts_in_the_quotas() -> None:
    quotas = Quotas(Settings())
    waiting = TargetQueue("t", quotas)
    waiting.put(frame("a", 0, LOW, size=1))
    waiting.put(frame("a", 1, BULK, size=2))
    waiting.put(frame("b", 2, BULK, size=3))

    assert waiting.loads() == {LOW: Load(1, 1), HIGH: Load(), BULK: Load(2, 5)}
    assert quotas.waiting_for("t") == Load(3, 6)
    waiting.drain()
    assert quotas.is_empty("t")
