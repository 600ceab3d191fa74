"""Tests of splitting and packing binary frames."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thenodes_core.errors import ProtocolError
from thenodes_core.limits import Limits
from thenodes_core.protocol.frame import PREFIX_BYTES, Frame, make_head, pack, split

LIMITS = Limits()
HELLO, TEXT, PEER_LIST, RELAY_FWD, EXTENSION = 1, 2, 4, 7, 16
RELAYABLE = [2, 11, 12, 13, 16]

frames = st.tuples(
    st.builds(make_head, st.integers(0, 255), st.integers(0, 255), st.binary(max_size=100)),
    st.binary(max_size=100),
)


def frame(kind: int, *, header: bytes = b"", body: bytes = b"") -> bytes:
    return pack(make_head(kind, 0, header), body)


def joined(several: list[Frame]) -> bytes:
    return b"".join(pack(head, body) for head, body in several)


def test_a_frame_is_laid_out_as_the_protocol_says() -> None:
    assert pack(make_head(16, 0b1010, b"head"), b"body!") == (
        b"\x00\x00\x00\x0d"  # 13 bytes follow
        b"\x10"  # kind
        b"\x0a"  # flags
        b"\x00\x04"  # header length
        b"headbody!"
    )


@settings(deadline=None)
@given(st.lists(frames, min_size=1, max_size=10))
def test_frames_back_to_back_come_out_as_they_went_in(several: list[Frame]) -> None:
    assert split(joined(several), LIMITS) == several


@settings(deadline=None)
@given(st.lists(frames, min_size=1, max_size=3), st.data())
def test_frames_that_are_cut_anywhere_are_refused_or_fewer(
    several: list[Frame], data: st.DataObject
) -> None:
    whole = joined(several)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]

    try:
        left = split(cut, LIMITS)
    except ProtocolError:
        return

    assert left == several[: len(left)]
    assert len(left) < len(several)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_frames_or_a_protocol_error(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        assert joined(split(data, LIMITS)) == data


@settings(deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 255),
    st.integers(0, 2**16 - 1),
    st.binary(max_size=64),
)
def test_any_lengths_are_a_frame_or_a_protocol_error(
    length: int, kind: int, header_length: int, rest: bytes
) -> None:
    data = struct.pack(">IBBH", length, kind, 0, header_length) + rest

    with contextlib.suppress(ProtocolError):
        assert joined(split(data, LIMITS)) == data


def test_an_empty_message_is_refused() -> None:
    with pytest.raises(ProtocolError, match="at least one frame"):
        split(b"", LIMITS)


@pytest.mark.parametrize("length", range(1, PREFIX_BYTES))
def test_less_than_a_prefix_is_refused(length: int) -> None:
    with pytest.raises(ProtocolError, match="truncated"):
        split(frame(TEXT)[:length], LIMITS)


@pytest.mark.parametrize("length", [0, 1, 3])
def test_a_length_that_does_not_cover_the_prefix_is_refused(length: int) -> None:
    with pytest.raises(ProtocolError):
        split(struct.pack(">IBBH", length, TEXT, 0, 0) + b"x" * 8, LIMITS)


def test_a_length_beyond_the_message_is_refused() -> None:
    with pytest.raises(ProtocolError, match="truncated frame: 4294967295 bytes announced"):
        split(struct.pack(">IBBH", 2**32 - 1, TEXT, 0, 0), LIMITS)


def test_a_header_that_reaches_into_the_next_frame_is_refused() -> None:
    reaching = struct.pack(">IBBH", 4, TEXT, 0, 8)

    with pytest.raises(ProtocolError, match="header of 8 bytes in a frame of 4"):
        split(reaching + frame(TEXT), LIMITS)


def test_one_byte_after_the_last_frame_is_refused() -> None:
    with pytest.raises(ProtocolError, match="truncated"):
        split(frame(TEXT) + b"\x00", LIMITS)


def test_a_frame_of_exactly_the_limit_is_taken() -> None:
    body = bytes(LIMITS.frame_bytes - PREFIX_BYTES)

    assert split(frame(TEXT, body=body), LIMITS)[0][1] == body


def test_a_frame_longer_than_the_limit_is_refused() -> None:
    data = frame(TEXT, body=bytes(LIMITS.frame_bytes - PREFIX_BYTES + 1))

    with pytest.raises(ProtocolError, match="frame of 262145 bytes, at most 262144"):
        split(data, LIMITS)


def test_a_frame_over_the_limit_behind_a_short_one_is_refused() -> None:
    limits = Limits(frame_bytes=16)

    with pytest.raises(ProtocolError, match="frame of 17 bytes"):
        split(frame(TEXT) + frame(TEXT, body=bytes(9)), limits)


@pytest.mark.parametrize("kind", RELAYABLE)
def test_a_relayable_kind_has_a_header_of_at_most_4_kib(kind: int) -> None:
    split(frame(kind, header=bytes(4096)), LIMITS)

    with pytest.raises(ProtocolError, match="header of 4097 bytes"):
        split(frame(kind, header=bytes(4097)), LIMITS)


@pytest.mark.parametrize("kind", [HELLO, PEER_LIST, RELAY_FWD, 255])
def test_any_other_kind_has_a_header_of_at_most_60_kib(kind: int) -> None:
    split(frame(kind, header=bytes(61440)), LIMITS)

    with pytest.raises(ProtocolError, match="header of 61441 bytes"):
        split(frame(kind, header=bytes(61441)), LIMITS)


def test_a_header_that_its_length_cannot_express_is_not_packed() -> None:
    with pytest.raises(struct.error):
        make_head(HELLO, 0, bytes(65536))
