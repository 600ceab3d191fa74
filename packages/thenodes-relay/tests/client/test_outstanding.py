"""The table of reliable frames: order, places, and what moves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thenodes_relay.client.outstanding import InFlightLimits, Lane, Outstanding, Parcel

A, B = object(), object()


def parcel(
    number: int, to: str = "bob", *, size: int = 10, pinned: bool = False, expires_at: float = 1e9
) -> Parcel:
    return Parcel(to, number.to_bytes(16, "big"), b"x" * size, pinned=pinned, expires_at=expires_at)


def numbers(parcels: list[Parcel]) -> list[int]:
    return [int.from_bytes(each.message_id, "big") for each in parcels]


def lane_of(table: Outstanding, relay: str = "a", to: str = "bob") -> Lane:
    lane = table.lane(relay, to)
    assert lane is not None
    return lane


def send_all(table: Outstanding, session: object, relay: str = "a", to: str = "bob") -> list[int]:
    lane = lane_of(table, relay, to)
    head = lane.head(1000)
    lane.mark_sent(head, session)
    return numbers(head)


def test_frames_are_sent_in_the_order_in_which_they_came() -> None:
    table = Outstanding()
    for number in (1, 2, 3):
        table.enter("a", parcel(number))

    assert send_all(table, A) == [1, 2, 3]
    assert send_all(table, A) == []


def test_a_frame_is_settled_by_the_session_that_it_went_out_on_alone() -> None:
    table = Outstanding()
    sent = parcel(1)
    table.enter("a", sent)
    assert table.settle(sent.message_id, A) is None
    send_all(table, A)

    assert table.settle(sent.message_id, B) is None
    assert table.settle(sent.message_id, A) is sent
    assert table.settle(sent.message_id, A) is None
    assert (table.frames, table.size, list(table)) == (0, 0, [])


def test_after_a_rewind_what_is_left_goes_again_before_what_is_new() -> None:
    table = Outstanding()
    for number in (1, 2, 3):
        table.enter("a", parcel(number))
    send_all(table, A)
    table.settle((2).to_bytes(16, "big"), A)
    table.rewind(lane_of(table))
    table.enter("a", parcel(4))

    assert table.settle((1).to_bytes(16, "big"), A) is None
    assert send_all(table, B) == [1, 3, 4]


def test_what_does_not_fit_waits_and_gets_its_place_in_order() -> None:
    table = Outstanding(InFlightLimits(lane_frames=2))
    parcels = [parcel(number) for number in (1, 2, 3, 4)]
    for each in parcels:
        table.enter("a", each)
    assert [each.is_kept for each in parcels] == [True, True, False, False]
    assert table.admit() == []
    send_all(table, A)
    table.settle(parcels[0].message_id, A)

    assert numbers(table.admit()) == [3]


@pytest.mark.parametrize(
    "limits",
    [
        InFlightLimits(frames=2),
        InFlightLimits(bytes=25),
        InFlightLimits(lane_frames=2),
        InFlightLimits(lane_bytes=25),
    ],
)
def test_every_limit_makes_the_third_frame_wait(limits: InFlightLimits) -> None:
    table = Outstanding(limits)
    parcels = [parcel(number) for number in (1, 2, 3)]
    for each in parcels:
        table.enter("a", each)

    assert [each.is_kept for each in parcels] == [True, True, False]


def test_a_lane_that_is_full_leaves_room_to_the_others() -> None:
    table = Outstanding(InFlightLimits(lane_frames=1))
    other = parcel(3, "carol")
    for each in (parcel(1), parcel(2), other):
        table.enter("a", each)

    assert other.is_kept


def test_lanes_take_turns_when_places_become_free() -> None:
    table = Outstanding(InFlightLimits(frames=4))
    for number in range(1, 8):
        table.enter("a", parcel(number))
    for number in (11, 12):
        table.enter("a", parcel(number, "carol"))
    send_all(table, A)
    for number in (1, 2, 3, 4):
        table.settle(number.to_bytes(16, "big"), A)

    assert numbers(table.admit()) == [5, 11, 6, 12]


def test_lanes_take_turns_also_where_one_place_becomes_free_at_a_time() -> None:
    table = Outstanding(InFlightLimits(frames=4))
    for number in range(1, 8):
        table.enter("a", parcel(number))
    for number in (11, 12):
        table.enter("a", parcel(number, "carol"))
    send_all(table, A)
    admitted = []
    for number in (1, 2, 3, 4):
        table.settle(number.to_bytes(16, "big"), A)
        admitted += numbers(table.admit())

    assert admitted == [5, 11, 6, 12]


def test_a_frame_that_gives_up_its_wait_is_not_admitted_later() -> None:
    table = Outstanding(InFlightLimits(frames=1))
    first, second, third = (parcel(number) for number in (1, 2, 3))
    for each in (first, second, third):
        table.enter("a", each)
    table.drop(second)
    table.drop(second)
    table.drop(first)

    assert numbers(table.admit()) == [3]


def test_what_moves_keeps_its_order_and_comes_behind_what_is_there() -> None:
    table = Outstanding()
    table.enter("b", parcel(9, pinned=True))
    for number in (1, 2, 3):
        table.enter("a", parcel(number))
    send_all(table, A)
    table.settle((2).to_bytes(16, "big"), A)
    table.move(lane_of(table), "b")

    assert table.lane("a", "bob") is None
    assert send_all(table, B, "b") == [9, 1, 3]
    assert table.settle((3).to_bytes(16, "big"), A) is None
    assert table.settle((3).to_bytes(16, "big"), B) is not None


def test_what_is_not_pinned_goes_through_one_relay_at_a_time() -> None:
    table = Outstanding()
    table.enter("a", parcel(1))
    table.enter("b", parcel(2, pinned=True))

    with pytest.raises(ValueError, match="go through a, not b"):
        table.enter("b", parcel(3))
    assert table.home("bob") is table.lane("a", "bob")
    table.settle((1).to_bytes(16, "big"), None)
    assert table.home("bob") is None


def test_what_is_pinned_stays() -> None:
    table = Outstanding()
    table.enter("a", parcel(1, pinned=True))
    table.enter("a", parcel(2))
    assert lane_of(table).loose == 1
    table.move(lane_of(table), "b")

    assert send_all(table, A) == [1]
    assert send_all(table, B, "b") == [2]
    assert lane_of(table).loose == 0
    assert table.move(lane_of(table), "b") is None


def test_those_that_wait_move_too() -> None:
    table = Outstanding(InFlightLimits(frames=1))
    first, second = parcel(1), parcel(2)
    table.enter("a", first)
    table.enter("a", second)
    table.move(lane_of(table), "b")
    table.drop(first)

    assert numbers(table.admit()) == [2]
    assert send_all(table, B, "b") == [2]


def test_what_expired_is_let_go() -> None:
    table = Outstanding(InFlightLimits(frames=1))
    table.enter("a", parcel(1, expires_at=10.0))
    table.enter("a", parcel(2, expires_at=11.0))
    table.enter("a", parcel(3, expires_at=12.0))

    assert numbers(table.expired(11.0)) == [1, 2]
    assert numbers(table.admit()) == [3]


def test_a_message_id_has_one_place() -> None:
    table = Outstanding()
    table.enter("a", parcel(1))

    with pytest.raises(ValueError, match="needs an id of its own"):
        table.enter("b", parcel(1))
    assert table.frames == 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["enter", "send", "settle", "rewind", "move", "drop"]),
            st.integers(0, 40),
        ),
        max_size=120,
    )
)
def test_frames_and_bytes_are_counted_right_and_order_is_kept(steps: list[tuple[str, int]]) -> None:
    table = Outstanding(InFlightLimits(frames=8, lane_frames=5, bytes=200, lane_bytes=100))
    entered: dict[int, Parcel] = {}
    for what, number in steps:
        relay, to = "ab"[number % 2], ("bob", "carol")[number // 2 % 2]
        lane = table.lane(relay, to)
        known = entered.get(number)
        if what == "enter" and known is None:
            home, pinned = table.home(to), number % 5 == 0
            entered[number] = parcel(number, to, size=1 + number, pinned=pinned)
            table.enter(home.relay if home and not pinned else relay, entered[number])
        elif what == "send" and lane is not None:
            lane.mark_sent(lane.head(3), A)
        elif what == "settle" and known is not None:
            table.settle(known.message_id, A)
        elif what == "rewind" and lane is not None:
            table.rewind(lane)
        elif what == "move" and lane is not None:
            table.move(lane, "b" if relay == "a" else "a")
        elif what == "drop" and known is not None:
            table.drop(known)
        table.admit()
        kept = [each for lane in table for each in lane.kept.values()]
        assert table.frames == len(kept) <= 8
        assert table.size == sum(len(each.frame) for each in kept) <= 200
        for lane in table:
            assert len(lane) > 0
            assert all(each.lane is lane for each in (*lane.kept.values(), *lane.waiting))
            unsent = [each for each in lane.kept.values() if each.session is None]
            assert [each for each in lane.unsent if each.is_kept] == unsent
            loose = [each for each in (*lane.kept.values(), *lane.waiting) if not each.pinned]
            assert lane.loose == len(loose)
            assert (table.home(lane.to) is lane) == bool(loose)
