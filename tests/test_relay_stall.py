"""A receiver that stops reading: others go on, the relay holds little for it, and names it."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from thenodes_plugin_api import DeliveryOptions, SendError

from .relay_hub import Hub, hubs, note, until
from .relay_receiver import Receiver
from .relay_users import User, users

NO_RATES = "frames_per_second = 0\nbytes_per_second = 0"
UNSTORED = DeliveryOptions(store=False)

# What flows between the others, and what is poured into the one that is frozen: more than the
# buffers of its connection hold, which are several MiB.
SHORT = "x" * 256
ON_ITS_WAY = 200
LONG = "x" * 65_536
FLOOD_SECONDS = 0.004
TRICKLE_SECONDS = 0.1

NAMED_SECONDS = 10.0
# Of a sender a target has a quarter of its 16 MiB at the relay; the rest is slack of the allocator.
MOST_GROWTH = 16.0


class Scene:
    """A relay; alice sends to bob, and dave to carol, who can be frozen."""

    def __init__(self, hub: Hub, alice: User, bob: User, dave: User, carol: Receiver) -> None:
        self.hub, self.carol = hub, carol
        self._alice, self._bob, self._dave = alice, bob, dave
        self.each_seconds = FLOOD_SECONDS

    @property
    def arrived(self) -> int:
        """How many frames bob has."""
        return self._bob.inbox.count

    async def flow(self) -> None:
        """Send from alice to bob as fast as it goes, with so much on its way that nothing drops."""
        to, sent = self._bob.node.id, self.arrived
        while True:
            while sent - self.arrived >= ON_ITS_WAY:
                await asyncio.sleep(0)
            await self._alice.send(to, SHORT, UNSTORED, timeout_seconds=30.0)
            sent += 1

    async def flood(self) -> None:
        """Send much from dave to carol, one each `each_seconds`, whatever becomes of it."""
        due = time.monotonic()
        while True:
            with suppress(SendError):
                await self._dave.send(self.carol.node_id, LONG, UNSTORED, timeout_seconds=0.1)
            due = max(due + self.each_seconds, time.monotonic() - 1)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def throughput(self, seconds: float) -> float:
        """Frames that reach bob, for each second of processor time of the relay's and this process.

        So what others do on the machine does not count.
        """
        frames, used, begun = self.arrived, self._processor_seconds(), time.monotonic()
        await until(lambda: time.monotonic() - begun >= seconds, "the measurement", 2 * seconds)
        return (self.arrived - frames) / (self._processor_seconds() - used)

    def _processor_seconds(self) -> float:
        return time.process_time() + self.hub.processor_seconds()

    async def named(self) -> bool:
        """Whether the relay says that carol has stalled."""
        told = await self.hub.told()
        name = self.carol.node_id
        return bool(told["counters"].get(f"relay_stalled.{name}")) and (
            name in told["stalled_lately"]
        )

    async def is_served(self) -> bool:
        """Whether carol gets what is for her."""
        had = len(self.carol.arrivals())
        await asyncio.sleep(0.1)
        return len(self.carol.arrivals()) > had


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    hub = Hub(folder, "hub", NO_RATES)
    carol = Receiver(folder, [hub.address])
    async with hubs(hub), users([hub.address], "alice", "bob", "dave") as (alice, bob, dave):
        try:
            await carol.start()
            made = Scene(hub, alice, bob, dave, carol)
            tasks = [asyncio.create_task(made.flow()), asyncio.create_task(made.flood())]
            await until(lambda: made.arrived, "the flow")
            await until(carol.arrivals, "the flood")
            yield made
            for task in tasks:
                assert not task.done(), task.exception()
                task.cancel()
            assert await hub.counter("relay_forwarded") > made.arrived
        finally:
            carol.kill()


async def test_others_go_on_while_a_receiver_is_frozen_and_the_relay_names_it(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as it:
        before = it.hub.memory()
        it.carol.freeze()
        frozen_at, most = time.monotonic(), 0.0
        while not await it.named():
            assert time.monotonic() - frozen_at < NAMED_SECONDS
            had = it.arrived
            await until(lambda had=had: it.arrived > had, "the flow to go on", 2)  # type: ignore[misc]
            most = max(most, it.hub.memory())
        note(f"named after {time.monotonic() - frozen_at:.1f} s, grown by {most - before:.1f} MiB")
        assert most - before < MOST_GROWTH

        it.carol.thaw()
        await until(it.is_served, "the one that was frozen to be served again", 20)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_others_keep_their_throughput_while_a_receiver_is_frozen_for_long(
    tmp_path: Path,
) -> None:
    ratios: list[float] = []
    growth: list[float] = []
    async with scene(tmp_path) as it:
        before = it.hub.memory()
        for _ in range(7):
            it.each_seconds = TRICKLE_SECONDS
            usual = await it.throughput(8.0)
            it.carol.freeze()
            it.each_seconds = FLOOD_SECONDS
            await until(lambda: _stalls(it, len(ratios) + 1), "it to be named", NAMED_SECONDS)
            it.each_seconds = TRICKLE_SECONDS
            ratios.append(await it.throughput(8.0) / usual)
            growth.append(it.hub.memory() - before)
            it.carol.thaw()
            await until(it.is_served, "the one that was frozen to be served again", 20)
    note(f"ratios {ratios}, growth {growth} MiB")
    assert statistics.median(ratios) >= 0.9
    assert max(growth) < MOST_GROWTH
    assert max(growth[4:]) - max(growth[:4]) < MOST_GROWTH / 4


async def _stalls(it: Scene, least: int) -> bool:
    return await it.hub.counter(f"relay_stalled.{it.carol.node_id}") >= least
