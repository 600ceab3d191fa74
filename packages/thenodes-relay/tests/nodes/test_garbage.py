"""Messages of every kind of relaying with anything in their fields, in both directions."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from thenodes_plugin_api import (
    Ack,
    Body,
    DeliveryAck,
    QoS,
    Reason,
    RelayBind,
    RelayBindAck,
    RelayNotify,
    RelayUnbind,
)

from .place import Place, no_faults, place
from .town import town
from .wire import raw, send_raw

_FORWARD = 7

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
