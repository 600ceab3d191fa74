"""The frame that a service gets."""

from __future__ import annotations

import struct

import msgspec
import pytest

from thenodes_plugin_api import DeliveryHeader, ForwardHeader, Frame

MESSAGE_ID = bytes(range(16))
DELIVERY = [MESSAGE_ID, "fire_and_forget", None, None, 1, 2]
ADDRESS = [None, None, DELIVERY, "to", "from", 42, "bulk"]

decode = msgspec.msgpack.Decoder(ForwardHeader).decode


def make_header(*, at: int | None = None, value: object = None, cut: int | None = None) -> bytes:
    fields: list[object] = list(ADDRESS)
    if at is not None:
        fields[at] = value
    return msgspec.msgpack.encode(fields[:cut])


def make_frame(*, flags: int = 4) -> Frame:
    header = make_header()
    content = struct.pack(">BBH", 7, flags, len(header)) + header + b"body"
    return Frame(decode(header), struct.pack(">I", len(content)) + content)


def test_a_header_is_read_as_it_is_on_the_wire() -> None:
    header = decode(make_header())

    assert header == ForwardHeader(
        None,
        None,
        DeliveryHeader(MESSAGE_ID, created_at=1, expires_at=2),
        "to",
        "from",
        42,
        "bulk",
    )
    assert msgspec.msgpack.encode(header) == make_header()


def test_what_is_left_out_is_null_and_what_is_new_is_passed_over() -> None:
    short = decode(make_header(cut=5))
    long = decode(msgspec.msgpack.encode([*ADDRESS, "new"]))

    assert (short.sequence, short.qos) == (None, None)
    assert long == decode(make_header())


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (5, -1),
        (5, 1 << 63),
        (2, [MESSAGE_ID[:15]]),
        (2, [MESSAGE_ID + b"x"]),
        (2, [MESSAGE_ID, "reliable", None, None, -1]),
        (2, [MESSAGE_ID, "reliable", None, None, 1, 1 << 63]),
        (2, [MESSAGE_ID, "reliable", None, 1 << 63]),
        (3, None),
        (4, 7),
    ],
)
def test_a_header_out_of_bounds_is_refused(at: int, value: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode(make_header(at=at, value=value))


def test_a_frame_is_marked_as_sent_before_and_nothing_else_changes() -> None:
    frame = make_frame()

    again = Frame(frame.header, frame.redelivered())

    assert not frame.is_redelivered
    assert again.is_redelivered
    assert again.redelivered() == again.data
    assert [at for at, byte in enumerate(again.data) if byte != frame.data[at]] == [5]
    assert again.data[5] == frame.data[5] | 8
