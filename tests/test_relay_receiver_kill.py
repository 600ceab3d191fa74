"""A receiver is killed: what it did not acknowledge comes again and says so, nothing else does.

One that only stood still gets nothing twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest

from thenodes_plugin_api import DeliveryStatus

from .relay_hub import Hub, hubs, random_of_test, until
from .relay_receiver import NEVER, Arrival, Receiver
from .relay_users import User, users

SENDERS = 8
ROOM = "queue_max_per_target = 100000\nqueue_max_global = 1000000"


class Scene:
    """A relay, those who send, and a receiver that dies.

    Attributes:
        ids: what the relay said it has stored, by text.
    """

    def __init__(self, hub: Hub, receiver: Receiver, senders: Sequence[User]) -> None:
        self.hub, self.receiver, self._senders = hub, receiver, senders
        self.ids: dict[str, UUID] = {}

    async def store(self, *texts: str) -> None:
        """Have texts stored, of many senders at once."""
        shares = [texts[number :: len(self._senders)] for number in range(len(self._senders))]
        await asyncio.gather(*map(self._store, self._senders, shares))

    async def _store(self, sender: User, texts: Sequence[str]) -> None:
        for text in texts:
            outcome = await sender.send(self.receiver.node_id, text)
            assert outcome.status is DeliveryStatus.STORED
            assert outcome.message_id is not None
            self.ids[text] = outcome.message_id

    async def unacknowledged(self) -> dict[str, bool]:
        """What a receiver that was killed has not acknowledged, and whether that was sent."""
        await until(self._is_settled, "the relay to see that the receiver is gone")
        texts = {name: text for text, name in self.ids.items()}
        return {texts[name]: was_sent for name, was_sent in self.hub.stored().items()}

    async def is_empty(self) -> bool:
        """Whether nothing waits at the relay."""
        return bool((await self.hub.told())["frames"] == 0)

    async def _is_settled(self) -> bool:
        if await self.hub.is_present(self.receiver.node_id):
            return False
        # What was acknowledged is counted at once, and removed a moment later.
        return int((await self.hub.told())["frames"]) == len(self.hub.stored())


@asynccontextmanager
async def scene(folder: Path, *, hold_after: int = NEVER) -> AsyncIterator[Scene]:
    hub = Hub(folder, "hub", ROOM)
    receiver = Receiver(folder, [hub.address])
    names = [f"s{number}" for number in range(SENDERS)]
    async with hubs(hub), users([hub.address], *names) as senders:
        try:
            await receiver.start(hold_after=hold_after)
            await until(lambda: _has_mailbox(hub, receiver), "the receiver's mailbox")
            yield Scene(hub, receiver, senders)
        finally:
            receiver.kill()


async def _has_mailbox(hub: Hub, receiver: Receiver) -> bool:
    rows = await hub.ask("relay bindings")
    return any(row["node"] == receiver.node_id and row["target"] == "*" for row in rows)


async def test_what_a_killed_receiver_had_not_acknowledged_comes_again_and_says_so(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path, hold_after=25) as it:
        await it.store(*[f"{number}" for number in range(60)])
        await until(lambda: _counts(it.hub, "relay_delivered_from_store", 60), "all to be sent")
        await until(lambda: _counts(it.hub, "relay_acked", 25), "the first to be acknowledged")
        # That it was sent is on disk a moment after it was.
        await until(lambda: sum(it.hub.stored().values()) == 35, "the rest to be noted as sent")
        had = {arrival.text for arrival in it.receiver.arrivals()[:25]}

        it.receiver.kill()
        unacknowledged = await it.unacknowledged()
        assert unacknowledged == dict.fromkeys(it.ids.keys() - had, True)
        await it.receiver.start()
        await until(it.is_empty, "the rest to be acknowledged")

        assert sorted(it.receiver.arrivals()) == [
            Arrival(text, redelivered=True) for text in sorted(unacknowledged)
        ]
        assert await it.hub.counter("relay_redelivered") >= 35
        assert await it.hub.counter("relay_acked") == 60


async def _counts(hub: Hub, name: str, least: int) -> bool:
    return await hub.counter(name) >= least


async def lives(folder: Path, *, kills: int, frames: int) -> None:
    """Kill the receiver again and again at random moments."""
    chance = random_of_test()
    reached: set[str] = set()
    unacknowledged: dict[str, bool] = {}
    async with scene(folder) as it:
        for life in range(kills + 1):
            acknowledged = it.ids.keys() - unacknowledged
            sending = asyncio.create_task(
                it.store(*[f"{life} {number}" for number in range(frames)])
            )
            if life < kills:
                await _arrived(it.receiver, chance.randrange(1, frames * 9 // 10))
                it.receiver.kill()
                await sending
                left = await it.unacknowledged()
                missed = [f"missed {life} {number}" for number in range(5)]
                await it.store(*missed)
            else:
                await sending
                await until(it.is_empty, "all to be acknowledged", 30)
                left, missed = {}, []

            arrivals = it.receiver.arrivals()
            texts = {arrival.text for arrival in arrivals}
            assert len(texts) == len(arrivals)
            assert not texts & acknowledged
            again = {text for text, was_sent in unacknowledged.items() if was_sent}
            marked = {arrival.text for arrival in arrivals if arrival.redelivered}
            assert marked >= texts & (again | reached)
            assert not any(text.startswith("missed") for text in marked - again)
            reached |= texts
            if life < kills:
                unacknowledged = left | dict.fromkeys(missed, False)
                await it.receiver.start()

        assert reached == it.ids.keys()
        assert await it.hub.counter("relay_redelivered") >= len(again)
        assert await it.hub.counter("relay_acked") == len(it.ids)


async def _arrived(receiver: Receiver, count: int) -> None:
    """Wait for so many arrivals; closely, so that the kill is amid others."""
    async with asyncio.timeout(30):
        while len(receiver.arrivals()) < count:
            await asyncio.sleep(0.001)


async def test_only_what_was_not_acknowledged_comes_again_whenever_a_receiver_is_killed(
    tmp_path: Path,
) -> None:
    await lives(tmp_path, kills=3, frames=200)


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_only_what_was_not_acknowledged_comes_again_after_each_of_20_kills(
    tmp_path: Path,
) -> None:
    await lives(tmp_path, kills=20, frames=1000)


async def stand_still(folder: Path, *, times: int, frames: int, longest: float) -> None:
    """Freeze the receiver again and again, for up to so many seconds, while it gets frames."""
    chance = random_of_test()
    async with scene(folder) as it:
        for time in range(times):
            texts = [f"{time} {number}" for number in range(frames)]
            sending = asyncio.create_task(it.store(*texts))
            await _arrived(it.receiver, time * frames + chance.randrange(1, frames * 9 // 10))
            it.receiver.freeze()
            await sending
            # Longer than what waits for an ACK is kept back from being sent again.
            await asyncio.sleep(chance.uniform(0.6, longest))
            it.receiver.thaw()
            await until(it.is_empty, "all to be acknowledged", 60)

        arrivals = [arrival.text for arrival in it.receiver.arrivals()]
        assert sorted(arrivals) == sorted(it.ids)
        assert await it.hub.counter("relay_acked") == len(it.ids)
        assert await it.hub.counter("relay_redelivered") > 0
        assert await it.receiver.counter("relayed_dropped.duplicate") > 0


async def test_a_receiver_that_stood_still_gets_nothing_twice(tmp_path: Path) -> None:
    await stand_still(tmp_path, times=2, frames=200, longest=1.5)


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_a_receiver_that_stood_still_for_long_gets_nothing_twice(tmp_path: Path) -> None:
    await stand_still(tmp_path, times=10, frames=1000, longest=45.0)
