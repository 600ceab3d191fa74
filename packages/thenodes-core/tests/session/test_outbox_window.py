"""Tests of what services bring to the queue of what waits for one peer."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thenodes_core.clock import settle
from thenodes_core.limits import Limits
from thenodes_core.session.outbox import Lane, Outbox

KIB = 1024


class Wire:
    """Takes messages at once, for as long as it is open."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.sent: list[bytes] = []
        self.is_open = is_open

    def send_now(self, message: bytes) -> bool:
        if self.is_open:
            self.sent.append(message)
        return self.is_open


def make(wire: Wire | None = None, *, coalesces: bool = True, **limits: int) -> Outbox:
    wire = wire or Wire(is_open=False)
    return Outbox(Limits(**limits), coalesces=coalesces, send_now=wire.send_now)


async def idle(wire: Wire, **limits: int) -> tuple[Outbox, asyncio.Task[bytes | None]]:
    """An outbox whose writer waits."""
    outbox = make(wire, coalesces=True, **limits)
    taker = asyncio.ensure_future(outbox.take())
    await settle()
    return outbox, taker


async def end(outbox: Outbox, taker: asyncio.Task[bytes | None]) -> None:
    outbox.close()
    await taker


async def taken(outbox: Outbox) -> list[bytes]:
    """Everything that waits, by WebSocket message."""
    messages = []
    while outbox.size_bytes:
        message = await outbox.take()
        assert message is not None
        messages.append(message)
    return messages


async def test_frames_that_are_offered_together_keep_their_order() -> None:
    outbox = make()
    outbox.offer(b"0")

    assert outbox.offer_all([b"1", b"2", b"3"]) == 3

    assert (len(outbox), outbox.size_bytes) == (4, 4)
    assert await taken(outbox) == [b"0123"]


async def test_control_overtakes_what_services_bring() -> None:
    outbox = make()
    outbox.offer_all([b"data"])

    outbox.offer(b"control", lane=Lane.CONTROL)

    assert await taken(outbox) == [b"controldata"]


def test_nothing_of_nothing_is_taken() -> None:
    assert make().offer_all([]) == 0


def test_a_window_of_256_kib_takes_no_more_frames() -> None:
    outbox = make()

    assert outbox.offer_all([bytes(64 * KIB)] * 6) == 4
    assert outbox.offer_all([b"x"]) == 0


def test_the_last_frame_may_be_longer_than_what_is_left_of_the_window() -> None:
    outbox = make(window_bytes=10)

    assert outbox.offer_all([b"x" * 9]) == 1
    assert outbox.offer_all([b"x" * 100, b"x"]) == 1
    assert outbox.size_bytes == 109


def test_half_of_the_outboxs_frames_are_a_services() -> None:
    outbox = make()

    assert outbox.offer_all([b"x"] * 3000) == 2048
    assert outbox.offer_all([b"x"]) == 0


def test_others_have_room_where_a_service_has_none() -> None:
    outbox = make(window_bytes=10)
    outbox.offer_all([b"x" * 10])

    assert outbox.offer(b"x" * 100)


def test_what_others_queue_takes_the_room_of_services() -> None:
    outbox = make(window_bytes=10)
    outbox.offer(b"x" * 10)

    assert outbox.offer_all([b"x"]) == 0


def test_a_closed_outbox_takes_nothing_of_a_service() -> None:
    outbox = make()
    outbox.close()

    assert outbox.offer_all([b"x"]) == 0


async def test_frames_that_nothing_precedes_go_out_at_once_in_one_message() -> None:
    wire = Wire()
    outbox, taker = await idle(wire)

    assert outbox.offer_all([b"1", b"2", b"3"]) == 3

    assert wire.sent == [b"123"]
    assert len(outbox) == 0
    await settle()
    await end(outbox, taker)


async def test_what_follows_in_the_same_turn_waits_for_the_writer() -> None:
    wire = Wire()
    outbox, taker = await idle(wire)

    outbox.offer_all([b"1"])
    outbox.offer_all([b"2"])
    outbox.offer_all([b"3"])

    assert wire.sent == [b"1"]
    assert await taker == b"23"


async def test_full_messages_go_out_at_once_and_the_rest_is_left_to_the_writer() -> None:
    wire = Wire()
    outbox, taker = await idle(wire, coalesce_bytes=2)

    outbox.offer_all([b"1", b"2", b"3", b"4", b"5"])

    assert wire.sent == [b"12", b"34"]
    assert outbox.size_bytes == 1
    assert await taker == b"5"


async def test_what_a_link_does_not_take_at_once_keeps_its_place() -> None:
    wire = Wire(is_open=False)
    outbox, taker = await idle(wire, coalesce_bytes=2)

    assert outbox.offer_all([b"1", b"2", b"3"]) == 3
    assert outbox.offer_all([b"4", b"5"]) == 2

    assert (wire.sent, outbox.size_bytes) == ([], 5)
    assert b"".join([await taker or b"", *await taken(outbox)]) == b"12345"


async def test_many_batches_of_one_turn_do_not_fill_the_window_of_a_link_that_takes_them() -> None:
    wire = Wire()
    outbox, taker = await idle(wire, coalesce_bytes=4, window_bytes=8, outbox_bytes=8)

    assert [outbox.offer_all([b"12", b"34", b"5"]) for _ in range(10)] == [3] * 10

    assert outbox.size_bytes < 8
    outbox.close()
    assert b"".join(wire.sent) + (await taker or b"") == b"12345" * 10


async def test_room_that_handing_over_makes_is_told() -> None:
    wire = Wire(is_open=False)
    outbox, taker = await idle(wire, coalesce_bytes=4, window_bytes=8, outbox_bytes=8)
    told: list[str] = []
    outbox.offer_all([b"1234", b"5678"])
    outbox.on_room(lambda: told.append("room"))
    wire.is_open = True

    assert outbox.offer_all([b"9"]) == 0

    assert wire.sent == [b"1234", b"5678"]
    await settle()
    assert told == ["room"]
    await end(outbox, taker)


async def test_a_single_frame_goes_out_at_once_however_long() -> None:
    wire = Wire()
    outbox, taker = await idle(wire, coalesce_bytes=2)

    outbox.offer_all([b"12345"])

    assert wire.sent == [b"12345"]
    await end(outbox, taker)


async def test_a_link_that_takes_nothing_at_once_gets_it_from_the_writer() -> None:
    outbox, taker = await idle(Wire(is_open=False))

    assert outbox.offer_all([b"1", b"2"]) == 2

    assert await taker == b"12"


async def test_room_is_told_once_half_of_the_window_is_free() -> None:
    outbox = make(window_bytes=8, coalesce_bytes=2)
    outbox.offer_all([b"12"] * 4)
    told: list[int] = []
    outbox.on_room(lambda: told.append(outbox.size_bytes))

    for left in (6, 4, 2, 0):
        await outbox.take()
        await settle()
        assert told == ([4] if left <= 4 else [])


async def test_room_is_told_once_half_of_the_frames_are_gone() -> None:
    outbox = make(outbox_frames=8, coalesce_bytes=1)
    outbox.offer_all([b"1"] * 4)
    told: list[int] = []
    outbox.on_room(lambda: told.append(len(outbox)))

    for _ in range(4):
        await outbox.take()
        await settle()

    assert told == [2]


async def test_room_that_is_there_is_told_soon_and_not_at_once() -> None:
    told: list[int] = []
    make().on_room(lambda: told.append(1))
    assert told == []

    await settle()

    assert told == [1]


async def test_a_service_that_fills_the_room_it_is_told_of_is_told_again() -> None:
    outbox = make(window_bytes=8, coalesce_bytes=2)
    rounds: list[int] = []

    def fill() -> None:
        rounds.append(outbox.offer_all([b"12"] * 5))
        outbox.on_room(fill)

    fill()
    for _ in range(6):
        await outbox.take()
        await settle()

    assert rounds == [4, 2, 2, 2]


async def test_nobody_is_told_of_room_once_the_outbox_is_closed() -> None:
    outbox = make(window_bytes=8)
    outbox.offer_all([b"x" * 8])
    told: list[int] = []
    outbox.on_room(lambda: told.append(1))

    outbox.close()
    await outbox.take()
    await settle()

    assert told == []


async def test_nobody_is_told_of_room_where_the_outbox_closes_before_soon() -> None:
    outbox = make()
    told: list[int] = []
    outbox.on_room(lambda: told.append(1))

    outbox.close()
    await settle()

    assert told == []


async def test_nobody_is_told_of_room_by_a_closed_outbox() -> None:
    outbox = make()
    outbox.close()
    told: list[int] = []

    outbox.on_room(lambda: told.append(1))
    await settle()

    assert told == []


@pytest.mark.parametrize("coalesces", [True, False])
@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 40), max_size=40), room=st.integers(1, 50))
async def test_frames_of_any_sizes_come_out_whole_in_order_and_within_bounds(
    coalesces: bool, sizes: list[int], room: int
) -> None:
    outbox = make(coalesces=coalesces, coalesce_bytes=room)
    frames = [bytes([number]) * size for number, size in enumerate(sizes)]
    assert outbox.offer_all(frames) == len(frames)

    messages = await taken(outbox)

    assert b"".join(messages) == b"".join(frames)
    assert (len(outbox), outbox.size_bytes) == (0, 0)
    starts = [message[:1] for message in messages]
    for start, message in zip(starts, messages, strict=True):
        alone = len(message) == sizes[start[0]]
        assert alone or (coalesces and len(message) <= room)
    if coalesces:
        # No message could have held the first frame of the next one, too.
        for message, following in zip(messages, starts[1:], strict=False):
            assert len(message) + sizes[following[0]] > room


def test_a_window_is_no_larger_than_the_outbox() -> None:
    outbox = make(window_bytes=100, outbox_bytes=10)

    assert outbox.offer_all([b"x" * 5] * 3) == 2
