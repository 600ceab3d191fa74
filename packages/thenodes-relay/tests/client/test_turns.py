"""Turns at the same thing."""

from __future__ import annotations

import asyncio

import pytest

from thenodes_relay.client.turns import Turns


async def test_one_after_the_other_has_a_turn_at_the_same_thing_in_the_order_of_coming() -> None:
    turns = Turns()
    seen: list[tuple[str, int]] = []

    async def take(number: int) -> None:
        async with turns.of("it"):
            seen.append(("begin", number))
            await asyncio.sleep(0)
            seen.append(("end", number))

    await asyncio.gather(*map(take, range(3)))

    assert seen == [(word, number) for number in range(3) for word in ("begin", "end")]
    assert len(turns) == 0


async def test_turns_at_different_things_do_not_wait_for_each_other() -> None:
    turns = Turns()
    async with turns.of("one"), turns.of("other"):
        assert len(turns) == 2


async def test_who_gives_up_waiting_leaves_nothing_behind() -> None:
    turns = Turns()

    async def wait() -> None:
        async with turns.of("it"):
            pytest.fail("it was not its turn")

    async with turns.of("it"):
        waiting = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert len(turns) == 0
