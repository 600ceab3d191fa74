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
    """Relays, and pairs of nodes that use them, all the first one as long as it is there."""

    def __init__(self, relays: Sequence[Hub], pairs: Sequence[tuple[User, User]]) -> None:
        self.relays, self.pairs = relays, pairs

    async def all_reach(self, seconds: float) -> None:
        """Let every pair reach each other, all at once.

        The first with what nobody is to keep, the second with what may not be lost, the others
        with both.
        """
        plain = [one.reach(other, seconds) for one, other in (self.pairs[0], *self.pairs[2:])]
        reliable = [one.reach_reliably(other, seconds) for one, other in self.pairs[1:]]
        took = await asyncio.gather(*plain, *reliable)
        note(f"reached after {', '.join(f'{one:.1f} s' for one in took)}")

    async def all_used(self) -> None:
        """See that all use the first relay."""
        before = await self.relays[0].carried()
        await self.all_reach(5.0)
        assert await self.relays[0].carried() >= before + PAIRS
        for hub in self.relays[1:]:
            assert await hub.carried() == 0


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
        await it.all_used()
        used, other = it.relays
        used.kill()

        await it.all_reach(5.0)
        assert await other.carried() >= PAIRS


async def test_with_two_relays_all_reach_their_targets_within_10_s_of_the_silence_of_one(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path, 2) as it:
        await it.all_used()
        used, other = it.relays
        used.freeze()

        await it.all_reach(10.0)
        assert await other.carried() >= PAIRS


async def test_with_one_relay_all_reach_their_targets_within_15_s_of_its_return(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path, 1) as it:
        await it.all_used()
        (hub,) = it.relays
        hub.kill()
        await until(lambda: _all_alone(it), "all to see it")
        await hub.start()

        await it.all_reach(15.0)
        assert await hub.carried() >= PAIRS


async def test_with_one_relay_all_reach_their_targets_within_25_s_of_the_end_of_its_silence(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path, 1) as it:
        await it.all_used()
        (hub,) = it.relays
        before = await hub.carried()
        hub.freeze()
        took = await until(lambda: _all_alone(it), "all to see that it is silent", 10.0)
        note(f"noticed after {took:.1f} s")
        hub.thaw()

        await it.all_reach(25.0)
        assert await hub.carried() >= before + PAIRS


def _all_alone(it: Scene) -> bool:
    return all(user.is_alone for pair in it.pairs for user in pair)
