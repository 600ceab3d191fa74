"""Tests of RELAY_FWD frames: read in runs, packed, and translated."""

from __future__ import annotations

import contextlib
import struct
import uuid
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from thenodes_core.errors import ProtocolError
from thenodes_core.limits import Limits
from thenodes_core.protocol.codec import Codec
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.codec_json import JsonCodec
from thenodes_core.protocol.forward import (
    FORWARD,
    frame_of,
    message_of,
    pack_forward,
    read_run,
    split_forward,
)
from thenodes_core.protocol.frame import PREFIX_BYTES, REDELIVERED, make_head, pack
from thenodes_plugin_api import (
    Ack,
    DeliveryClass,
    DeliveryHeader,
    DeliveryMetadata,
    ForwardHeader,
    Frame,
    Heartbeat,
    Message,
    Payload,
    PayloadError,
    PayloadForm,
    PayloadTooLarge,
    RelayForward,
    Text,
)

LIMITS = Limits()
CODEC = BinaryCodec(LIMITS)
MESSAGE_ID = uuid.UUID("0190b8a0-0000-7000-8000-000000000001")
MOST = 2**63 - 1

texts = st.text(max_size=20)
numbers = st.integers(0, MOST)
deliveries = st.builds(
    DeliveryHeader,
    st.binary(min_size=16, max_size=16),
    st.sampled_from([kind.value for kind in DeliveryClass]),
    st.none() | texts,
    st.none() | numbers,
    st.none() | numbers,
    st.none() | numbers,
)
headers = st.builds(
    ForwardHeader,
    st.none(),
    st.none(),
    st.none() | deliveries,
    texts,
    texts,
    st.none() | numbers,
    st.none() | texts,
)
forms = st.sampled_from(PayloadForm)
forwarded = st.builds(
    lambda header, form, body, again: pack_forward(header, form, body, LIMITS, redelivered=again),
    headers,
    forms,
    st.binary(max_size=40),
    st.booleans(),
)
others = st.sampled_from([CODEC.encode(Message(body)) for body in (Text("hi"), Heartbeat())])


def header(**changes: object) -> ForwardHeader:
    plain = ForwardHeader(None, None, DeliveryHeader(MESSAGE_ID.bytes), "bob", "alice", 7, "bulk")
    return structs.replace(plain, **changes)


def raw(fields: object, *, flags: int = PayloadForm.SEALED, body: bytes = b"") -> bytes:
    return pack(make_head(FORWARD, flags, msgspec.msgpack.encode(fields)), body)


def read(data: bytes, limits: Limits = LIMITS) -> list[Frame]:
    frames, at = read_run(data, 0, limits)
    assert at == len(data)
    return frames


@settings(deadline=None)
@given(st.lists(forwarded, min_size=1, max_size=5))
def test_a_run_of_frames_keeps_order_and_bytes(frames: list[bytes]) -> None:
    assert [frame.data for frame in read(b"".join(frames))] == frames


@settings(deadline=None)
@given(headers, forms, st.binary(max_size=40), st.booleans())
def test_a_frame_comes_out_as_it_went_in(
    written: ForwardHeader, form: PayloadForm, body: bytes, again: bool
) -> None:
    (frame,) = read(pack_forward(written, form, body, LIMITS, redelivered=again))

    assert frame.header == written
    assert split_forward(frame.data) == (form, body)
    assert frame.is_redelivered is again


@settings(deadline=None)
@given(st.lists(forwarded | others, min_size=1, max_size=8))
def test_both_ways_of_reading_find_the_same_in_the_same_order(frames: list[bytes]) -> None:
    data = b"".join(frames)

    found = [
        message_of(item.data, "here", "") if isinstance(item, Frame) else item
        for part in CODEC.read(data, sender="here")
        for item in part
    ]

    decoded = CODEC.decode(data, sender="here")
    assert [structs.replace(item, to=None) for item in found] == decoded


@settings(deadline=None)
@given(st.lists(forwarded, min_size=1, max_size=3), st.data())
def test_frames_that_are_cut_anywhere_are_refused_or_fewer(
    frames: list[bytes], data: st.DataObject
) -> None:
    whole = b"".join(frames)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]

    try:
        left = read(cut)
    except ProtocolError:
        return

    assert [frame.data for frame in left] == frames[: len(left)]
    assert len(left) < len(frames)


@settings(deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(0, 255), st.integers(0, 2**16 - 1), st.binary(max_size=9)
)
def test_any_lengths_are_a_frame_or_a_protocol_error(
    length: int, flags: int, header_length: int, rest: bytes
) -> None:
    with contextlib.suppress(ProtocolError):
        read(struct.pack(">IBBH", length, FORWARD, flags, header_length) + rest)


@settings(deadline=None)
@given(st.integers(0, 255), st.binary(max_size=80), st.binary(max_size=20))
def test_a_header_of_any_bytes_is_a_frame_or_a_protocol_error(
    flags: int, garbage: bytes, body: bytes
) -> None:
    with contextlib.suppress(ProtocolError):
        read(pack(make_head(FORWARD, flags, garbage), body))


@settings(deadline=None)
@given(st.data())
def test_a_header_of_any_values_is_a_frame_or_a_protocol_error(data: st.DataObject) -> None:
    scalars = (
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats()
        | st.text(max_size=8)
        | st.binary(max_size=17)
    )
    values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=7), max_leaves=8)

    with contextlib.suppress(ProtocolError):
        read(raw(data.draw(st.lists(values, max_size=9))))


@pytest.mark.parametrize("codec", [BinaryCodec(LIMITS), JsonCodec(LIMITS)])
@settings(deadline=None)
@given(data=st.binary(max_size=120))
def test_any_bytes_are_parts_or_a_protocol_error(codec: Codec, data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        assert all(codec.read(data))


def test_a_run_ends_where_another_kind_begins() -> None:
    run = pack_forward(header(), PayloadForm.SEALED, b"1", LIMITS) * 2

    frames, at = read_run(run + CODEC.encode(Message(Text("hi"))), 0, LIMITS)

    assert (len(frames), at) == (2, len(run))


def test_parts_alternate_as_frames_and_messages_do() -> None:
    frame = pack_forward(header(), PayloadForm.SEALED, b"1", LIMITS)
    ack = CODEC.encode(Message(Ack("alice", "bob", 1, "ok")))

    parts = CODEC.read(ack + frame + frame + ack)

    assert [[type(item) for item in part] for part in parts] == [
        [Message],
        [Frame, Frame],
        [Message],
    ]


def test_an_empty_message_is_refused() -> None:
    with pytest.raises(ProtocolError, match="at least one frame"):
        CODEC.read(b"")


@pytest.mark.parametrize("length", range(1, PREFIX_BYTES))
def test_less_than_a_prefix_is_refused(length: int) -> None:
    frame = pack_forward(header(), PayloadForm.SEALED, b"1", LIMITS)

    with pytest.raises(ProtocolError, match=f"truncated frame: {length} bytes, expected 8"):
        read(frame + frame[:length])


def test_a_length_beyond_the_message_is_refused() -> None:
    with pytest.raises(ProtocolError, match="truncated frame: 4294967295 bytes announced"):
        read(struct.pack(">IBBH", 2**32 - 1, FORWARD, 4, 0))


def test_a_header_that_reaches_into_the_next_frame_is_refused() -> None:
    reaching = struct.pack(">IBBH", 4, FORWARD, 4, 8)

    with pytest.raises(ProtocolError, match="header of 8 bytes in a frame of 4"):
        read(reaching + pack_forward(header(), PayloadForm.SEALED, b"", LIMITS))


def test_a_frame_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    empty = pack_forward(header(), PayloadForm.SEALED, b"", LIMITS)
    body = bytes(LIMITS.frame_bytes - len(empty))
    frame = pack_forward(header(), PayloadForm.SEALED, body, LIMITS)
    assert read(frame)[0].data == frame

    with pytest.raises(PayloadTooLarge, match="RELAY_FWD of 262145 bytes"):
        pack_forward(header(), PayloadForm.SEALED, body + b"x", LIMITS)
    with pytest.raises(ProtocolError, match="frame of 262144 bytes, at most 262143"):
        read(frame, structs.replace(LIMITS, frame_bytes=262143))


def test_a_header_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    bare = len(msgspec.msgpack.encode(header(to="x" * 300)))
    to = "x" * (LIMITS.control_header_bytes - bare + 300)
    frame = pack_forward(header(to=to), PayloadForm.SEALED, b"", LIMITS)
    assert read(frame)[0].header.to == to

    with pytest.raises(PayloadTooLarge, match="header of 61441 bytes in kind 7"):
        pack_forward(header(to=to + "x"), PayloadForm.SEALED, b"", LIMITS)
    with pytest.raises(ProtocolError, match="header of 61440 bytes in kind 7, at most 61439"):
        read(frame, structs.replace(LIMITS, control_header_bytes=61439))


@pytest.mark.parametrize("form", [6, 7, 6 | REDELIVERED])
def test_a_payload_of_an_undefined_form_is_refused(form: int) -> None:
    with pytest.raises(ProtocolError, match=r"payload form [67] is not defined"):
        read(raw(header(), flags=form))


def test_bytes_without_a_form_are_refused() -> None:
    assert read(raw(header(), flags=0))

    with pytest.raises(ProtocolError, match="RELAY_FWD has 1 bytes of body, but no form"):
        read(raw(header(), flags=0, body=b"x"))


def test_reserved_flags_are_ignored() -> None:
    (frame,) = read(raw(header(), flags=PayloadForm.SEALED | 0b0001_0000))

    assert split_forward(frame.data) == (PayloadForm.SEALED, b"")


@pytest.mark.parametrize(
    "spoilt",
    [
        [None, None, None, "bob"],
        [None, None, None, None, "alice"],
        [None, None, None, "bob", "alice", -1],
        [None, None, None, "bob", "alice", MOST + 1],
        [None, None, [bytes(15)], "bob", "alice"],
        [None, None, [bytes(17)], "bob", "alice"],
        [None, None, [bytes(16), "reliable", None, None, MOST + 1], "bob", "alice"],
        [None, None, [bytes(16), "reliable", None, None, None, -1], "bob", "alice"],
        {"to": "bob"},
    ],
)
def test_a_header_that_holds_the_wrong_things_is_refused(spoilt: object) -> None:
    with pytest.raises(ProtocolError, match="RELAY_FWD header: "):
        read(raw(spoilt))


def test_missing_fields_have_defaults_and_extra_ones_are_ignored() -> None:
    short, long = read(
        raw([None, None, None, "bob", "alice"])
        + raw([None, None, None, "bob", "alice", 1, "bulk", "new", 2])
    )

    assert (short.header.sequence, short.header.qos) == (None, None)
    assert (long.header.sequence, long.header.qos) == (1, "bulk")


def test_a_header_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(PayloadError, match="RELAY_FWD cannot be encoded"):
        pack_forward(header(to="\ud800"), PayloadForm.SEALED, b"", LIMITS)


@settings(deadline=None)
@given(forwarded)
def test_what_is_translated_there_and_back_is_the_same(data: bytes) -> None:
    assert frame_of(message_of(data, "relay", "bob"), LIMITS).data == data


@settings(deadline=None)
@given(headers, st.binary(max_size=40))
def test_a_sealed_frame_crosses_json_untouched(written: ForwardHeader, body: bytes) -> None:
    codec = JsonCodec(LIMITS)
    data = pack_forward(written, PayloadForm.SEALED, body, LIMITS)

    ((frame,),) = codec.read(codec.encode(message_of(data, "relay", "bob")))

    assert isinstance(frame, Frame)
    assert frame.data == data


def test_a_class_that_json_does_not_know_has_no_envelope() -> None:
    odd = header(delivery=DeliveryHeader(MESSAGE_ID.bytes, "registered"))

    with pytest.raises(PayloadError, match="'registered' is not a valid DeliveryClass"):
        message_of(pack_forward(odd, PayloadForm.SEALED, b"", LIMITS), "relay", "bob")


def with_sequence(sequence: int) -> Message:
    return Message(RelayForward("bob", "alice", sequence))


def with_created_at(created_at: int) -> Message:
    delivery = DeliveryMetadata(MESSAGE_ID, created_at=created_at)
    return Message(RelayForward("bob", "alice"), delivery=delivery)


@pytest.mark.parametrize("make", [with_sequence, with_created_at])
@pytest.mark.parametrize("number", [-1, MOST + 1, 2**70])
def test_a_number_out_of_bounds_is_refused_in_json_too(
    make: Callable[[int], Message], number: int
) -> None:
    with pytest.raises(ProtocolError, match="RELAY_FWD header: "):
        frame_of(make(number), LIMITS)


def test_a_payload_that_fits_json_alone_is_refused() -> None:
    payload = Payload(PayloadForm.SEALED, bytes(LIMITS.frame_bytes))

    with pytest.raises(ProtocolError, match="frame of 262168 bytes, at most 262144"):
        frame_of(Message(RelayForward("bob", "alice"), payload), LIMITS)
