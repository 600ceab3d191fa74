"""What every store promises."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from thenodes_plugin_api import QoS
from thenodes_relay.store.base import (
    NOTICES_PER_NODE,
    Append,
    Appended,
    FrameStore,
    Gone,
    StoreProblem,
)
from thenodes_relay.store.memory import MemoryStore
from thenodes_relay.store.sqlite import SqliteStore

from .records import NOW, append, frame, mailbox, message_id, payloads, statuses


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FrameStore]:
    problems: list[StoreProblem] = []
    store: MemoryStore | SqliteStore = MemoryStore()
    if request.param == "sqlite":
        store = await SqliteStore.open(tmp_path / "frames.sqlite3", on_problem=problems.append)
    async with store:
        yield store
    assert problems == []


async def test_a_stored_frame_is_taken_as_it_was_given(store: FrameStore) -> None:
    given = frame(1, sequence=42, stranger=True, qos=QoS.BULK, data=b"\x00\xff\x00,")

    (appended,) = await append(store, [given])
    (taken,) = await store.take("bob", 0, 10)

    assert appended == Appended(given, Append.STORED)
    assert taken.row > 0
    assert taken == given


async def test_frames_are_told_later_and_in_order(store: FrameStore) -> None:
    told: list[Appended] = []
    frames = [frame(number) for number in range(700)]

    for one in frames:
        store.append(one, told.append)
    at_once = list(told)
    await append(store, [frame(9999)])

    assert at_once == []
    assert [appended.frame for appended in told] == frames
    assert store.waiting_frames == 0


async def test_frames_of_a_target_come_in_the_order_they_were_stored(store: FrameStore) -> None:
    frames = [frame(number, to=("bob", "eve")[number % 2]) for number in range(20)]
    await append(store, reversed(frames))

    taken = await store.take("bob", 0, 100)

    assert payloads(taken) == payloads(frames[18::-2])
    assert [one.row for one in taken] == sorted(one.row for one in taken)


async def test_a_take_goes_on_after_a_row_and_keeps_to_its_limit(store: FrameStore) -> None:
    frames = [frame(number) for number in range(10)]
    await append(store, frames)

    first = await store.take("bob", 0, 4)
    second = await store.take("bob", first[-1].row, 4)
    third = await store.take("bob", second[-1].row, 4)
    rest = await store.take("bob", third[-1].row, 4)

    assert payloads([*first, *second, *third]) == payloads(frames)
    assert [len(first), len(second), len(third), len(rest)] == [4, 4, 2, 0]


async def test_frames_of_any_size_are_taken_whole(store: FrameStore) -> None:
    sizes = [0, 1, 4096, 262_144, 0, 262_144, 3]
    frames = [frame(number, data=bytes([number]) * size) for number, size in enumerate(sizes)]
    await append(store, frames)

    assert payloads(await store.take("bob", 0, 100)) == payloads(frames)


async def test_a_repeat_of_what_is_stored_is_a_duplicate(store: FrameStore) -> None:
    first = await append(store, [frame(1), frame(2)])
    again = await append(store, [frame(1), frame(3), frame(3), frame(2), frame(4)])

    assert statuses(first) == [Append.STORED] * 2
    assert statuses(again) == [
        Append.DUPLICATE,
        Append.STORED,
        Append.DUPLICATE,
        Append.DUPLICATE,
        Append.STORED,
    ]
    assert payloads(await store.take("bob", 0, 10)) == [
        b"frame 1",
        b"frame 2",
        b"frame 3",
        b"frame 4",
    ]


async def test_the_same_id_of_another_sender_is_no_duplicate(store: FrameStore) -> None:
    appended = await append(store, [frame(1, sender="alice"), frame(1, sender="mallory")])

    assert statuses(appended) == [Append.STORED] * 2


async def test_a_removed_frame_is_taken_no_more_and_its_id_is_free(store: FrameStore) -> None:
    appended = await append(store, [frame(number) for number in range(3)])

    store.remove([appended[1].frame.row, 999_999])
    at_once = await store.take("bob", 0, 10)
    again = await append(store, [frame(1)])

    assert payloads(at_once) == [b"frame 0", b"frame 2"]
    assert statuses(again) == [Append.STORED]
    assert payloads(await store.take("bob", 0, 10)) == [b"frame 0", b"frame 2", b"frame 1"]


async def test_all_of_a_target_can_be_removed(store: FrameStore) -> None:
    appended = await append(store, [frame(number) for number in range(600)])

    store.remove([one.frame.row for one in appended])

    assert await store.take("bob", 0, 10) == []


async def test_a_frame_that_was_sent_once_says_so(store: FrameStore) -> None:
    appended = await append(store, [frame(1), frame(2)])

    store.mark_sent([appended[1].frame.row, 999_999])
    await append(store, [frame(3)])

    taken = await store.take("bob", 0, 10)
    assert [one.is_sent for one in taken] == [False, True, False]


def stand_still() -> None:
    """Let a thread of the store go on, and the loop not."""
    time.sleep(0.005)


async def test_what_is_removed_while_frames_expire_is_not_told_as_expired(
    store: FrameStore,
) -> None:
    for number in range(20):
        (appended,) = await append(store, [frame(number, expires_at=NOW)])
        expiring = asyncio.ensure_future(store.expire(NOW))
        await asyncio.sleep(0)
        is_told = expiring.done()
        stand_still()
        store.remove([appended.frame.row])

        assert len(await expiring) == is_told


async def test_only_frames_whose_time_is_over_expire(store: FrameStore) -> None:
    frames = [
        frame(1, expires_at=NOW + 1),
        frame(2, expires_at=NOW),
        frame(3, expires_at=NOW - 1, to="eve", sequence=9, qos=QoS.BULK, stranger=True),
    ]
    appended = await append(store, frames)

    gone = await store.expire(NOW)

    assert [one.message_id for one in gone] == [message_id(3), message_id(2)]
    assert gone[0] == Gone(
        row=appended[2].frame.row,
        to="eve",
        sender="alice",
        message_id=message_id(3),
        qos=QoS.BULK,
        sequence=9,
        size=len(frames[2].data),
        stranger=True,
    )
    assert payloads(await store.take("bob", 0, 10)) == [b"frame 1"]
    assert await store.take("eve", 0, 10) == []
    assert await store.expire(NOW) == []


async def test_expiry_keeps_to_its_limit_and_goes_on(store: FrameStore) -> None:
    await append(store, [frame(number, expires_at=NOW + number) for number in range(5)])

    counts = [len(await store.expire(NOW + 3, limit=3)) for _ in range(3)]

    assert counts == [3, 1, 0]


async def test_a_clock_that_is_set_back_an_hour_ends_nothing_early(store: FrameStore) -> None:
    hour = 3_600_000
    await append(store, [frame(1, expires_at=NOW + 1000)])
    set_back = await store.expire(NOW - hour)
    await append(store, [frame(2, created_at=NOW - hour, expires_at=NOW - hour + 1000)])

    early = await store.expire(NOW - hour + 1000)
    late = await store.expire(NOW + 1000)

    assert set_back == []
    assert [one.message_id for one in early] == [message_id(2)]
    assert [one.message_id for one in late] == [message_id(1)]


async def test_the_oldest_bulk_frames_of_a_target_are_evicted(store: FrameStore) -> None:
    kinds = (QoS.BULK, QoS.RELIABLE, QoS.HIGH_THROUGHPUT)
    await append(store, [frame(number, qos=kinds[number % 3]) for number in range(9)])
    await append(store, [frame(99, to="eve", qos=QoS.BULK)])

    gone = await store.evict_bulk("bob", 2)
    rest = await store.evict_bulk("bob", 9)

    assert [one.message_id for one in gone] == [message_id(0), message_id(3)]
    assert [one.message_id for one in rest] == [message_id(6)]
    assert await store.evict_bulk("nobody", 9) == []
    assert len(await store.take("bob", 0, 100)) == 6


async def test_the_oldest_bulk_frames_of_all_can_be_evicted(store: FrameStore) -> None:
    await append(store, [frame(number, to=f"t{number}", qos=QoS.BULK) for number in range(4)])
    await append(store, [frame(9, qos=QoS.RELIABLE)])

    gone = await store.evict_bulk(None, 3)

    assert [one.to for one in gone] == ["t0", "t1", "t2"]
    assert len(await store.evict_bulk(None, 3)) == 1


async def test_a_mailbox_is_kept_replaced_and_dropped(store: FrameStore) -> None:
    store.put_mailbox(mailbox("bob"))
    store.put_mailbox(mailbox("eve"))
    store.put_mailbox(mailbox("bob", expires_at=NOW + 5))
    store.drop_mailbox("eve")
    await append(store, [frame(1)])

    assert await store.mailboxes() == [mailbox("bob", expires_at=NOW + 5)]


async def test_notices_wait_in_order_until_they_are_removed(store: FrameStore) -> None:
    for number in range(3):
        store.add_notice("bob", b"%d" % number)
    store.add_notice("eve", b"other")
    await append(store, [frame(1)])

    notices = await store.notices("bob")
    store.remove_notices([notices[0].row, notices[2].row])
    await append(store, [frame(2)])

    assert [notice.data for notice in notices] == [b"0", b"1", b"2"]
    assert [notice.data for notice in await store.notices("bob")] == [b"1"]
    assert [notice.data for notice in await store.notices("eve")] == [b"other"]


async def test_one_notice_too_many_ends_the_oldest(store: FrameStore) -> None:
    for number in range(NOTICES_PER_NODE + 2):
        store.add_notice("bob", b"%d" % number)
    await append(store, [frame(1)])

    notices = await store.notices("bob")

    assert len(notices) == NOTICES_PER_NODE
    assert [notices[0].data, notices[-1].data] == [b"2", b"%d" % (NOTICES_PER_NODE + 1)]


async def test_with_its_mailbox_a_nodes_notices_go(store: FrameStore) -> None:
    store.put_mailbox(mailbox("bob"))
    store.add_notice("bob", b"notice")
    store.drop_mailbox("bob")
    await append(store, [frame(1)])

    assert list(await store.notices("bob")) == []


async def test_a_new_store_counts_nothing(store: FrameStore) -> None:
    assert list(await store.counts()) == []
    assert list(await store.mailboxes()) == []


async def test_what_waits_is_answered_before_a_store_is_closed(store: FrameStore) -> None:
    told: list[Appended] = []
    for number in range(2000):
        store.append(frame(number), told.append)

    await store.close()
    await store.close()

    assert statuses(told) == [Append.STORED] * 2000


def test_a_store_says_what_can_be_lost(store: FrameStore) -> None:
    assert store.durability.startswith(("memory: ", "full: "))
