"""Twenty plugins in one node, one of them bad in each way that shows only when it runs."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from thenodes_core import Config, ManualClock, MemoryNetwork, Node, PluginsTable
from thenodes_core.clock import settle
from thenodes_core.plugins.watchdog import Stall
from thenodes_plugin_api import Event, PluginEvent, SystemEvent, Text

WritePlugin = Callable[..., Path]

MESSAGES = 12

GOOD = """abi = 1
prompt_prefix = "{name}"
count = 0
async def on_message(self, message, ctx):
    self.count += 1
async def on_prompt(self, line, ctx):
    return str(self.count)
"""

# How it is bad: its code, the state that it ends in, and what the operator is told.
WAYS = {
    "raises at start": ("async def on_start(self, ctx):\n    1 / 0", "failed", "ZeroDivisionError"),
    "never starts": (
        "async def on_start(self, ctx):\n    await asyncio.Event().wait()",
        "loaded",
        "on_start has not returned within 5 s",
    ),
    "raises at every message": (
        "async def on_message(self, message, ctx):\n    raise RuntimeError('no')",
        "quarantined",
        "10 faults within 60 s, the last: on_message raised RuntimeError: no",
    ),
    "raises in every hook": (
        "".join(
            f"async def {hook}:\n    raise RuntimeError('no')\n"
            for hook in ("on_peer(self, event, ctx)", "on_message(self, message, ctx)")
        ),
        "quarantined",
        "RuntimeError: no",
    ),
    "exits in a hook": (
        "async def on_message(self, message, ctx):\n    sys.exit(3)",
        "quarantined",
        "on_message raised SystemExit: 3",
    ),
    "exits in a task": (
        (
            "async def on_start(self, ctx):\n    ctx.spawn(self.leave())\n"
            "async def leave(self):\n    sys.exit(3)"
        ),
        "running",
        "background work raised SystemExit: 3",
    ),
    "exits in repeated work": (
        (
            "async def on_start(self, ctx):\n    ctx.every(0.1, self.leave)\n"
            "async def leave(self):\n    sys.exit(3)"
        ),
        "quarantined",
        "repeated work raised SystemExit: 3",
    ),
    "raises what is no Exception": (
        (
            "async def on_message(self, message, ctx):\n"
            "    raise type('Odd', (BaseException,), {'__str__': lambda self: 1 / 0})"
        ),
        "quarantined",
        "on_message raised Odd",
    ),
    "never returns": (
        "async def on_message(self, message, ctx):\n    await asyncio.Event().wait()",
        "running",
        "on_message has not returned for 15 s",
    ),
    "floods": (
        (
            "async def on_start(self, ctx):\n    ctx.spawn(self.flood(ctx))\n"
            "async def flood(self, ctx):\n"
            "    while True:\n        await ctx.broadcast(Text('x'), BIG)"
        ),
        "running",
        "sends more than its peers take",
    ),
    "holds the event loop": (
        (
            "async def on_message(self, message, ctx):\n"
            "    while not builtins.thenodes_test_noticed:\n        time.sleep(0.01)"
        ),
        "quarantined",
        "on_message holds the event loop",
    ),
    "holds the event loop from a task of its own": (
        (
            "async def on_message(self, message, ctx):\n"
            "    self.task = asyncio.ensure_future(self.hold())\n"
            "async def hold(self):\n"
            "    while not builtins.thenodes_test_noticed:\n        time.sleep(0.01)"
        ),
        "quarantined",
        "a callback or task of its own holds the event loop",
    ),
    "swallows cancellation": (
        (
            "async def on_start(self, ctx):\n    ctx.spawn(self.stay())\n"
            "async def stay(self):\n"
            "    while not builtins.thenodes_test_over:\n"
            "        try:\n            await asyncio.sleep(0.001)\n"
            "        except BaseException:\n            pass"
        ),
        "running",
        "is cut off: it does not stop",
    ),
    "cancels itself": (
        (
            "async def on_message(self, message, ctx):\n"
            "    asyncio.current_task().cancel()\n    await asyncio.sleep(0)"
        ),
        "quarantined",
        "its own task was cancelled, and not by the node",
    ),
    "raises at stop": (
        "async def on_stop(self, ctx):\n    sys.exit(3)",
        "running",
        "on_stop raised SystemExit: 3",
    ),
    "breaks its sink": (
        (
            "async def on_start(self, ctx):\n    ctx.events.add_sink(self)\n"
            "async def handle(self, event):\n    sys.exit(3)"
        ),
        "quarantined",
        "its event sink raised SystemExit: 3",
    ),
}


class Sink:
    """Keeps what events say."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    async def handle(self, event: Event) -> None:
        if isinstance(event, PluginEvent):
            self.told.append((event.plugin, event.detail))
        elif isinstance(event, SystemEvent):
            self.told.append(("", event.detail))


class Town:
    """A node with plugins, and a peer of it."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.stack = stack
        self.clock = ManualClock()
        self.network = MemoryNetwork(clock=self.clock)
        self.sink = Sink()

    async def start(self, *trees: Path, bootstrap: str = "") -> Node:
        def notice(stall: Stall) -> None:
            builtins.thenodes_test_noticed = True  # type: ignore[attr-defined]

        config = Config(
            port=0,
            bootstrap_nodes=(bootstrap,) if bootstrap else (),
            plugins=PluginsTable(paths=tuple(str(tree) for tree in trees)),
        )
        node = Node(
            config,
            sinks=(self.sink,) if trees else (),
            transport=self.network,
            clock=self.clock,
            on_stall=notice,
        )
        starting = asyncio.ensure_future(self.stack.enter_async_context(node))
        while not starting.done():
            await self.clock.advance(1.0)
        return await starting


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    builtins.thenodes_test_noticed = False  # type: ignore[attr-defined]
    builtins.thenodes_test_over = False  # type: ignore[attr-defined]
    async with AsyncExitStack() as stack:
        yield Town(stack)


@pytest.mark.parametrize("way", WAYS)
async def test_of_twenty_plugins_nineteen_run_and_the_operator_is_told_of_the_other(
    town: Town, write_plugin: WritePlugin, way: str
) -> None:
    body, state, told = WAYS[way]
    names = [f"good{number}" for number in range(19)]
    trees = [
        write_plugin(name, body=GOOD.format(name=name), extra=f'[prompt]\nprefix = "{name}"')
        for name in names
    ]
    code = "import asyncio, builtins, sys, time\nBIG = Payload.binary(bytes(250_000))"
    trees.insert(7, write_plugin("bad", code=code, body=f"abi = 1\n{body}"))
    node = await town.start(*trees)
    peer = await town.start(bootstrap=node.address)
    await peer.wait_for(node.id)

    for _ in range(MESSAGES):
        peer.broadcast(Text("x"))
        await settle()
    await town.clock.advance(40.0)

    answers = [(await node.commands.run(f"{name} count")).text for name in names]
    states = {plugin.id: plugin.state for plugin in node.plugins()}
    assert answers == [str(MESSAGES)] * 19
    assert states == {"bad": state, **dict.fromkeys(names, "running")}
    await town.stack.aclose()
    builtins.thenodes_test_over = True  # type: ignore[attr-defined]
    await asyncio.sleep(0.01)
    whose = {"bad", ""} if way == "swallows cancellation" else {"bad"}
    assert [text for plugin, text in town.sink.told if plugin in whose and told in text]


async def test_the_stack_of_a_plugin_that_holds_the_event_loop_is_in_the_event(
    town: Town, write_plugin: WritePlugin
) -> None:
    body, _, _ = WAYS["holds the event loop"]
    code = "import builtins, time"
    node = await town.start(write_plugin("bad", code=code, body=f"abi = 1\n{body}"))
    peer = await town.start(bootstrap=node.address)
    await peer.wait_for(node.id)

    peer.broadcast(Text("x"))
    peer.broadcast(Text("y"))
    await settle()

    (told,) = [text for _, text in town.sink.told if "holds the event loop" in text]
    assert told.startswith("plugin bad: on_message holds the event loop for 1.")
    assert "__init__.py:" in told
    assert told.endswith(" on_message")
    assert node.counters.get("plugin_stalls", reason="bad") == 1
    assert node.plugins()[0].detail.startswith("on_message held the event loop: ")
