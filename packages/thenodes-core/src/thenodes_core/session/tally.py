"""What went through sessions, by direction and kind: counted in runs of frames of one kind."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from thenodes_plugin_api import KINDS, RelayForward

from ..protocol.frame import PREFIX_BYTES

__all__ = ["FORWARDED", "UNKNOWN", "Flow", "KindTotal", "Tally", "Totals", "Traffic"]

FORWARDED = RelayForward.code
"""The code of what services move."""

UNKNOWN = 0
"""Stands for every kind that this version does not know."""

_TOKENS = {UNKNOWN: "UNKNOWN", **{kind.code: kind.token for kind in KINDS}}
_CODES = 1 + max(_TOKENS)

_LENGTH_AND_KIND = struct.Struct(">IB")
_LENGTH_BYTES = 4


class KindTotal(msgspec.Struct, frozen=True):
    """What went of one kind.

    Attributes:
        kind: its token, such as `EXTENSION`; `UNKNOWN` for all that are not known.
        frames: how many.
        bytes: their bytes.
    """

    kind: str
    frames: int
    bytes: int


class Totals:
    """What went in one direction, by kind."""

    __slots__ = ("bytes", "frames")

    def __init__(self) -> None:
        self.frames = [0] * _CODES
        self.bytes = [0] * _CODES

    def __iter__(self) -> Iterator[KindTotal]:
        """Every kind of which there was anything, by its code."""
        for code, token in _TOKENS.items():
            if self.frames[code]:
                yield KindTotal(token, self.frames[code], self.bytes[code])


class Flow:
    """One direction of one session.

    The frames that follow each other are mostly of one kind: those since the last of another
    kind are a run, and the totals by kind are brought up to date where a run ends, or when
    somebody reads them. What waits in a queue that counts what leaves it belongs to its run,
    too: then a frame that is queued costs no more than a look at its kind.

    Args:
        totals: of all sessions.

    Attributes:
        code: the kind of the run.
        frames: how many there were, without what waits.
        bytes: their bytes.
    """

    __slots__ = ("_run_bytes", "_run_frames", "_totals", "bytes", "code", "frames")

    def __init__(self, totals: Totals) -> None:
        self.code = UNKNOWN
        self.frames = self.bytes = 0
        self._totals = totals
        self._run_frames = self._run_bytes = 0

    def add(self, code: int, frames: int, size: int) -> None:
        """Count frames of one kind; nothing waits."""
        if code != self.code:
            self.turn_to(code)
        self.frames += frames
        self.bytes += size

    def add_apart(self, code: int, size: int) -> None:
        """Count a frame that goes beside the run."""
        self.frames += 1
        self.bytes += size
        self._run_frames += 1
        self._run_bytes += size
        self._count(code, 1, size)

    def add_mixed(self, data: bytes) -> None:
        """Count the frames of one binary WebSocket message that was read without a fault."""
        at, end = 0, len(data)
        while at + PREFIX_BYTES <= end:
            length, code = _LENGTH_AND_KIND.unpack_from(data, at)
            size = _LENGTH_BYTES + length
            self.add(code if code in _TOKENS else UNKNOWN, 1, size)
            at += size

    def turn_to(self, code: int, waiting_frames: int = 0, waiting_bytes: int = 0) -> None:
        """End the run, and begin one of another kind."""
        self.settle(waiting_frames, waiting_bytes)
        self.code = code

    def settle(self, waiting_frames: int = 0, waiting_bytes: int = 0) -> None:
        """Bring the totals up to date."""
        frames, size = self.frames + waiting_frames, self.bytes + waiting_bytes
        self._count(self.code, frames - self._run_frames, size - self._run_bytes)
        self._run_frames, self._run_bytes = frames, size

    def _count(self, code: int, frames: int, size: int) -> None:
        self._totals.frames[code] += frames
        self._totals.bytes[code] += size


class Traffic:
    """What went in both directions, of all sessions.

    Attributes:
        sent: to peers; what waits to be sent included.
        received: from peers.
    """

    __slots__ = ("received", "sent")

    def __init__(self) -> None:
        self.sent, self.received = Totals(), Totals()


class Tally:
    """What went in both directions of one session.

    Args:
        traffic: of all sessions.
    """

    __slots__ = ("received", "sent")

    def __init__(self, traffic: Traffic | None = None) -> None:
        traffic = traffic or Traffic()
        self.sent = Flow(traffic.sent)
        self.received = Flow(traffic.received)
