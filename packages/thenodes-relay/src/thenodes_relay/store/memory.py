"""A store in memory: it keeps nothing beyond the relay's own life."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

import msgspec

from thenodes_plugin_api import QoS

from .base import (
    NOTICES_PER_NODE,
    Append,
    Appended,
    FlowCount,
    Gone,
    Mailbox,
    Notice,
    Stored,
    Told,
)

__all__ = ["MemoryStore"]

_Key = tuple[str, bytes]


class MemoryStore:
    """Keeps everything in this process.

    Frames are bounded by `max_bytes` alone: one that would go beyond is refused as FULL. Calls
    that answer later do so in the loop's next turn.

    Args:
        max_bytes: room for the frames' data.
    """

    durability = "memory: everything that is stored is lost when the relay stops"

    def __init__(self, *, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._max_bytes = max_bytes
        self._rows = itertools.count(1)
        self._frames: dict[int, Stored] = {}
        self._targets: dict[str, dict[int, Stored]] = {}
        self._keys: dict[_Key, int] = {}
        self._mailboxes: dict[str, Mailbox] = {}
        self._notices: defaultdict[str, deque[Notice]] = defaultdict(
            lambda: deque(maxlen=NOTICES_PER_NODE)
        )
        self._answers: deque[tuple[Appended, Told]] = deque()
        self.size_bytes = 0

    @property
    def waiting_frames(self) -> int:
        """Frames that were handed over and not yet answered."""
        return len(self._answers)

    def append(self, frame: Stored, told: Told) -> None:
        """As `FrameStore.append`."""
        if not self._answers:
            asyncio.get_running_loop().call_soon(self._answer)
        self._answers.append((self._append(frame), told))

    async def take(self, to: str, after_row: int, limit: int) -> Sequence[Stored]:
        """As `FrameStore.take`."""
        frames = self._targets.get(to, {}).values()
        later = (frame for frame in frames if frame.row > after_row)
        return [msgspec.structs.replace(frame) for frame in itertools.islice(later, limit)]

    def remove(self, rows: Iterable[int]) -> None:
        """As `FrameStore.remove`."""
        for row in rows:
            if frame := self._frames.pop(row, None):
                self.size_bytes -= len(frame.data)
                del self._keys[frame.sender, frame.message_id]
                target = self._targets[frame.to]
                del target[row]
                if not target:
                    del self._targets[frame.to]

    def mark_sent(self, rows: Iterable[int]) -> None:
        """As `FrameStore.mark_sent`."""
        for row in rows:
            if frame := self._frames.get(row):
                frame.is_sent = True

    async def expire(self, now_ms: int, limit: int = 1024) -> Sequence[Gone]:
        """As `FrameStore.expire`."""
        over = [frame for frame in self._frames.values() if frame.expires_at <= now_ms]
        over.sort(key=lambda frame: (frame.expires_at, frame.row))
        return self._forget(over[:limit])

    async def evict_bulk(self, to: str | None, count: int) -> Sequence[Gone]:
        """As `FrameStore.evict_bulk`."""
        frames = self._frames if to is None else self._targets.get(to, {})
        bulk = (frame for frame in frames.values() if frame.qos is QoS.BULK)
        return self._forget(list(itertools.islice(bulk, count)))

    async def counts(self) -> Sequence[FlowCount]:
        """As `FrameStore.counts`."""
        frames: Counter[tuple[str, str, QoS, bool]] = Counter()
        sizes: Counter[tuple[str, str, QoS, bool]] = Counter()
        for frame in self._frames.values():
            flow = (frame.to, frame.sender, frame.qos, frame.stranger)
            frames[flow] += 1
            sizes[flow] += len(frame.data)
        return [FlowCount(*flow, count, sizes[flow]) for flow, count in frames.items()]

    def put_mailbox(self, mailbox: Mailbox) -> None:
        """As `FrameStore.put_mailbox`."""
        self._mailboxes[mailbox.node_id] = mailbox

    def drop_mailbox(self, node_id: str) -> None:
        """As `FrameStore.drop_mailbox`."""
        self._mailboxes.pop(node_id, None)
        self._notices.pop(node_id, None)

    async def mailboxes(self) -> Sequence[Mailbox]:
        """As `FrameStore.mailboxes`."""
        return list(self._mailboxes.values())

    def add_notice(self, node_id: str, data: bytes) -> None:
        """As `FrameStore.add_notice`."""
        self._notices[node_id].append(Notice(next(self._rows), data))

    async def notices(self, node_id: str) -> Sequence[Notice]:
        """As `FrameStore.notices`."""
        return list(self._notices.get(node_id, ()))

    def remove_notices(self, rows: Iterable[int]) -> None:
        """As `FrameStore.remove_notices`."""
        gone = set(rows)
        for node_id, notices in list(self._notices.items()):
            rest = [notice for notice in notices if notice.row not in gone]
            if rest:
                self._notices[node_id] = deque(rest, maxlen=NOTICES_PER_NODE)
            else:
                del self._notices[node_id]

    async def close(self) -> None:
        """As `FrameStore.close`."""
        self._answer()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def _append(self, frame: Stored) -> Appended:
        key = (frame.sender, frame.message_id)
        if key in self._keys:
            return Appended(frame, Append.DUPLICATE)
        if self.size_bytes + len(frame.data) > self._max_bytes:
            detail = f"the store in memory takes at most {self._max_bytes} bytes"
            return Appended(frame, Append.FULL, detail)
        frame.row = self._keys[key] = next(self._rows)
        kept = msgspec.structs.replace(frame, is_sent=False)
        self._frames[kept.row] = kept
        self._targets.setdefault(kept.to, {})[kept.row] = kept
        self.size_bytes += len(kept.data)
        return Appended(frame, Append.STORED)

    def _answer(self) -> None:
        answers, self._answers = self._answers, deque()
        for appended, told in answers:
            told(appended)

    def _forget(self, frames: Sequence[Stored]) -> Sequence[Gone]:
        self.remove(frame.row for frame in frames)
        return [_gone(frame) for frame in frames]


def _gone(frame: Stored) -> Gone:
    """What is to be told of a frame that ends."""
    return Gone(
        row=frame.row,
        to=frame.to,
        sender=frame.sender,
        message_id=frame.message_id,
        qos=frame.qos,
        sequence=frame.sequence,
        size=len(frame.data),
        stranger=frame.stranger,
    )
