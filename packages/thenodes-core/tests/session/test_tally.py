"""What sessions carry is counted in runs, by direction and kind."""

from __future__ import annotations

from thenodes_core.limits import Limits
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.codec_json import JsonCodec
from thenodes_core.protocol.frame import make_head, pack
from thenodes_core.session.outbox import Lane, Outbox
from thenodes_core.session.tally import FORWARDED, UNKNOWN, Flow, KindTotal, Totals
from thenodes_plugin_api import (
    KINDS,
    Body,
    Extension,
    Heartbeat,
    Hello,
    Message,
    Payload,
    Realm,
    Text,
)

LIMITS = Limits(outbox_frames=8, coalesce_bytes=100)
TEXT, EXTENSION, HEARTBEAT = Text.code, Extension.code, Heartbeat.code


class Sending:
    """An outbox whose socket takes nothing at once, and what it counts."""

    def __init__(self) -> None:
        self.totals = Totals()
        self.flow = Flow(self.totals)
        self.outbox = Outbox(LIMITS, coalesces=True, send_now=lambda _: False, flow=self.flow)

    @property
    def gone(self) -> tuple[int, int]:
        return self.flow.frames, self.flow.bytes

    def by_kind(self) -> dict[str, tuple[int, int]]:
        self.outbox.settle()
        return {total.kind: (total.frames, total.bytes) for total in self.totals}


def test_frames_of_several_kinds_are_told_apart() -> None:
    totals = Totals()
    flow = Flow(totals)

    flow.add(TEXT, 2, 20)
    flow.add(EXTENSION, 1, 7)
    flow.add(TEXT, 1, 5)
    flow.settle()

    assert list(totals) == [KindTotal("TEXT", 3, 25), KindTotal("EXTENSION", 1, 7)]
    assert (flow.frames, flow.bytes) == (4, 32)


def test_settling_twice_counts_nothing_twice() -> None:
    totals = Totals()
    flow = Flow(totals)
    flow.add(TEXT, 1, 5)

    flow.settle()
    flow.settle()

    assert list(totals) == [KindTotal("TEXT", 1, 5)]


def test_many_sessions_add_to_the_same_totals() -> None:
    totals = Totals()
    for flow in (Flow(totals), Flow(totals)):
        flow.add(TEXT, 1, 5)
        flow.settle()

    assert list(totals) == [KindTotal("TEXT", 2, 10)]


def test_a_message_of_mixed_frames_is_counted_frame_by_frame() -> None:
    codec, totals = BinaryCodec(Limits()), Totals()
    frames = [
        codec.encode(Message(Text("hi"))),
        codec.encode(Message(Extension("my.x"), Payload.binary(bytes(100)))),
        pack(make_head(200, 0, b""), b"xyz"),
    ]
    flow = Flow(totals)

    flow.add_mixed(b"".join(frames))
    flow.settle()

    assert list(totals) == [
        KindTotal("UNKNOWN", 1, len(frames[2])),
        KindTotal("TEXT", 1, len(frames[0])),
        KindTotal("EXTENSION", 1, len(frames[1])),
    ]


async def test_what_waits_is_counted_by_kind_and_not_as_gone() -> None:
    sending = Sending()

    sending.outbox.offer(b"one", TEXT)
    sending.outbox.offer(b"three", EXTENSION)
    sending.outbox.offer(b"seven", EXTENSION)

    assert sending.gone == (0, 0)
    assert sending.by_kind() == {"TEXT": (1, 3), "EXTENSION": (2, 10)}


async def test_what_is_taken_is_gone_and_counted_once() -> None:
    sending = Sending()
    for frame, code in ((b"one", TEXT), (b"three", EXTENSION)):
        sending.outbox.offer(frame, code)

    await sending.outbox.take()
    sending.outbox.offer(b"four", EXTENSION)

    assert sending.gone == (2, 8)
    assert sending.by_kind() == {"TEXT": (1, 3), "EXTENSION": (2, 9)}


async def test_a_frame_of_the_control_lane_leaves_the_run_as_it_is() -> None:
    sending = Sending()
    sending.outbox.offer(b"one", TEXT)

    sending.outbox.offer(b"beat", HEARTBEAT, Lane.CONTROL)
    sending.outbox.offer(b"two", TEXT)
    await sending.outbox.take()

    assert sending.gone == (3, 10)
    assert sending.by_kind() == {"TEXT": (2, 6), "HEARTBEAT": (1, 4)}


async def test_what_has_no_room_is_not_counted() -> None:
    sending = Sending()

    taken = sum(sending.outbox.offer(b"x", TEXT) for _ in range(20))

    assert sending.by_kind() == {"TEXT": (taken, taken)}
    assert taken == LIMITS.outbox_frames


async def test_a_services_frames_are_counted_as_forwarded_as_far_as_they_are_taken() -> None:
    sending = Sending()
    sending.outbox.offer(b"one", TEXT)

    taken = sending.outbox.offer_all([b"12345"] * 6)

    assert taken == 3
    assert sending.by_kind() == {"TEXT": (1, 3), "RELAY_FWD": (3, 15)}
    assert sending.flow.code == FORWARDED


async def test_a_message_that_the_socket_did_not_take_at_once_is_not_counted_again() -> None:
    limits = Limits(coalesce_bytes=10)
    totals = Totals()
    flow = Flow(totals)
    outbox = Outbox(limits, coalesces=True, send_now=lambda _: False, flow=flow)
    outbox._writer = None
    outbox.offer_all([b"12345"] * 4)

    outbox._hand_over()
    outbox.settle()

    assert list(totals) == [KindTotal("RELAY_FWD", 4, 20)]
    assert flow.bytes == 0
    while len(outbox):
        await outbox.take()
    outbox.settle()
    assert list(totals) == [KindTotal("RELAY_FWD", 4, 20)]
    assert flow.bytes == 20


def test_both_encodings_know_the_kind_of_what_they_encoded() -> None:
    bodies: list[Body] = [
        Hello(node_id='x","msg_type":"TEXT"', realm=Realm()),
        Text('"msg_type":"HEARTBEAT"'),
        Heartbeat(),
        Extension("my.x"),
    ]
    for codec in (BinaryCodec(Limits()), JsonCodec(Limits())):
        for body in bodies:
            encoded = codec.encode(Message(body, sender='","msg_type":"ACK"', to="y"))
            assert codec.code_of(encoded) == body.code


def test_no_kind_has_the_code_of_unknown_ones() -> None:
    assert UNKNOWN not in {kind.code for kind in KINDS}
