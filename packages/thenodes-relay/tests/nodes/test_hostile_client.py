"""Clients that send anything: every frame has its ending and its counter; nothing is a fault."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from thenodes_core import Node
from thenodes_core.clock import settle
from thenodes_plugin_api import (
    Ack,
    Body,
    DeliveryAck,
    DeliveryOptions,
    DeliveryStatus,
    QoS,
    Reason,
    RelayBind,
    RelayBindAck,
    RelayNotify,
    RelayUnbind,
    ServiceSession,
    Text,
)

from .town import Town, User, town
from .wire import Heard, bind, forward, raw, send_raw

RELIABLE = DeliveryOptions(qos=QoS.RELIABLE)

_FORWARD = 7
_MONTH_MS = 30 * 86_400_000


def no_faults(*nodes: Node) -> bool:
    """Whether no plugin of these failed."""
    names = [name for node in nodes for name in node.counters.snapshot()]
    return not any(name.startswith(("plugin_faults", "task_failures")) for name in names)


class Place:
    """A relay; alice and bob, its users; and mallory, who has a session with it."""

    def __init__(self, made: Town, relay: Node, alice: User, bob: User, mallory: Node) -> None:
        self.made = made
        self.relay = relay
        self.alice = alice
        self.bob = bob
        self.mallory = mallory
        self.heard = Heard(mallory)

    @property
    def session(self) -> ServiceSession | None:
        """Mallory's with the relay."""
        return self.mallory.peers.service_session(self.relay.id)

    async def send(self, *frames: bytes) -> None:
        """Send as mallory, over another session where the last one was ended."""
        await self.made.until(lambda: self.session, 60)
        waiting = list(frames)
        while waiting and self.session:
            del waiting[: send_raw(self.mallory, self.relay.id, waiting[:64])]
            await settle(5)
        await self.made.clock.advance(1)

    async def serves(self) -> bool:
        """Whether alice reaches bob, and a reliable message is acknowledged."""
        acked = self.relay.counters.get("relay_acked")
        await self.made.reach(self.alice, self.bob)
        sending = self.alice.inbox.ctx.send(self.bob.node.id, Text(""), options=RELIABLE)
        outcome = await self.made.result(sending, 30)
        await self.made.until(lambda: self.relay.counters.get("relay_acked") == acked + 1)
        return outcome.status is DeliveryStatus.STORED

    def names(self) -> dict[str, str]:
        """Everybody's node id."""
        return {
            "alice": self.alice.node.id,
            "bob": self.bob.node.id,
            "relay": self.relay.id,
            "mallory": self.mallory.id,
        }

    def dropped(self) -> dict[str, int]:
        """What the relay dropped, by reason."""
        prefix = "relay_dropped."
        return {
            name.removeprefix(prefix): count
            for name, count in self.relay.counters.snapshot().items()
            if name.startswith(prefix)
        }


async def place(made: Town, **table: Any) -> Place:
    """Start everything; mallory is bound to bob."""
    relay = await made.relay(stores=True, **table)
    alice, bob = await made.user("alice"), await made.user("bob")
    mallory = await made.outsider("mallory", "relay-a")
    await made.until(lambda: relay.counters.get("relay_bound") >= 2)
    await made.until(lambda: mallory.peers.service_session(relay.id))
    there = Place(made, relay, alice, bob, mallory)
    await there.send(bind(bob.node.id))
    assert there.heard.answers()[0].ok
    return there


Frames = Callable[[Place, int], list[bytes]]


def header(there: Place, *fields: object, times: object = None) -> bytes:
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
            header(at, at.bob.node.id, at.mallory.id, 1, qos, times=[bytes(16), name])
            for qos in (None, "bulk")
            for name in ("reliable", "ordered_reliable")
        ],
        {"bad_frame": 4},
    ),
    "reliable, without delivery data or number": (
        lambda at, now: [header(at, at.bob.node.id, at.mallory.id, None, "reliable")],
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
            header(there, name, there.mallory.id, most, "reliable"),
        ]
        await there.send(*frames)
        await made.until(lambda: there.relay.counters.get("relay_stored") == 4)
        assert [ack.status for ack in there.heard.acks()] == ["stored"] * 4

        # However long they are to live, they go with the relay's own limit.
        made.clocks["relay-a"].ahead_seconds += 8 * 86_400
        await made.until(lambda: there.relay.counters.get("relay_expired") == 4, 30)

        assert there.dropped() == {"timeout": 4}
        told = [notice.notif_type for notice in there.heard.notices()]
        assert told.count(Reason.TIMEOUT) == 4
        assert no_faults(there.relay)


async def test_numbers_below_zero_and_ids_of_other_sizes_end_the_session(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        there = await place(made)
        to, me = there.bob.node.id, there.mallory.id
        bad = [
            header(there, to, me, -1, "reliable"),
            header(there, to, me, 1 << 63, "reliable"),
            header(there, to, me, 1, "reliable", times=[bytes(15)]),
            header(there, to, me, 1, "reliable", times=[bytes(17)]),
            header(there, to, me, 1, "bulk", times=[bytes(16), "reliable", None, None, -1, -1]),
            header(there, to),
            header(there, 7, me, 1),
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


INTEGERS = st.sampled_from(
    (-(1 << 63), -1, 0, 1, 7, 1 << 31, (1 << 53) + 1, (1 << 63) - 1, (1 << 64) - 1)
)
WORDS = st.sampled_from((*(str(qos) for qos in QoS), "ok", "stored", "error", "dup", "?", ""))
BYTES = st.sampled_from((b"", b"junk", bytes(16), bytes(3000)))
NUMBERS = st.floats(allow_nan=True) | INTEGERS
IDS = st.integers(1, 40).map(lambda number: number.to_bytes(16, "big"))
TIMES = st.none() | st.sampled_from((0, 1, 999_999_000, 1_000_060_000, (1 << 63) - 1))
SEQUENCES = st.none() | st.sampled_from((0, 1, 42, (1 << 63) - 1))


def names(there: dict[str, str]) -> st.SearchStrategy[str]:
    """Node ids that mean something here, and what is none."""
    return st.sampled_from([*there.values(), "*", "", "x" * 200, "é\0"])


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


def _frame(code: int, fields: tuple[object, ...]) -> bytes:
    return raw(code, [None, None, None, *fields])


def messages(who: dict[str, str]) -> st.SearchStrategy[bytes]:
    """Frames of every kind of relaying; each field of its type, and of any value."""
    anybody = names(who)
    deliveries = st.none() | st.tuples(
        IDS,
        st.sampled_from(("fire_and_forget", "reliable", "ordered_reliable", "?")),
        maybe(WORDS),
        SEQUENCES,
        TIMES,
        TIMES,
    )
    reasons = st.sampled_from([str(reason) for reason in Reason] + ["nonsense"])
    limits = maybe(
        st.fixed_dictionaries(
            {},
            optional={
                name: INTEGERS
                for name in ("ttl_seconds", "frame_bytes", "frames_per_second", "queue_frames")
            },
        )
    )
    bindings = st.tuples(anybody, anybody, INTEGERS).map(
        lambda parts: f"bind:{parts[0]}:{parts[1]}:{parts[2]}"
    )
    of_binds = st.tuples(
        anybody, maybe(st.booleans()), maybe(WORDS), maybe(INTEGERS), maybe(INTEGERS), maybe(BYTES)
    )
    of_acks = st.tuples(
        st.booleans(), maybe(reasons), maybe(bindings), maybe(st.booleans()), maybe(INTEGERS)
    )
    kinds: list[tuple[type[Body], st.SearchStrategy[Any]]] = [
        (RelayBind, of_binds),
        (RelayBindAck, st.tuples(of_acks, limits, maybe(BYTES)).map(lambda x: (*x[0], *x[1:]))),
        (RelayUnbind, st.tuples(bindings)),
        (
            RelayNotify,
            st.tuples(reasons, maybe(bindings), maybe(WORDS), maybe(IDS), maybe(NUMBERS)),
        ),
        (Ack, st.tuples(anybody, anybody, INTEGERS, maybe(WORDS), maybe(IDS))),
        (DeliveryAck, st.tuples(IDS, maybe(WORDS))),
    ]
    others = [fields.map(partial(_frame, kind.code)) for kind, fields in kinds]
    forwards = st.tuples(deliveries, anybody, anybody, SEQUENCES, maybe(WORDS), BYTES).map(
        lambda parts: raw(_FORWARD, [None, None, *parts[:5]], parts[5], flags=4)
    )
    own = st.tuples(deliveries, anybody, SEQUENCES, maybe(WORDS), BYTES).map(
        lambda parts: raw(
            _FORWARD,
            [None, None, parts[0], parts[1], who["mallory"], *parts[2:4]],
            parts[4],
            flags=4,
        )
    )
    return st.one_of(*others, forwards, own, own)


@given(st.data())
@settings(
    max_examples=20, phases=[Phase.generate], deadline=None, suppress_health_check=list(HealthCheck)
)
async def test_nothing_that_a_client_says_is_a_fault_or_without_an_end(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        async with town(Path(folder)) as made:
            there = await place(made)
            frames = data.draw(st.lists(messages(there.names()), min_size=20, max_size=60))
            await there.send(*frames)

            assert there.session
            counters = there.relay.counters
            carried = [frame for frame in frames if _is_carried(frame, there.relay.id)]
            await made.until(lambda: _ended(there) >= len(carried))
            assert _ended(there) == len(carried)
            assert counters.get("relay_bound") + sum(
                count
                for name, count in counters.snapshot().items()
                if name.startswith("relay_refused_binds")
            ) >= 3 + sum(frame[4] == RelayBind.code for frame in frames)
            assert await there.serves()
            assert no_faults(there.relay, there.alice.node, there.bob.node)


@given(st.data())
@settings(
    max_examples=20,
    phases=[Phase.generate],
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
async def test_nothing_that_a_relay_says_is_a_fault_of_its_user(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        async with town(Path(folder)) as made:
            there = await place(made)
            alice = there.alice.node
            frames = data.draw(st.lists(messages(there.names()), min_size=20, max_size=60))

            sent = send_raw(there.relay, alice.id, frames)
            await made.clock.advance(1)

            forwarded = sum(frame[4] == _FORWARD for frame in frames)
            dropped = [
                count
                for name, count in alice.counters.snapshot().items()
                if name.startswith(("relayed_dropped", "relay_dropped"))
            ]
            assert sent == len(frames)
            assert alice.peers.service_session(there.relay.id)
            assert sum(dropped) == forwarded
            assert there.alice.inbox.messages == []
            # It may have said that it is about to restart.
            made.network.cut()
            assert await there.serves()
            assert no_faults(there.relay, alice, there.bob.node)


def _is_carried(frame: bytes, relay: str) -> bool:
    """Whether it is a frame for another node than the relay itself."""
    header = frame[8 : 8 + int.from_bytes(frame[6:8], "big")]
    return frame[4] == _FORWARD and msgspec.msgpack.decode(header)[3] != relay


def _ended(there: Place) -> int:
    """How many frames came to an end, or are stored."""
    counters = there.relay.counters
    names = ("relay_forwarded", "relay_stored", "relay_duplicates")
    # What its target declines, or what expires, was counted as stored before.
    late = there.dropped().get("declined", 0) + counters.get("relay_expired")
    return sum(map(counters.get, names)) + sum(there.dropped().values()) - late
