"""Binary frames: `u32 length | u8 kind | u8 flags | u16 header length | header | body`.

The length counts everything after itself; numbers are big-endian. One WebSocket
message holds one or more frames back to back. A relay needs nothing but this
module to move a frame: header and body are only sliced, never decoded.
"""

from __future__ import annotations

import struct
from typing import TypeAlias

from ..errors import ProtocolError
from ..limits import Limits

__all__ = [
    "FORM_MASK",
    "HEAD_BYTES",
    "PREFIX_BYTES",
    "REDELIVERED",
    "Frame",
    "check_header",
    "header_limit",
    "make_head",
    "pack",
    "reject_length",
    "split",
    "split_until",
]

FORM_MASK = 0b0000_0111
REDELIVERED = 0b0000_1000

_LENGTH = struct.Struct(">I")
_HEAD = struct.Struct(">BBH")
_PREFIX = struct.Struct(">IBBH")

HEAD_BYTES = _HEAD.size
PREFIX_BYTES = _PREFIX.size

# TEXT, DELIVERY_ACK, DATA_REQUEST, DATA_RESPONSE, EXTENSION: what RELAY_FWD may enclose.
_RELAYABLE = frozenset({2, 11, 12, 13, 16})

# Codes are of one byte.
_NO_KIND = 256

Frame: TypeAlias = tuple[bytes, bytes]
"""`(head, body)`: the head is kind, flags, header length and header; the body the payload.

Equal heads mean equal headers, so a head can be looked up before it is decoded.
"""


def make_head(kind: int, flags: int, header: bytes) -> bytes:
    """Return a frame's head.

    Raises:
        struct.error: the header is longer than 65535 bytes.
    """
    return _HEAD.pack(kind, flags, len(header)) + header


def pack(head: bytes, body: bytes) -> bytes:
    """Return the frame's bytes."""
    return _LENGTH.pack(len(head) + len(body)) + head + body


def split(data: bytes, limits: Limits) -> list[Frame]:
    """Return the frames of one WebSocket message.

    Raises:
        ProtocolError: a length is wrong or beyond `limits`, or nothing is there.
    """
    return split_until(data, 0, _NO_KIND, limits)[0]


def split_until(data: bytes, at: int, kind_apart: int, limits: Limits) -> tuple[list[Frame], int]:
    """Return the frames from `at` on, and where the first of the kind `kind_apart` begins.

    Raises:
        ProtocolError: as `split`.
    """
    frames: list[Frame] = []
    append = frames.append
    unpack = _PREFIX.unpack_from
    end = len(data)
    frame_max, header_max = limits.frame_bytes, limits.header_bytes
    while at < end:
        if end - at < PREFIX_BYTES:
            raise ProtocolError(f"truncated frame: {end - at} bytes, expected {PREFIX_BYTES}")
        length, kind, _, header_length = unpack(data, at)
        if kind == kind_apart:
            break
        body_at = at + PREFIX_BYTES + header_length
        next_at = at + 4 + length
        if next_at > end or body_at > next_at:
            reject_length(length, header_length, end - at - 4)
        if next_at - at > frame_max:
            raise ProtocolError(f"frame of {next_at - at} bytes, at most {frame_max} are allowed")
        if header_length > header_max:
            check_header(kind, header_length, limits)
        append((data[at + 4 : body_at], data[body_at:next_at]))
        at = next_at
    if not frames:
        raise ProtocolError("empty message: at least one frame is expected")
    return frames, at


def header_limit(kind: int, limits: Limits) -> int:
    """How long the header of that kind may be."""
    return limits.header_bytes if kind in _RELAYABLE else limits.control_header_bytes


def check_header(kind: int, header_length: int, limits: Limits) -> None:
    """Raise ProtocolError where a kind's header is too long."""
    most = header_limit(kind, limits)
    if header_length > most:
        raise ProtocolError(f"header of {header_length} bytes in kind {kind}, at most {most}")


def reject_length(length: int, header_length: int, available: int) -> None:
    """Raise ProtocolError for a length that cannot be."""
    if length > available:
        raise ProtocolError(f"truncated frame: {length} bytes announced, {available} there")
    raise ProtocolError(f"header of {header_length} bytes in a frame of {length}")
