"""The life of a plugin, and what its context gives it."""

from __future__ import annotations

import asyncio

from ...config import ConfigDefaults
from ...context import PluginContext
from ...errors import NullContextError
from ...events import Event, PluginEvent
from ...messages import Message, Reason, Text, Verified
from ...peers import PeerJoined, PeerLeft
from .rig import Behaviour, Probe, Rig, Spec, raises

__all__ = ["LIFE"]


class SaysGoodbye(Probe):
    """Sends in `on_stop`, and leaves work behind."""

    async def on_start(self, ctx: PluginContext) -> None:
        """Begin work without end."""
        await super().on_start(ctx)
        self.work = ctx.spawn(asyncio.Event().wait())

    async def on_stop(self, ctx: PluginContext) -> None:
        """Send."""
        await ctx.broadcast(Text("goodbye"))


class SlowToStart(Probe):
    """Takes what comes only after a while."""

    async def on_start(self, ctx: PluginContext) -> None:
        """Wait."""
        await super().on_start(ctx)
        for _ in range(3):
            await asyncio.sleep(0)
        self.hooks.append("started")


class Advertises(Probe):
    """Advertises what its manifest allows."""

    def early_config_defaults(self) -> ConfigDefaults:
        """Return it."""
        return ConfigDefaults(capabilities=("one/1",))


class Sink:
    """Keeps events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def handle(self, event: Event) -> None:
        """Keep it."""
        self.events.append(event)


async def plugins_hear_who_joins_and_who_leaves(rig: Rig) -> None:
    """And see who is connected."""
    (one,) = await rig.start("a", Spec("one"))
    assert one.ctx.peers.all() == []
    await rig.start("b", Spec("far"))

    seen = one.ctx.peers.get("b")
    assert seen is not None
    assert [peer.node_id for peer in one.ctx.peers.all()] == ["b"]
    assert one.peers == [PeerJoined(seen)]
    assert seen.verified is Verified.SESSION
    assert seen.fingerprint is not None
    await rig.cut()

    assert one.peers == [PeerJoined(seen), PeerLeft(seen)]
    assert one.ctx.peers.get("b") is None


async def a_node_that_stops_is_restarting_for_its_peers(rig: Rig) -> None:
    """That is the reason that they hear."""
    (one,) = await rig.start("a", Spec("one"))
    await rig.start("b", Spec("far"))

    await rig.stop("b")

    left = one.peers[-1]
    assert isinstance(left, PeerLeft)
    assert left.reason is Reason.RESTARTING


async def peers_show_what_their_plugins_advertise(rig: Rig) -> None:
    """Within what the manifest declares."""
    (one,) = await rig.start("a", Spec("one"))
    await rig.start("b", Spec("far", Advertises, advertises=("one/1", "one/2")))

    peer = one.ctx.peers.get("b")
    assert peer is not None
    assert peer.capabilities == ("one/1",)


async def a_plugin_starts_first_and_stops_last(rig: Rig) -> None:
    """No other hook comes before the end of `on_start`, or after `on_stop`."""
    (one,) = await rig.start("a", Spec("one", SlowToStart))
    (far,) = await rig.start("b", Spec("far"))
    await far.ctx.send("a", Text("hi"))
    await rig.settle()

    await rig.stop("a")

    assert one.hooks[:3] == ["on_start", "started", "on_peer"]
    assert one.hooks[3] == "on_message"
    assert one.hooks[-1] == "on_stop"
    assert one.hooks.count("on_stop") == 1


async def what_on_stop_sends_still_leaves_and_its_work_ends(rig: Rig) -> None:
    """The peers are there until every plugin has stopped."""
    (one,) = await rig.start("a", Spec("one"))
    (far,) = await rig.start("b", Spec("far", SaysGoodbye))
    assert isinstance(far, SaysGoodbye)

    await rig.stop("b")

    assert one.bodies == [Text("goodbye")]
    assert far.work.done()
    await raises(NullContextError, _spawn_nothing(far.ctx))


async def hooks_run_one_at_a_time(rig: Rig) -> None:
    """A line waits for the message before it."""
    (one,) = await rig.start("a", Spec("one"))
    (far,) = await rig.start("b", Spec("far"))
    gate = asyncio.Event()

    async def wait(message: Message, ctx: PluginContext) -> None:
        await gate.wait()
        one.hooks.append("end of on_message")

    one.then = wait
    await far.ctx.send("a", Text("hi"))
    await rig.settle()
    asking = asyncio.ensure_future(rig.prompt("a", "one hi"))
    await rig.settle()
    gate.set()

    assert await asking == "got hi"
    assert one.hooks[-3:] == ["on_message", "end of on_message", "on_prompt"]


async def a_line_is_answered_by_its_plugin(rig: Rig) -> None:
    """It gets the line without its prefix; None is an answer."""
    one, other = await rig.start("a", Spec("one"), Spec("other"))

    async def nothing(line: str, ctx: PluginContext) -> None:
        return None

    other.answer = nothing

    assert await rig.prompt("a", "one say  hello") == "got say  hello"
    assert await rig.prompt("a", "other hi") is None
    assert one.hooks == other.hooks == ["on_start", "on_prompt"]


async def a_sink_gets_every_event_until_the_plugin_stops(rig: Rig) -> None:
    """Of every plugin, and only what is an event."""
    one, other = await rig.start("a", Spec("one"), Spec("other"))
    sink = Sink()
    one.ctx.events.add_sink(sink)
    event = PluginEvent(plugin="other", action="greeted")

    other.ctx.events.emit(event)
    await rig.settle()

    assert event in sink.events
    assert rig.told("a", "greeted") == ["other"]
    for bad in ("text", None):
        await raises(TypeError, _emit(one.ctx, bad))


async def the_context_says_whose_it_is(rig: Rig) -> None:
    """Ids, realm, configuration, directory and logger."""
    spec = Spec("one", defaults={"a": 1, "b": "x"}, table={"a": 2})
    one, other = await rig.start("a", spec, Spec("other"))
    ctx = one.ctx

    assert (ctx.plugin_id, ctx.node_id, str(ctx.realm)) == ("one", "a", "default/1.0")
    assert dict(ctx.config) == {"a": 2, "b": "x"}
    assert ctx.data_dir.is_dir()
    assert ctx.data_dir.stat().st_mode & 0o777 == 0o700
    assert ctx.data_dir != other.ctx.data_dir
    assert ctx.logger.logger.name == "thenodes.plugin.one"


async def addresses_can_be_made_known(rig: Rig) -> None:
    """Once each, and only addresses."""
    one, other = await rig.start("a", Spec("one"), Spec("other"))
    store = one.ctx.peer_store

    await store.insert("10.0.0.1:7447")
    new = await store.bulk_insert(["10.0.0.1:7447", "10.0.0.2:7447", "nonsense"])

    assert new == 1
    known = {record.addr for record in await other.ctx.peer_store.all()}
    assert {"10.0.0.1:7447", "10.0.0.2:7447"} <= known
    assert len(await store.sample(1)) == 1
    await raises(ValueError, store.insert("nonsense"))


async def _spawn_nothing(ctx: PluginContext) -> None:
    ctx.spawn(asyncio.sleep(0))


async def _emit(ctx: PluginContext, event: object) -> None:
    ctx.events.emit(event)  # type: ignore[arg-type]


LIFE: tuple[Behaviour, ...] = (
    plugins_hear_who_joins_and_who_leaves,
    a_node_that_stops_is_restarting_for_its_peers,
    peers_show_what_their_plugins_advertise,
    a_plugin_starts_first_and_stops_last,
    what_on_stop_sends_still_leaves_and_its_work_ends,
    hooks_run_one_at_a_time,
    a_line_is_answered_by_its_plugin,
    a_sink_gets_every_event_until_the_plugin_stops,
    the_context_says_whose_it_is,
    addresses_can_be_made_known,
)
