"""Relays are killed and frozen while many store at them.

Whatever happens, nothing that was acknowledged is lost, and nothing reaches a plugin twice.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol
from uuid import UUID

import pytest

from thenodes_plugin_api import DeliveryStatus

from .relay_hub import Hub, hubs, note, random_of_test, until
from .relay_users import User, users

SENDERS = 64
AT_ONCE = 4
# A receiver that dials again in up to 10 s may find thousands of frames, all for it.
ROOM = "queue_max_per_target = 100000\nqueue_max_global = 1000000"


class Trouble(Protocol):
    """What happens to a relay."""

    def begin(self, hub: Hub) -> None:
        """Let it happen."""
        ...

    async def end(self, hub: Hub) -> None:
        """See to it that the relay is there again."""
        ...


class Kill:
    """It is killed, and started again at once."""

    def begin(self, hub: Hub) -> None:
        hub.kill()

    async def end(self, hub: Hub) -> None:
        await hub.start()


class Freeze:
    """It stands still for a while; those who use it notice after 6 s.

    Args:
        chance: says for how long.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def begin(self, hub: Hub) -> None:
        hub.freeze()

    async def end(self, hub: Hub) -> None:
        await asyncio.sleep(self._chance.uniform(0.5, 9.0))
        hub.thaw()


class Story:
    """Senders that store, and relays to which something happens in the midst of it.

    Args:
        relays: what may be hit, by node id.
        receiver: whom all send to.
        senders: those who send.
        frames: how many each sends.
        trouble: what happens.
        times: how often; after how many acknowledged frames is random.
        chance: decides that.
    """

    def __init__(
        self,
        relays: Mapping[str, Hub],
        receiver: User,
        senders: Sequence[User],
        frames: int,
        trouble: Trouble,
        times: int,
        chance: random.Random,
    ) -> None:
        self._relays, self._receiver, self._senders = relays, receiver, senders
        self._frames, self._trouble = frames, trouble
        whole = frames * len(senders)
        chosen = chance.sample(range(whole // 20, whole * 19 // 20), times)
        self._moments = sorted(chosen, reverse=True)
        self._down: set[Hub] = set()
        self._group = asyncio.TaskGroup()
        self._in_flight = 0
        self.acknowledged: dict[str, UUID] = {}
        self.refused: list[object] = []
        self.in_flight_then: list[int] = []

    async def run(self) -> None:
        """Let it happen; in the end every relay is there."""
        async with self._group:
            for sender in self._senders:
                texts = iter([f"{sender.name} {number}" for number in range(self._frames)])
                for _ in range(AT_ONCE):
                    self._group.create_task(self._send(sender, texts))

    async def _send(self, sender: User, texts: Iterator[str]) -> None:
        for text in texts:
            self._in_flight += 1
            outcome = await sender.send(self._receiver.node.id, text, timeout_seconds=60.0)
            self._in_flight -= 1
            if outcome.status is DeliveryStatus.STORED and outcome.message_id is not None:
                self.acknowledged[text] = outcome.message_id
            else:
                self.refused.append(outcome)
            self._strike(outcome.relay)

    def _strike(self, relay: str | None) -> None:
        # The one that has just acknowledged something.
        hub = self._relays[relay or ""]
        is_time = self._moments and len(self.acknowledged) >= self._moments[-1]
        if is_time and hub not in self._down:
            self._moments.pop()
            self.in_flight_then.append(self._in_flight)
            self._down.add(hub)
            self._trouble.begin(hub)
            self._group.create_task(self._recover(hub))

    async def _recover(self, hub: Hub) -> None:
        await self._trouble.end(hub)
        self._down.discard(hub)


async def tell(
    folder: Path,
    *,
    relays: int = 1,
    senders: int = SENDERS,
    frames: int,
    trouble: Trouble | None = None,
    times: int,
    chance: random.Random,
    seconds: float = 20.0,
) -> None:
    """Tell the story, and check how it ends.

    Args:
        folder: for files.
        relays: how many there are.
        senders: how many there are.
        frames: of all senders.
        trouble: that a relay is killed, where it is nothing else.
        times: how often.
        chance: of this run.
        seconds: for everything to arrive, after the last was stored.
    """
    made = [Hub(folder, f"hub-{number}", ROOM) for number in range(relays)]
    names = [f"s{number}" for number in range(senders)]
    each = frames // senders
    sent = {f"{name} {number}" for name in names for number in range(each)}
    addresses = [hub.address for hub in made]
    async with hubs(*made), users(addresses, "receiver", *names) as (receiver, *others):
        by_id = {(await hub.ask("status"))["node_id"]: hub for hub in made}
        story = Story(by_id, receiver, others, each, trouble or Kill(), times, chance)
        await story.run()
        note(f"in flight when it happened: {story.in_flight_then}")
        assert (len(story.in_flight_then), all(story.in_flight_then)) == (times, True)
        assert story.refused == []
        assert story.acknowledged.keys() == sent

        took = await until(
            lambda: receiver.inbox.count >= len(sent), "all that was stored", seconds
        )
        note(f"all had arrived {took:.1f} s after the last was stored")
        stored = 0
        for hub in made:
            await until(lambda hub=hub: _is_done(hub), "every frame to be acknowledged", seconds)  # type: ignore[misc]
            stored += await hub.counter("relay_stored")
        assert stored > 0
        _check(receiver, story, sent, in_order=relays == 1)


def _check(receiver: User, story: Story, sent: set[str], *, in_order: bool) -> None:
    inbox = receiver.inbox
    assert inbox.twice() == []
    assert {text for texts in inbox.texts.values() for text in texts} == sent
    if in_order:
        for texts in inbox.texts.values():
            # Ids grow in the order in which a sender's frames went on their way.
            assert texts == sorted(texts, key=lambda text: story.acknowledged[text].bytes)


async def _is_done(hub: Hub) -> bool:
    # What was acknowledged is counted at once, and removed a moment later.
    return (await hub.told())["frames"] == 0 and not hub.stored()


@pytest.mark.timeout(90)
async def test_nothing_is_lost_nor_comes_twice_when_a_relay_is_killed(tmp_path: Path) -> None:
    await tell(tmp_path, frames=640, times=3, chance=random_of_test())


@pytest.mark.timeout(90)
async def test_nothing_is_lost_nor_comes_twice_when_one_of_two_relays_is_killed(
    tmp_path: Path,
) -> None:
    await tell(tmp_path, relays=2, senders=16, frames=320, times=2, chance=random_of_test())


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("relays", [1, 2])
async def test_nothing_is_lost_nor_comes_twice_when_relays_are_killed_20_times(
    tmp_path: Path, relays: int
) -> None:
    chance = random_of_test()
    await tell(tmp_path, relays=relays, frames=10_048, times=20, chance=chance, seconds=60)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("relays", [1, 2])
async def test_nothing_is_lost_nor_comes_twice_when_relays_stand_still_10_times(
    tmp_path: Path, relays: int
) -> None:
    chance = random_of_test()
    trouble = Freeze(chance)
    await tell(
        tmp_path,
        relays=relays,
        frames=10_048,
        trouble=trouble,
        times=10,
        chance=chance,
        seconds=60,
    )
