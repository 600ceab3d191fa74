"""Pings of WebSocket connections, over real sockets on the loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol

from thenodes_core.limits import Limits
from thenodes_core.transport.base import SUBPROTOCOLS, Link, Listener
from thenodes_core.transport.websocket import WebSocketTransport

LIMITS = Limits(close_seconds=0.1)


class Ends:
    """A listener, and the links that it accepts."""

    def __init__(self) -> None:
        self.transport = WebSocketTransport(LIMITS)
        self.accepted: asyncio.Queue[Link] = asyncio.Queue()
        self.links: list[Link] = []
        self.listener: Listener
        self._over = asyncio.Event()

    async def open(self) -> None:
        self.listener = await self.transport.listen("127.0.0.1", 0, self._accept, print)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.listener.port}"

    async def _accept(self, link: Link) -> None:
        self.accepted.put_nowait(link)
        await self._over.wait()

    async def pair(self) -> tuple[Link, Link]:
        near = await self.transport.dial(self.url)
        far = await self.accepted.get()
        self.links += [near, far]
        return near, far

    async def stranger(self) -> tuple[ClientConnection, Link]:
        """A client of the library's own, and the link that it has here."""
        client = await connect(
            self.url, subprotocols=[Subprotocol(SUBPROTOCOLS[0])], ping_interval=None
        )
        link = await self.accepted.get()
        self.links.append(link)
        return client, link

    async def close(self) -> None:
        await self.listener.close()
        for link in self.links:
            link.abort()
        self._over.set()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            await asyncio.wait(left, timeout=2)


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    ends = Ends()
    await ends.open()
    yield ends
    await ends.close()


@pytest.mark.parametrize("which", [0, 1])
async def test_either_end_is_answered_while_the_other_reads(ends: Ends, which: int) -> None:
    pair = await ends.pair()
    asking, reading = pair[which], asyncio.ensure_future(pair[1 - which].receive())
    answered = asyncio.Event()
    listening = asyncio.ensure_future(asking.receive())

    assert asking.ping(answered.set)
    async with asyncio.timeout(5):
        await answered.wait()

    assert not reading.done()
    reading.cancel()
    listening.cancel()


@pytest.mark.parametrize("which", [0, 1])
async def test_an_answer_is_no_sign_of_life(ends: Ends, which: int) -> None:
    pair = await ends.pair()
    asking = pair[which]
    before = asking.received_bytes, asking.unsent_bytes
    answered = asyncio.Event()

    asking.ping(answered.set)
    async with asyncio.timeout(5):
        await answered.wait()

    # In the callback that brought it, what came is counted before it is told.
    assert (asking.received_bytes, asking.unsent_bytes) == before
    await pair[1 - which].send(b"alive")
    assert await asking.receive() == b"alive"
    assert asking.received_bytes > before[0]


async def test_a_pong_that_answers_nothing_is_not_taken_for_an_answer(ends: Ends) -> None:
    client, link = await ends.stranger()
    reading = asyncio.ensure_future(link.receive())
    answers: list[None] = []
    before = link.received_bytes
    # It does not see what asks.
    client.transport.pause_reading()
    link.ping(lambda: answers.append(None))

    await client.pong(b"made up")
    await client.send(b"after")

    assert await reading == b"after"
    assert answers == []
    assert link.received_bytes > before
    client.transport.abort()


async def test_nothing_is_asked_where_bytes_wait_already(ends: Ends) -> None:
    client, link = await ends.stranger()
    client.transport.pause_reading()
    while link.unsent_bytes == 0 and link.send_now(bytes(64 * 1024)):
        await asyncio.sleep(0)
    waiting = link.unsent_bytes
    assert waiting > 0

    assert not link.ping(lambda: None)

    assert link.unsent_bytes == waiting
    client.transport.abort()


async def test_a_connection_that_ended_is_not_asked(ends: Ends) -> None:
    near, _ = await ends.pair()
    await near.close(1000, "")

    assert not near.ping(lambda: None)


async def test_a_ping_is_a_frame_of_its_own_and_short(ends: Ends) -> None:
    client, link = await ends.stranger()
    seen: list[object] = []
    take = client.process_event
    client.process_event = lambda event: (seen.append(event), take(event))[1]  # type: ignore[func-returns-value,method-assign]

    answered = asyncio.Event()
    reading = asyncio.ensure_future(link.receive())
    link.ping(answered.set)
    async with asyncio.timeout(5):
        await answered.wait()

    assert [(frame.opcode, len(frame.data)) for frame in seen if isinstance(frame, Frame)] == [
        (Opcode.PING, 4)
    ]
    reading.cancel()
    await client.close()
