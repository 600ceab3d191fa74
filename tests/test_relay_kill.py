"""kill -9 of a relay while many store at it: nothing acknowledged is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from thenodes_plugin_api import DeliveryStatus

from .relay_hub import Hub, hubs, random_of_test, until
from .relay_users import User, users

SENDERS = 64
AT_ONCE = 4
# A receiver that dials again in up to 10 s may find thousands of frames, all for it.
ROOM = "queue_max_per_target = 100000\nqueue_max_global = 1000000"


class Story:
    """Senders that store, and a relay that is killed in the midst of it.

    Args:
        hub: the relay.
        receiver: whom all send to.
        senders: those who send.
        frames: how many each sends.
        kills: how often the relay is killed; after how many acknowledged frames is random.
        chance: decides that.
    """

    def __init__(
        self,
        hub: Hub,
        receiver: User,
        senders: list[User],
        frames: int,
        kills: int,
        chance: random.Random,
    ) -> None:
        self._hub, self._receiver, self._senders = hub, receiver, senders
        self._frames = frames
        whole = frames * len(senders)
        chosen = chance.sample(range(whole // 20, whole * 19 // 20), kills)
        self._moments = sorted(chosen, reverse=True)
        self._killed = asyncio.Event()
        self._in_flight = 0
        self.acknowledged: dict[str, UUID] = {}
        self.refused: list[object] = []
        self.in_flight_at_kills: list[int] = []
        self.stored_by_each: list[int] = []

    async def run(self) -> None:
        """Let it happen."""
        async with asyncio.TaskGroup() as group:
            restarting = group.create_task(self._restart())
            async with asyncio.TaskGroup() as sending:
                for sender in self._senders:
                    texts = iter([f"{sender.name} {number}" for number in range(self._frames)])
                    for _ in range(AT_ONCE):
                        sending.create_task(self._send(sender, texts))
            restarting.cancel()
        self.stored_by_each.append(await self._hub.counter("relay_stored"))

    async def _send(self, sender: User, texts: Iterator[str]) -> None:
        for text in texts:
            self._in_flight += 1
            outcome = await sender.send(self._receiver.node.id, text, timeout_seconds=60.0)
            self._in_flight -= 1
            if outcome.status is DeliveryStatus.STORED and outcome.message_id is not None:
                self.acknowledged[text] = outcome.message_id
            else:
                self.refused.append(outcome)
            if self._moments and len(self.acknowledged) >= self._moments[-1]:
                # While it is down nothing is acknowledged, so no moment is passed over.
                self._moments.pop()
                self.in_flight_at_kills.append(self._in_flight)
                self._hub.kill()
                self._killed.set()

    async def _restart(self) -> None:
        while True:
            await self._killed.wait()
            self._killed.clear()
            await self._hub.start()


async def tell(folder: Path, *, frames: int, kills: int, seconds: float) -> None:
    """Tell the story, and check how it ends."""
    chance = random_of_test()
    hub = Hub(folder, "hub", ROOM)
    names = [f"s{number}" for number in range(SENDERS)]
    async with hubs(hub), users([hub.address], "receiver", *names) as (receiver, *senders):
        story = Story(hub, receiver, senders, frames // SENDERS, kills, chance)
        await story.run()

        sent = {f"{name} {number}" for name in names for number in range(frames // SENDERS)}
        assert (len(story.in_flight_at_kills), all(story.in_flight_at_kills)) == (kills, True)
        assert story.refused == []
        assert story.acknowledged.keys() == sent
        await until(lambda: receiver.inbox.count >= len(sent), "all that was stored", seconds)
        await until(lambda: _is_done(hub), "every frame to be acknowledged", seconds)

        inbox = receiver.inbox
        assert inbox.twice() == []
        for texts in inbox.texts.values():
            # Ids grow in the order in which a sender's frames went on their way.
            assert texts == sorted(texts, key=lambda text: story.acknowledged[text].bytes)
        assert {text for texts in inbox.texts.values() for text in texts} == sent
        assert story.stored_by_each[-1] > 0
        assert hub.stored() == {}


async def _is_done(hub: Hub) -> bool:
    return bool((await hub.told())["frames"] == 0)


@pytest.mark.timeout(90)
async def test_nothing_is_lost_nor_comes_twice_when_a_relay_is_killed(tmp_path: Path) -> None:
    await tell(tmp_path, frames=640, kills=3, seconds=15)


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_nothing_is_lost_nor_comes_twice_when_a_relay_is_killed_20_times(
    tmp_path: Path,
) -> None:
    await tell(tmp_path, frames=10_048, kills=20, seconds=60)
