"""Fuzzes the frame parser and the binary encoding: `python -m fuzz.frames [CORPUS] [INPUT]`.

An input is tried as it is, with its length put in front of it, and as kind, flags and
header alone: mutations seldom get two lengths right.
"""

from __future__ import annotations

from thenodes_core.errors import ProtocolError
from thenodes_core.protocol.frame import make_head, pack, split

from .target import BINARY, LIMITS, check, fuzz

__all__ = ["one_input"]


def one_input(data: bytes) -> None:
    """Try one input."""
    for whole in (data, pack(data, b""), pack(_as_head(data), b"")):
        try:
            frames = split(whole, LIMITS)
        except ProtocolError:
            frames = []
        if frames and b"".join(pack(head, body) for head, body in frames) != whole:
            raise AssertionError(f"{whole.hex()} is not what its frames are")
        check(BINARY, whole)


def _as_head(data: bytes) -> bytes:
    kind, flags, header = data[:1], data[1:2], data[2 : 2 + LIMITS.frame_bytes]
    return make_head(int.from_bytes(kind), int.from_bytes(flags), header)


if __name__ == "__main__":
    fuzz(one_input)
