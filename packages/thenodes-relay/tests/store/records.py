"""Frames, and what a store says of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from thenodes_plugin_api import QoS
from thenodes_relay.store.base import Append, Appended, FrameStore, Mailbox, Stored

__all__ = ["NOW", "append", "frame", "mailbox", "message_id", "payloads", "statuses"]

NOW = 1_800_000_000_000
"""The wall clock of tests, in Unix milliseconds."""

_HOUR = 3_600_000


def message_id(number: int, at: int = NOW) -> bytes:
    """An id that is later for a greater number, as UUIDv7 are."""
    return at.to_bytes(6, "big") + number.to_bytes(10, "big")


def frame(
    number: int,
    *,
    to: str = "bob",
    sender: str = "alice",
    qos: QoS = QoS.RELIABLE,
    created_at: int = NOW,
    expires_at: int = NOW + _HOUR,
    data: bytes | None = None,
    sequence: int | None = None,
    stranger: bool = False,
) -> Stored:
    """A frame whose data names its number."""
    return Stored(
        to=to,
        sender=sender,
        message_id=message_id(number),
        qos=qos,
        created_at=created_at,
        expires_at=expires_at,
        data=b"frame %d" % number if data is None else data,
        sequence=sequence,
        stranger=stranger,
    )


def mailbox(node_id: str = "bob", *, expires_at: int = NOW + _HOUR) -> Mailbox:
    """A mailbox that takes frames."""
    return Mailbox(
        node_id=node_id,
        fingerprint="ab" * 32,
        card=b"card of " + node_id.encode(),
        store=True,
        stranger=False,
        expires_at=expires_at,
    )


async def append(store: FrameStore, frames: Iterable[Stored]) -> Sequence[Appended]:
    """Append frames and wait for the word on every one."""
    loop = asyncio.get_running_loop()
    futures = []
    for one in frames:
        future: asyncio.Future[Appended] = loop.create_future()
        store.append(one, future.set_result)
        futures.append(future)
    return [await future for future in futures]


def statuses(appended: Iterable[Appended]) -> Sequence[Append]:
    """What became of each."""
    return [one.status for one in appended]


def payloads(frames: Iterable[Stored]) -> Sequence[bytes]:
    """The data of each."""
    return [one.data for one in frames]
