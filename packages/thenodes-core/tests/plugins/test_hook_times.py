"""What the hooks of a plugin take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from thenodes_core.clock import ManualClock, settle
from thenodes_core.plugins.hook_times import HookTimes
from thenodes_core.plugins.runtime import PluginRuntime
from thenodes_plugin_api import (
    Direction,
    Message,
    PeerInfo,
    PeerJoined,
    PeerLeft,
    Plugin,
    PluginContext,
    Text,
)

Start = Callable[..., Awaitable[PluginRuntime]]

PEER = PeerInfo(node_id="b", address="b:1", direction=Direction.INBOUND, connected_at=0.0)


class Sleeper(Plugin):
    """Takes a second in `on_peer`, a quarter in `on_message`, two in `on_prompt`."""

    abi = 1

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        await ctx.clock.sleep(0.25)
        if message.body == Text("bad"):
            raise ValueError("bad")

    async def on_peer(self, change: PeerJoined | PeerLeft, ctx: PluginContext) -> None:
        await ctx.clock.sleep(1)

    async def on_prompt(self, line: str, ctx: PluginContext) -> str | None:
        await ctx.clock.sleep(2)
        return None


def taken(times: HookTimes) -> dict[str, object]:
    return {hook: (calls, pytest.approx(seconds)) for hook, calls, seconds in times}


async def test_calls_and_seconds_are_counted_by_hook(start: Start, clock: ManualClock) -> None:
    runtime = await start(Sleeper())
    text = Message(Text("x"), None, "b", "here")

    runtime.offer([text, text, PeerJoined(PEER), text])
    await clock.advance(3)

    assert taken(runtime.hook_times) == {
        "on_start": (1, 0.0),
        "on_message": (3, 0.75),
        "on_peer": (1, 1.0),
    }


async def test_a_hook_that_raises_is_counted(start: Start, clock: ManualClock) -> None:
    runtime = await start(Sleeper())

    runtime.offer([Message(Text("bad"), None, "b", "here")] * 2)
    await clock.advance(3)

    assert taken(runtime.hook_times)["on_message"] == (2, 0.5)


async def test_a_prompt_is_counted(start: Start, clock: ManualClock) -> None:
    runtime = await start(Sleeper())
    asking = asyncio.ensure_future(runtime.prompt("x"))
    await settle()
    await clock.advance(2)
    await asking

    assert taken(runtime.hook_times)["on_prompt"] == (1, 2.0)


def test_what_is_never_called_is_not_there() -> None:
    times = HookTimes()
    times.add("on_message", 0, 0.1)

    assert list(times) == []


async def test_a_change_of_peers_that_raises_is_no_message(
    start: Start, clock: ManualClock
) -> None:
    class Raiser(Sleeper):
        async def on_peer(self, change: PeerJoined | PeerLeft, ctx: PluginContext) -> None:
            raise ValueError("no")

    runtime = await start(Raiser())
    text = Message(Text("x"), None, "b", "here")

    runtime.offer([text, PeerJoined(PEER), text, PeerLeft(PEER)])
    await clock.advance(3)

    assert taken(runtime.hook_times) == {
        "on_start": (1, 0.0),
        "on_message": (2, 0.5),
        "on_peer": (2, 0.0),
    }
