"""A relay that is started again, or late: its users come back to it, and not all at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from .relay_hub import Hub, hubs, note, until
from .relay_users import User, users

BACK_SECONDS = 15.0


def most_at_once(moments: Sequence[float], seconds: float) -> float:
    """The largest share of all that lies within so many seconds."""
    most = max(sum(begin <= moment < begin + seconds for moment in moments) for begin in moments)
    return most / len(moments)


async def come_back(folder: Path, count: int, *, misses: int, jitter_seconds: float) -> None:
    """Restart a relay that has so many users.

    Args:
        folder: for its files.
        count: how many.
        misses: how often each of them dials in vain before it is started.
        jitter_seconds: over how long those then spread their next attempt.
    """
    hub = Hub(folder, "hub")
    names = [f"u{number}" for number in range(count)]
    async with hubs(hub), users([hub.address], *names) as made:
        await until(lambda: _all_there(hub, count), "every mailbox", 60)
        before = {user.name: user.counter("dial_failures") for user in made}
        hub.kill()
        await until(lambda: all(user.is_alone for user in made), "all to see it")
        await until(
            lambda: all(
                user.counter("dial_failures") - before[user.name] >= misses for user in made
            ),
            "all to dial in vain",
            60,
        )

        started_at = await hub.start()
        await until(lambda: _all_there(hub, count), "every mailbox again", BACK_SECONDS)
        took = time.monotonic() - started_at
        joined_at = await hub.joined_at()
        share = most_at_once(joined_at, jitter_seconds / 8)
        note(f"{count} back after {took:.1f} s, {share:.0%} within {jitter_seconds / 8:.2f} s")
        assert (await hub.told())["mailboxes"] == count
        assert await hub.counter("relay_bound") >= count
        assert misses == 0 or share <= 0.5
        await _ring(hub, made)


async def _all_there(hub: Hub, count: int) -> bool:
    return bool((await hub.told())["present"] == count)


async def _ring(hub: Hub, made: Sequence[User]) -> None:
    """Let everybody reach the next one."""
    before = await hub.counter("relay_forwarded")
    nexts = [*made[1:], made[0]]
    await asyncio.gather(*(one.reach(other, 10.0) for one, other in zip(made, nexts, strict=True)))
    assert await hub.counter("relay_forwarded") >= before + len(made)


async def test_50_mailboxes_are_back_within_15_s_of_a_restart_and_not_all_at_once(
    tmp_path: Path,
) -> None:
    await come_back(tmp_path, 50, misses=2, jitter_seconds=2.0)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("misses", "jitter_seconds"), [(0, 0.5), (5, 10.0)])
async def test_500_mailboxes_are_back_within_15_s_of_a_restart_and_not_all_at_once(
    tmp_path: Path, misses: int, jitter_seconds: float
) -> None:
    await come_back(tmp_path, 500, misses=misses, jitter_seconds=jitter_seconds)


async def test_a_relay_that_was_down_when_its_users_started_is_used_when_it_comes(
    tmp_path: Path,
) -> None:
    hub = Hub(tmp_path, "hub")
    async with users([hub.address], "alice", "bob") as (alice, bob):
        await until(lambda: alice.counter("dial_failures") >= 2, "alice to find nobody")
        await until(lambda: bob.counter("dial_failures") >= 2, "bob to find nobody")
        async with hubs(hub):
            took = await alice.reach(bob, BACK_SECONDS)
            note(f"reached after {took:.1f} s")
            assert await hub.counter("relay_bound") >= 3
            assert await hub.counter("relay_forwarded") >= 1
