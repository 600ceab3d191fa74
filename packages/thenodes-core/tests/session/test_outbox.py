"""Tests of the queue of what waits for one peer."""

from __future__ import annotations

import asyncio

import pytest

from thenodes_core.clock import settle
from thenodes_core.limits import Limits
from thenodes_core.session.outbox import Lane, Outbox

CONTROL_FRAMES = 64


def make(*, coalesces: bool = True, **limits: int) -> Outbox:
    return Outbox(Limits(**limits), coalesces=coalesces, send_now=lambda frame: False)


async def taken(outbox: Outbox) -> list[bytes]:
    """Everything that waits, by WebSocket message."""
    batches = []
    while outbox.size_bytes:
        batch = await outbox.take()
        assert batch is not None
        batches.append(batch)
    return batches


async def test_a_frame_goes_through() -> None:
    outbox = make()

    assert outbox.offer(b"frame")

    assert await outbox.take() == b"frame"


async def test_taking_waits_for_a_frame() -> None:
    outbox = make()
    taker = asyncio.ensure_future(outbox.take())
    await settle()
    assert not taker.done()

    outbox.offer(b"frame")

    assert await taker == b"frame"


def test_an_outbox_knows_how_much_waits() -> None:
    outbox = make()

    outbox.offer(b"12345")
    outbox.offer(b"123", lane=Lane.CONTROL)

    assert (len(outbox), outbox.size_bytes) == (2, 8)


async def test_an_outbox_that_was_emptied_is_empty() -> None:
    outbox = make(coalesce_bytes=4)
    for _ in range(5):
        outbox.offer(b"123")

    await taken(outbox)

    assert (len(outbox), outbox.size_bytes) == (0, 0)


async def test_frames_keep_their_order() -> None:
    outbox = make(coalesces=False)
    frames = [b"%d" % number for number in range(10)]
    for frame in frames:
        outbox.offer(frame)

    assert await taken(outbox) == frames


async def test_control_overtakes_data() -> None:
    outbox = make(coalesces=False)
    outbox.offer(b"data 1")
    outbox.offer(b"data 2")

    outbox.offer(b"control", lane=Lane.CONTROL)

    assert await taken(outbox) == [b"control", b"data 1", b"data 2"]


async def test_control_is_first_within_one_websocket_message() -> None:
    outbox = make()
    outbox.offer(b"data")
    outbox.offer(b"control", lane=Lane.CONTROL)

    assert await outbox.take() == b"controldata"


async def test_everything_that_waits_becomes_one_websocket_message() -> None:
    outbox = make()
    for number in range(100):
        outbox.offer(b"%02d" % number)

    assert await taken(outbox) == [b"".join(b"%02d" % number for number in range(100))]


async def test_frames_are_put_together_up_to_exactly_the_limit() -> None:
    outbox = make(coalesce_bytes=10)
    for _ in range(3):
        outbox.offer(b"12345")

    assert await taken(outbox) == [b"1234512345", b"12345"]


async def test_frames_that_do_not_fit_together_are_sent_apart() -> None:
    outbox = make(coalesce_bytes=9)
    outbox.offer(b"12345")
    outbox.offer(b"12345")

    assert await taken(outbox) == [b"12345", b"12345"]


async def test_a_short_frame_does_not_overtake_a_long_one_that_does_not_fit() -> None:
    outbox = make(coalesce_bytes=10)
    for frame in (b"12345", b"1234567890", b"1"):
        outbox.offer(frame)

    assert await taken(outbox) == [b"12345", b"1234567890", b"1"]


async def test_data_does_not_overtake_control_that_does_not_fit() -> None:
    outbox = make(coalesce_bytes=10)
    outbox.offer(b"control 1", lane=Lane.CONTROL)
    outbox.offer(b"control 2", lane=Lane.CONTROL)
    outbox.offer(b"d")

    assert await taken(outbox) == [b"control 1", b"control 2d"]


async def test_a_frame_over_the_limit_of_putting_together_is_sent_alone() -> None:
    outbox = make(coalesce_bytes=4)
    outbox.offer(b"123456")
    outbox.offer(b"1")

    assert await taken(outbox) == [b"123456", b"1"]


async def test_nothing_is_put_together_where_the_encoding_forbids_it() -> None:
    outbox = make(coalesces=False)
    outbox.offer(b"{}")
    outbox.offer(b"{}")
    outbox.offer(b"[]", lane=Lane.CONTROL)

    assert await taken(outbox) == [b"[]", b"{}", b"{}"]


def test_more_frames_than_the_limit_are_not_taken() -> None:
    outbox = make(outbox_frames=3)

    assert [outbox.offer(b"x") for _ in range(4)] == [True, True, True, False]


def test_frames_of_4_mib_fill_the_outbox() -> None:
    outbox = make()
    frame = bytes(256 * 1024)

    assert [outbox.offer(frame) for _ in range(17)] == [True] * 16 + [False]


def test_4096_frames_fill_the_outbox() -> None:
    outbox = make()

    assert sum(outbox.offer(b"x") for _ in range(5000)) == 4096


def test_control_has_room_where_data_has_none() -> None:
    outbox = make(outbox_frames=1)
    outbox.offer(b"x")
    assert not outbox.offer(b"x")

    assert outbox.offer(b"x", lane=Lane.CONTROL)


def test_control_has_a_bound_of_its_own() -> None:
    outbox = make()

    assert sum(outbox.offer(b"x", lane=Lane.CONTROL) for _ in range(1000)) == CONTROL_FRAMES


def test_a_full_control_lane_leaves_the_data_lane_alone() -> None:
    outbox = make(outbox_frames=1)
    while outbox.offer(b"x", lane=Lane.CONTROL):
        pass

    assert outbox.offer(b"data")


async def test_taking_makes_room() -> None:
    outbox = make(outbox_frames=1)
    outbox.offer(b"1")
    await outbox.take()

    assert outbox.offer(b"2")


async def test_a_sender_waits_until_there_is_room() -> None:
    outbox = make(outbox_frames=1)
    outbox.offer(b"x")
    sender = asyncio.ensure_future(outbox.wait_for_room())
    await settle()
    assert not sender.done()

    await outbox.take()

    await sender


async def test_every_waiting_sender_is_told_of_room() -> None:
    outbox = make(outbox_frames=1)
    outbox.offer(b"x")
    senders = [asyncio.ensure_future(outbox.wait_for_room()) for _ in range(3)]
    await settle()

    await outbox.take()

    await asyncio.gather(*senders)


async def test_waiting_senders_get_their_turn_in_the_order_they_came() -> None:
    outbox = make(outbox_frames=1, coalesce_bytes=1)
    outbox.offer(b"0")
    order: list[bytes] = []

    async def send(frame: bytes) -> None:
        while not outbox.offer(frame):
            await outbox.wait_for_room()
        order.append(frame)

    senders = [asyncio.ensure_future(send(b"%d" % number)) for number in range(1, 5)]
    for _ in range(5):
        await settle()
        await outbox.take()
    await asyncio.gather(*senders)

    assert order == [b"1", b"2", b"3", b"4"]


async def test_a_sender_that_gave_up_does_not_take_anothers_turn() -> None:
    outbox = make(outbox_frames=1)
    outbox.offer(b"x")
    impatient, patient = (asyncio.ensure_future(outbox.wait_for_room()) for _ in range(2))
    await settle()
    impatient.cancel()
    await settle()

    await outbox.take()

    await patient
    assert impatient.cancelled()


async def test_a_sender_cancelled_after_it_was_told_is_cancelled() -> None:
    outbox = make(outbox_frames=1)
    outbox.offer(b"x")
    sender = asyncio.ensure_future(outbox.wait_for_room())
    await settle()
    await outbox.take()

    sender.cancel()

    with pytest.raises(asyncio.CancelledError):
        await sender


async def test_a_cancelled_taker_loses_no_frame() -> None:
    outbox = make()
    taker = asyncio.ensure_future(outbox.take())
    await settle()
    outbox.offer(b"frame")

    taker.cancel()
    await settle()

    assert taker.cancelled()
    assert await outbox.take() == b"frame"


def test_a_closed_outbox_takes_nothing_more() -> None:
    outbox = make()
    outbox.close()

    assert (outbox.offer(b"x"), outbox.offer(b"x", lane=Lane.CONTROL)) == (False, False)


async def test_what_a_closed_outbox_holds_can_still_be_taken() -> None:
    outbox = make()
    outbox.offer(b"frame")
    outbox.close()

    assert [await outbox.take(), await outbox.take()] == [b"frame", None]


async def test_closing_wakes_a_waiting_taker() -> None:
    outbox = make()
    taker = asyncio.ensure_future(outbox.take())
    await settle()

    outbox.close()

    assert await taker is None


async def test_closing_wakes_waiting_senders() -> None:
    outbox = make(outbox_frames=1)
    outbox.offer(b"x")
    sender = asyncio.ensure_future(outbox.wait_for_room())
    await settle()

    outbox.close()

    await sender


async def test_nobody_waits_for_room_in_a_closed_outbox() -> None:
    outbox = make()
    outbox.close()

    await outbox.wait_for_room()

    assert outbox.closed


def test_closing_twice_is_closing_once() -> None:
    outbox = make()

    outbox.close()
    outbox.close()

    assert outbox.closed


def test_a_frame_that_would_exceed_the_bytes_is_not_taken() -> None:
    outbox = make(outbox_bytes=10)
    outbox.offer(b"x" * 9)

    assert not outbox.offer(b"xx")
    assert outbox.offer(b"x")


def test_a_single_frame_over_the_bytes_is_taken_by_an_empty_lane() -> None:
    outbox = make(outbox_bytes=10)

    assert outbox.offer(b"x" * 11)


def test_control_takes_no_room_from_data() -> None:
    outbox = make(outbox_bytes=10)
    outbox.offer(b"x" * 100, lane=Lane.CONTROL)

    assert outbox.offer(b"x" * 10)


class Wire:
    """Takes frames at once, for as long as it is open."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.open = True

    def send_now(self, frame: bytes) -> bool:
        if self.open:
            self.sent.append(frame)
        return self.open


async def idle(wire: Wire) -> tuple[Outbox, asyncio.Task[bytes | None]]:
    """An outbox whose writer waits."""
    outbox = Outbox(Limits(), coalesces=True, send_now=wire.send_now)
    taker = asyncio.ensure_future(outbox.take())
    await settle()
    return outbox, taker


async def test_a_frame_that_nothing_precedes_goes_out_at_once() -> None:
    wire = Wire()
    outbox, taker = await idle(wire)

    assert outbox.offer(b"frame")

    assert wire.sent == [b"frame"]
    assert len(outbox) == 0
    await settle()
    assert not taker.done()
    outbox.close()
    await taker


async def test_what_follows_in_the_same_turn_is_coalesced_behind_it() -> None:
    wire = Wire()
    outbox, taker = await idle(wire)

    for number in range(4):
        outbox.offer(b"%d" % number)

    assert wire.sent == [b"0"]
    assert await taker == b"123"


async def test_in_the_next_turn_an_idle_link_is_idle_again() -> None:
    wire = Wire()
    outbox, taker = await idle(wire)
    outbox.offer(b"0")
    await settle()

    outbox.offer(b"1")

    assert wire.sent == [b"0", b"1"]
    outbox.close()
    await taker


async def test_a_frame_never_overtakes_what_is_queued() -> None:
    wire = Wire()
    outbox, taker = await idle(wire)
    wire.open = False
    outbox.offer(b"0")
    wire.open = True

    outbox.offer(b"1")

    assert wire.sent == []
    assert await taker == b"01"


async def test_nothing_goes_out_at_once_from_a_closed_outbox() -> None:
    wire = Wire()
    outbox, taker = await idle(wire)
    outbox.close()

    assert not outbox.offer(b"0")

    assert wire.sent == []
    assert await taker is None
