"""Clients that send anything: every frame has its ending and its counter; nothing is a fault."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from thenodes_plugin_api import (
    QoS,
    Reason,
    ServiceSession,
)

from .place import Place, no_faults, place
from .town import town
from .wire import forward, raw

_FORWARD = 7


Frames = Callable[[Place, int], list[bytes]]


def header(*fields: object, times: object = None) -> bytes:
    """A RELAY_FWD frame whose header ends with these fields."""
    return raw(_FORWARD, [None, None, times, *fields], b"body", flags=4)


REFUSED: dict[str, tuple[Frames, dict[str, int]]] = {
    "to a mailbox's name": (
        lambda at, now: [forward("*", at.mallory.id, n, qos) for n, qos in enumerate(QoS)],
        {"not_bound": 4},
    ),
    "to itself": (
        lambda at, now: [forward(at.mallory.id, at.mallory.id, n, q) for n, q in enumerate(QoS)],
        {"not_bound": 4},
    ),
    "to what is no name": (
        lambda at, now: [forward(to, at.mallory.id, 1) for to in ("", "\0", "é" * 900)],
        {"not_bound": 3},
    ),
    "of a qos that is none": (
        lambda at, now: [forward(at.bob.node.id, at.mallory.id, 1, qos) for qos in ("", "?", "*")],
        {"bad_frame": 3},
    ),
    "of a reliable class without the qos": (
        lambda at, now: [
            header(at.bob.node.id, at.mallory.id, 1, qos, times=[bytes(16), name])
            for qos in (None, "bulk")
            for name in ("reliable", "ordered_reliable")
        ],
        {"bad_frame": 4},
    ),
    "reliable, without delivery data or number": (
        lambda at, now: [header(at.bob.node.id, at.mallory.id, None, "reliable")],
        {"bad_frame": 1},
    ),
    "expired": (
        lambda at, now: [
            forward(at.bob.node.id, at.mallory.id, n, qos, expires_at=now - 1)
            for n, qos in enumerate(QoS)
        ],
        {"timeout": 4},
    ),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_frames_that_cannot_be_carried_are_refused_counted_and_told(
    tmp_path: Path, what: str
) -> None:
    async with town(tmp_path) as made:
        there = await place(made)
        make, dropped = REFUSED[what]

        await there.send(*make(there, int(made.clock.time() * 1000)))

        (reason,) = dropped
        assert there.dropped() == dropped
        told = [notice.notif_type for notice in there.heard.notices()]
        assert told == [Reason(reason)] * dropped[reason]
        assert there.bob.node.counters.get("relay_client_received") == 0
        assert await there.serves()
        assert no_faults(there.relay, there.bob.node)


async def test_frames_for_the_relay_itself_are_opened_there_and_dropped(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        there = await place(made)
        now = int(made.clock.time() * 1000)
        frames = [
            forward(there.relay.id, sender, number, qos, created_at=now, expires_at=now + 60_000)
            for number, qos in enumerate(QoS)
            for sender in (there.mallory.id, there.alice.node.id)
        ]
        await there.send(*frames)

        assert there.relay.counters.get("relayed_dropped", reason="bad_frame") == len(frames)
        assert [ack.status for ack in there.heard.acks()] == ["error"] * 2
        assert await there.serves()
        assert no_faults(there.relay)


async def test_times_that_no_frame_can_have_shorten_or_end_it(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        there = await place(made, retention_secs=9 * 86_400)
        name = there.bob.node.id
        await made.stop("bob")
        most = (1 << 63) - 1
        frames = [
            forward(name, there.mallory.id, 1, "reliable", created_at=most, expires_at=most),
            forward(name, there.mallory.id, 2, "reliable", created_at=0, expires_at=most),
            forward(name, there.mallory.id, 3, "reliable"),
            header(name, there.mallory.id, most, "reliable"),
        ]
        await there.send(*frames)
        await made.until(lambda: there.relay.counters.get("relay_stored") == 4)
        assert [ack.status for ack in there.heard.acks()] == ["stored"] * 4

        # However long they are to live, they go with the relay's own limit.
        made.clocks["relay-a"].ahead_seconds += 8 * 86_400
        await made.until(lambda: there.relay.counters.get("relay_expired") == 4, 30)
        await made.clock.advance(1)

        assert there.dropped() == {"timeout": 4}
        told = [notice.notif_type for notice in there.heard.notices()]
        assert told.count(Reason.TIMEOUT) == 4
        assert no_faults(there.relay)


async def test_numbers_below_zero_and_ids_of_other_sizes_end_the_session(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        there = await place(made)
        to, me = there.bob.node.id, there.mallory.id
        bad = [
            header(to, me, -1, "reliable"),
            header(to, me, 1 << 63, "reliable"),
            header(to, me, 1, "reliable", times=[bytes(15)]),
            header(to, me, 1, "reliable", times=[bytes(17)]),
            header(to, me, 1, "bulk", times=[bytes(16), "reliable", None, None, -1, -1]),
            header(to),
            header(7, me, 1),
            raw(_FORWARD, 5),
            raw(_FORWARD, {"to": to}),
            raw(_FORWARD, [None, None, None, to, me], b"body", flags=0),
            raw(_FORWARD, [None, None, None, to, me], b"body", flags=7),
        ]
        for frame in bad:
            before = there.session
            await there.send(frame)
            await made.until(partial(_is_another, there, before))

        assert there.relay.counters.get("relay_forwarded") == 0
        assert there.relay.counters.get("relay_unbound") == 1
        assert await there.serves()
        assert no_faults(there.relay)


def _is_another(there: Place, before: ServiceSession | None) -> bool:
    return there.session is not before
