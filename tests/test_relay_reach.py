"""How soon senders reach their targets again when a relay dies, or falls silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from .relay_hub import Hub, hubs, note, until
from .relay_users import User, users

PAIRS = 3


class Scene:
    """Relays, and pairs of nodes that use them."""

    def __init__(self, relays: Sequence[Hub], pairs: Sequence[tuple[User, User]]) -> None:
        self.relays, self.pairs = relays, pairs

    async def forwarded(self) -> list[int]:
        """How many frames each relay carried."""
        return [await hub.counter("relay_forwarded") for hub in self.relays]

    async def used(self) -> tuple[Hub, Hub]:
        """The relay that carries from the first to its target, and the other one."""
        before = await self.forwarded()
        await self.pairs[0][0].reach(self.pairs[0][1], 5.0)
        now = await self.forwarded()
        first, second = self.relays
        return (first, second) if now[0] > before[0] else (second, first)

    async def all_reach(self, seconds: float) -> float:
        """Let every pair reach each other, all at once; returns the longest time that took."""
        took = await asyncio.gather(*(one.reach(other, seconds) for one, other in self.pairs))
        return max(took)


@asynccontextmanager
async def scene(folder: Path, count: int) -> AsyncIterator[Scene]:
    relays = [Hub(folder, f"hub-{number}") for number in range(count)]
    names = [f"u{number}" for number in range(2 * PAIRS)]
    async with hubs(*relays), users([hub.address for hub in relays], *names) as made:
        for hub in relays:
            await until(lambda hub=hub: _all_there(hub, len(made)), "every mailbox")  # type: ignore[misc]
        yield Scene(relays, list(zip(made[::2], made[1::2], strict=True)))


async def _all_there(hub: Hub, count: int) -> bool:
    return bool((await hub.told())["present"] == count)


async def test_with_two_relays_all_reach_their_targets_within_5_s_of_the_death_of_one(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path, 2) as it:
        await it.all_reach(5.0)
        used, other = await it.used()
        before = await other.counter("relay_forwarded")
        used.kill()

        took = await it.all_reach(5.0)
        note(f"reached after {took:.1f} s")
        assert await other.counter("relay_forwarded") > before


async def test_with_two_relays_all_reach_their_targets_within_10_s_of_the_silence_of_one(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path, 2) as it:
        await it.all_reach(5.0)
        used, other = await it.used()
        before = await other.counter("relay_forwarded")
        used.freeze()

        took = await it.all_reach(10.0)
        note(f"reached after {took:.1f} s")
        assert await other.counter("relay_forwarded") > before


async def test_with_one_relay_all_reach_their_targets_within_15_s_of_its_return(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path, 1) as it:
        await it.all_reach(5.0)
        (hub,) = it.relays
        hub.kill()
        await until(lambda: _all_alone(it), "all to see it")
        await hub.start()

        took = await it.all_reach(15.0)
        note(f"reached after {took:.1f} s")
        assert await hub.counter("relay_forwarded") >= PAIRS


async def test_with_one_relay_all_reach_their_targets_within_25_s_of_the_end_of_its_silence(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path, 1) as it:
        await it.all_reach(5.0)
        (hub,) = it.relays
        before = await hub.counter("relay_forwarded")
        hub.freeze()
        took = await until(lambda: _all_alone(it), "all to see that it is silent", 10.0)
        note(f"noticed after {took:.1f} s")
        hub.thaw()

        took = await it.all_reach(25.0)
        note(f"reached after {took:.1f} s")
        assert await hub.counter("relay_forwarded") >= before + PAIRS


def _all_alone(it: Scene) -> bool:
    return all(user.is_alone for pair in it.pairs for user in pair)
