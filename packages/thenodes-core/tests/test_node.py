"""Whole nodes, many in one process, over a network in memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from thenodes_core import (
    Config,
    ConfigError,
    EncryptionTable,
    ListenError,
    ManualClock,
    MemoryNetwork,
    NetworkTable,
    Node,
    NodeTable,
    PersistenceTable,
    PluginsTable,
    RealmAccessTable,
    RealmTable,
    StateDirInUse,
)
from thenodes_core.clock import settle
from thenodes_core.control.client import ask
from thenodes_core.control.questions import CONTROL_SOCKET
from thenodes_core.control.status import NodeStatus
from thenodes_plugin_api import (
    ConfigDefaults,
    Direction,
    Event,
    Extension,
    Message,
    NoRoute,
    Payload,
    PeerJoined,
    PeerLeft,
    PeerSource,
    Plugin,
    PluginContext,
    PluginEvent,
    RealmDefaults,
    SystemEvent,
    Text,
)


class Echo(Plugin):
    """Keeps messages, answers questions with what was asked, and notes its own life."""

    abi = 1
    prompt_prefix = "echo"

    def __init__(self, defaults: ConfigDefaults | None = None) -> None:
        self.defaults = defaults
        self.messages: list[Message] = []
        self.life: list[str] = []
        self.arrived = asyncio.Event()
        self.ctx: PluginContext

    def early_config_defaults(self) -> ConfigDefaults | None:
        return self.defaults

    async def on_start(self, ctx: PluginContext) -> None:
        self.ctx = ctx
        self.life.append("start")

    async def on_stop(self, ctx: PluginContext) -> None:
        self.life.append("stop")

    async def on_peer(self, event: PeerJoined | PeerLeft, ctx: PluginContext) -> None:
        self.life.append(type(event).__name__)

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        self.messages.append(message)
        self.arrived.set()
        if isinstance(message.body, Extension) and message.body.request_id:
            await ctx.reply(message, message.payload)

    async def on_prompt(self, line: str, ctx: PluginContext) -> str | None:
        return line


class Sink:
    """Keeps events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def handle(self, event: Event) -> None:
        self.events.append(event)

    def details(self, action: str) -> list[str]:
        kinds = (SystemEvent, PluginEvent)
        return [e.detail for e in self.events if isinstance(e, kinds) and e.action == action]


class Town:
    """A network with a clock, in which nodes are made; all are stopped at the end."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.stack = stack
        self.clock = ManualClock()
        self.network = MemoryNetwork(clock=self.clock)

    def make(self, *bootstrap: str, config: Config | None = None, **options: object) -> Node:
        return Node(
            config or Config(port=0, bootstrap_nodes=bootstrap),
            transport=self.network,
            clock=self.clock,
            **options,  # type: ignore[arg-type]
        )

    async def start(self, *bootstrap: str, config: Config | None = None, **options: object) -> Node:
        return await self.stack.enter_async_context(self.make(*bootstrap, config=config, **options))

    async def pair(self, one: Plugin, other: Plugin) -> tuple[Node, Node]:
        """Two connected nodes, each with a plugin of the id `echo`."""
        first = await self.start(plugins={"echo": one})
        second = await self.start(first.address, plugins={"echo": other})
        await first.wait_for(second.id)
        await second.wait_for(first.id)
        return first, second


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        yield Town(stack)


async def test_a_node_without_settings_has_an_id_an_address_and_a_realm(town: Town) -> None:
    node = await town.start()

    assert len(node.id) == 32
    assert node.address == "127.0.0.1:40000"
    assert str(node.realm) == "default/1.0"


async def test_a_value_travels_from_one_node_to_another(town: Town) -> None:
    one, other = Echo(), Echo()
    first, second = await town.pair(one, other)

    await first.send(second.id, Extension("echo.say"), Payload.text("hello"))
    await asyncio.wait_for(other.arrived.wait(), 5)

    assert [(m.sender, m.payload) for m in other.messages] == [(first.id, Payload.text("hello"))]
    assert one.messages == []


async def test_a_plugin_asks_another_node_and_gets_its_answer(town: Town) -> None:
    one = Echo()
    _, second = await town.pair(one, Echo())

    answer = await one.ctx.request(second.id, "echo.ask", Payload.json([1]))

    assert (answer.sender, answer.payload) == (second.id, Payload.json([1]))


async def test_where_a_node_cannot_be_reached_one_error_says_all(town: Town) -> None:
    echo = Echo()
    node = await town.start(plugins={"echo": echo})

    for send in (node.send, echo.ctx.send):
        with pytest.raises(NoRoute, match="no session with far") as raised:
            await send("far", Text("hi"))
        assert raised.value.__context__ is None


async def test_each_of_two_connected_nodes_sees_the_other(town: Town) -> None:
    first, second = await town.pair(Echo(), Echo())

    assert [(p.node_id, p.direction) for p in first.peers.all()] == [(second.id, Direction.INBOUND)]
    assert [(p.node_id, p.direction) for p in second.peers.all()] == [
        (first.id, Direction.OUTBOUND)
    ]
    assert first.peers.all()[0].listen_addr == second.address


async def test_many_nodes_live_in_one_process(town: Town) -> None:
    hub = await town.start()
    plugins = [Echo() for _ in range(20)]
    nodes = [await town.start(hub.address, plugins={"echo": plugin}) for plugin in plugins]
    for node in nodes:
        await hub.wait_for(node.id)

    assert hub.broadcast(Extension("echo.say")) == 20
    await asyncio.wait_for(asyncio.gather(*(plugin.arrived.wait() for plugin in plugins)), 5)

    assert [len(plugin.messages) for plugin in plugins] == [1] * 20


async def test_two_nodes_that_dial_each_other_have_one_session(town: Town) -> None:
    plugins = [Echo(), Echo()]
    ports = ("127.0.0.1:1001", "127.0.0.1:1002")
    nodes = [
        await town.start(config=Config(port=port, bootstrap_nodes=ports), plugins={"echo": plugin})
        for port, plugin in zip((1001, 1002), plugins, strict=True)
    ]

    await town.clock.advance(120.0)

    assert [len(node.peers.all()) for node in nodes] == [1, 1]
    assert [plugin.life for plugin in plugins] == [["start", "PeerJoined"]] * 2
    assert sorted(d.state for d in nodes[0].status().dialling) in (
        ["connected", "self"],
        ["duplicate", "self"],
    )


async def test_a_lost_connection_comes_back(town: Town) -> None:
    plugin = Echo()
    first, second = await town.pair(plugin, Echo())

    for _ in range(3):
        town.network.cut()
        await first.peers.wait_gone(second.id)
        await town.clock.advance(20.0)

    assert [peer.node_id for peer in first.peers.all()] == [second.id]
    assert plugin.life == ["start", "PeerJoined", *(["PeerLeft", "PeerJoined"] * 3)]


async def test_a_node_that_restarts_is_connected_again(town: Town) -> None:
    config = Config(port=1001)
    async with town.make(config=config) as former:
        second = await town.start("127.0.0.1:1001")
        await former.wait_for(second.id)
    await settle()
    gone = second.peers.all()

    again = await town.start(config=config)
    await town.clock.advance(20.0)

    assert gone == []
    assert [peer.node_id for peer in second.peers.all()] == [again.id]


async def test_a_node_of_another_realm_is_not_admitted(town: Town) -> None:
    plugin = Echo()
    first = await town.start(plugins={"echo": plugin})
    other = await town.start(
        config=Config(port=0, bootstrap_nodes=(first.address,), realm=RealmTable(name="Other"))
    )

    await town.clock.advance(60.0)

    assert (first.peers.all(), other.peers.all()) == ([], [])
    assert plugin.life == ["start"]
    assert "realm" in other.status().dialling[0].error


async def test_a_plugins_presets_apply(town: Town) -> None:
    defaults = ConfigDefaults(port=1234, app_name="app", capabilities=("echo/1", "echo/1"))
    first = await town.start(
        config=Config(), plugins={"echo": Echo(defaults), "more": Plain(defaults)}
    )
    second = await town.start(first.address)

    peer = await second.wait_for(first.id)

    assert (first.address, first.config.app_name) == ("127.0.0.1:1234", "app")
    assert peer.capabilities == ("echo/1",)


class Plain(Plugin):
    """Presets what it is told."""

    abi = 1

    def __init__(self, defaults: ConfigDefaults) -> None:
        self.defaults = defaults

    def early_config_defaults(self) -> ConfigDefaults:
        return self.defaults


async def test_what_the_operator_set_wins_over_a_plugins_preset(town: Town) -> None:
    plugin = Echo(ConfigDefaults(port=1234))

    node = await town.start(config=Config(port=1235), plugins={"echo": plugin})

    assert node.address == "127.0.0.1:1235"


async def test_a_plugin_knows_its_node_and_its_own_table(town: Town) -> None:
    plugin = Echo()
    node = await town.start(
        config=Config(port=0, plugin={"echo": {"a": 1}}), plugins={"echo": plugin}
    )

    assert (plugin.ctx.node_id, plugin.ctx.realm) == (node.id, node.realm)
    assert plugin.ctx.config == {"a": 1}
    assert plugin.ctx.data_dir.is_dir()


async def test_the_plugins_of_two_nodes_have_directories_of_their_own(town: Town) -> None:
    one, other = Echo(), Echo()

    await town.pair(one, other)

    assert one.ctx.data_dir != other.ctx.data_dir


async def test_a_plugin_starts_before_and_stops_with_the_node(town: Town) -> None:
    plugin = Echo()

    async with town.make(plugins={"echo": plugin}):
        during = list(plugin.life)

    assert (during, plugin.life) == (["start"], ["start", "stop"])


async def test_a_plugin_can_still_send_when_it_is_stopped(town: Town) -> None:
    class Parting(Echo):
        async def on_stop(self, ctx: PluginContext) -> None:
            await ctx.broadcast(Extension("echo.bye"))

    other = Echo()
    second = await town.start(plugins={"echo": other})
    async with town.make(second.address, plugins={"echo": Parting()}) as first:
        await first.wait_for(second.id)
        await settle()

    await asyncio.wait_for(other.arrived.wait(), 5)
    assert [m.body for m in other.messages] == [Extension("echo.bye")]


async def test_a_bad_plugin_does_not_keep_the_node_from_running(town: Town, tmp_path: Path) -> None:
    plugin, sink = Echo(), Sink()

    node = await town.start(
        config=Config(port=0, plugins=PluginsTable(paths=(str(tmp_path / "none"),))),
        plugins={"echo": plugin},
        sinks=(sink,),
    )
    await settle()

    assert [(p.id, p.state) for p in node.status().plugins] == [
        ("echo", "running"),
        (str(tmp_path / "none"), "rejected"),
    ]
    assert len(sink.details("rejected")) == 1


async def test_a_sink_hears_of_the_node_from_start_to_stop(town: Town) -> None:
    sink = Sink()

    async with town.make(plugins={"echo": Echo()}, sinks=(sink,)):
        pass

    actions = [getattr(event, "action", "") for event in sink.events]
    assert actions == ["loaded", "started", "stopping"]


async def test_stopping_leaves_no_task_behind(town: Town) -> None:
    before = asyncio.all_tasks()

    async with town.make(plugins={"echo": Echo()}) as first:
        async with town.make(first.address, plugins={"echo": Echo()}) as second:
            await first.wait_for(second.id)
    await settle()

    assert asyncio.all_tasks() == before


async def test_stopping_leaves_nothing_of_a_temporary_state_directory(town: Town) -> None:
    plugin = Echo()

    async with town.make(plugins={"echo": plugin}):
        state_dir = plugin.ctx.data_dir.parent.parent

    assert not state_dir.exists()


async def test_a_node_can_be_started_on_the_state_directory_of_a_stopped_one(
    town: Town, tmp_path: Path
) -> None:
    config = Config(port=0, node=NodeTable(state_dir=str(tmp_path / "state")))
    ids = []

    for _ in range(2):
        async with town.make(config=config) as node:
            ids.append(node.id)

    assert ids[0] == ids[1]


async def test_a_second_node_on_a_state_directory_is_refused(town: Town, tmp_path: Path) -> None:
    config = Config(port=0, node=NodeTable(state_dir=str(tmp_path / "state")))
    await town.start(config=config)

    with pytest.raises(StateDirInUse) as caught:
        await town.start(config=config)

    assert caught.value.pid == os.getpid()


async def test_a_port_that_is_taken_is_an_error_of_the_start(town: Town) -> None:
    await town.start(config=Config(port=1001))

    with pytest.raises(ListenError, match="1001"):
        await town.start(config=Config(port=1001), plugins={"echo": Echo()})


async def test_a_start_that_fails_stops_what_had_started(town: Town, tmp_path: Path) -> None:
    await town.start(config=Config(port=1001))
    plugin = Echo()
    config = Config(port=1001, node=NodeTable(state_dir=str(tmp_path / "state")))
    with pytest.raises(ListenError):
        await town.start(config=config, plugins={"echo": plugin})

    assert plugin.life == ["start", "stop"]
    await town.start(config=Config(port=0, node=config.node))


async def test_a_configuration_that_cannot_be_used_is_an_error(town: Town) -> None:
    encryption = EncryptionTable(enabled=False)
    with pytest.raises(ConfigError, match="allow_plaintext"):
        await town.start(config=Config(host="0.0.0.0", encryption=encryption))


async def test_an_error_of_the_embedding_program_comes_out_as_it_is(town: Town) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with town.make():
            raise KeyError("mine")


async def test_who_waits_for_the_stop_is_told(town: Town) -> None:
    node = await town.start()
    waiting = asyncio.ensure_future(node.wait_stopped())
    await settle()
    before = waiting.done()

    node.stop()
    await asyncio.wait_for(waiting, 5)

    assert not before


async def test_a_running_node_answers_on_its_control_socket(town: Town, tmp_path: Path) -> None:
    node = await town.start(
        config=Config(port=0, node=NodeTable(state_dir=str(tmp_path))), plugins={"echo": Echo()}
    )

    assert node.id in (await ask(tmp_path, "version")).text
    assert (await ask(tmp_path, "echo hello")).text == "hello"


async def test_a_stopped_node_has_no_control_socket(town: Town, tmp_path: Path) -> None:
    async with town.make(config=Config(port=0, node=NodeTable(state_dir=str(tmp_path)))):
        assert (tmp_path / CONTROL_SOCKET).exists()

    assert not (tmp_path / CONTROL_SOCKET).exists()


async def test_the_status_tells_of_peers_plugins_and_counters(town: Town) -> None:
    first, second = await town.pair(Echo(), Echo())

    reply = await second.commands.run("status")

    status = reply.data
    assert isinstance(status, NodeStatus)
    assert (status.node_id, status.pid) == (second.id, os.getpid())
    assert [peer.node_id for peer in status.peers] == [first.id]
    assert [(d.address, d.state) for d in status.dialling] == [(first.address, "connected")]
    assert [(p.id, p.state) for p in status.plugins] == [("echo", "running")]
    assert (status.counters["dials"], status.counters["peers_joined"]) == (1, 1)


async def test_a_node_dials_every_bootstrap_address(town: Town) -> None:
    others = [await town.start() for _ in range(3)]

    node = await town.start(*(other.address for other in others))
    for other in others:
        await node.wait_for(other.id)

    assert len(node.peers.all()) == 3


async def test_an_address_of_a_session_is_remembered(town: Town) -> None:
    first, second = await town.pair(Echo(), Echo())

    assert [record.addr for record in await second.known.all()] == [first.address]


BAD_PRESETS = [
    ConfigDefaults(port=1, bootstrap_nodes_extend=("not an address",)),
    ConfigDefaults(port=1, bootstrap_nodes_extend=(5,)),  # type: ignore[arg-type]
    ConfigDefaults(port=1, app_name=5),  # type: ignore[arg-type]
    ConfigDefaults(port="1"),  # type: ignore[arg-type]
    ConfigDefaults(port=1, bootstrap_nodes=5),  # type: ignore[arg-type]
    ConfigDefaults(port=1, capabilities=("c" * 65,)),
    ConfigDefaults(port=1, capabilities=tuple(f"c/{number}" for number in range(65))),
    ConfigDefaults(port=1, realm=RealmDefaults(name="a\x1b[31m")),
]


@pytest.mark.parametrize("bad", BAD_PRESETS, ids=lambda bad: str(bad)[15:60])
async def test_presets_that_cannot_be_used_are_left_out_and_others_apply(
    town: Town, bad: ConfigDefaults
) -> None:
    good = ConfigDefaults(port=1234, bootstrap_nodes_extend=("b:1",), capabilities=("good/1",))
    sink = Sink()

    node = await town.start(
        config=Config(), plugins={"a": Plain(bad), "b": Plain(good)}, sinks=(sink,)
    )
    other = await town.start(node.address)
    peer = await other.wait_for(node.id)
    await settle()

    assert node.address == "127.0.0.1:1234"
    assert (node.config.app_name, node.config.bootstrap_nodes) == (None, ("b:1",))
    assert peer.capabilities == ("good/1",)
    assert [p.state for p in node.status().plugins] == ["running", "running"]
    assert len(sink.details("fault")) == 1


class Stubborn(Plugin):
    """Does not let itself be cancelled until the test lets it go."""

    abi = 1

    def __init__(self, where: str) -> None:
        self.where = where
        self.let_go = asyncio.Event()
        self.held = asyncio.Event()
        self.ended = asyncio.Event()

    async def _hold(self) -> None:
        self.held.set()
        while not self.let_go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.let_go.wait()
        self.ended.set()

    async def on_start(self, ctx: PluginContext) -> None:
        if self.where == "spawn":
            ctx.spawn(self._hold())
        elif self.where == "start":
            await self._hold()

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        await self._hold()

    async def on_stop(self, ctx: PluginContext) -> None:
        if self.where == "stop":
            await self._hold()


@pytest.mark.parametrize("where", ["spawn", "message", "stop", "start"])
async def test_a_plugin_that_swallows_cancellation_does_not_hold_up_the_stop(where: str) -> None:
    stubborn, well = Stubborn(where), Echo()
    clock = ManualClock()
    network = MemoryNetwork(clock=clock)
    async with Node(Config(port=0), transport=network, clock=clock) as other:
        node = Node(
            Config(port=0, bootstrap_nodes=(other.address,)),
            transport=network,
            clock=clock,
            plugins={"stubborn": stubborn, "well": well},
        )
        entering = asyncio.ensure_future(node.__aenter__())
        await clock.advance(6.0)
        await asyncio.wait_for(entering, 5)
        await asyncio.wait_for(node.wait_for(other.id), 5)
        if where == "message":
            await other.send(node.id, Extension("stubborn.x"))
        if where != "stop":
            await asyncio.wait_for(stubborn.held.wait(), 5)

        leaving = asyncio.ensure_future(node.__aexit__(None, None, None))
        done, _ = await asyncio.wait([leaving], timeout=3)
        stubborn.let_go.set()
        await asyncio.wait([leaving], timeout=5)
        await asyncio.wait_for(stubborn.ended.wait(), 5)
        await settle()

    assert done == {leaving}
    assert leaving.exception() is None
    assert well.life[-1] == "stop"


async def test_a_node_type_that_the_configuration_does_not_admit_is_refused(town: Town) -> None:
    access = RealmAccessTable(allowed_node_types=("gateway",))
    first = await town.start(config=Config(port=1001, realm_access=access))
    second = await town.start(config=Config(port=0, bootstrap_nodes=("127.0.0.1:1001",)))

    await town.clock.advance(1.0)

    assert not first.peers.all()
    assert "node type daemon is not admitted: gateway" in second.status().dialling[0].error


async def test_no_more_addresses_are_known_than_the_configuration_says(town: Town) -> None:
    persistence = PersistenceTable(max_entries=2)
    node = await town.start(config=Config(network=NetworkTable(persistence=persistence)))

    for port in range(1, 5):
        node.known.add(f"192.0.2.1:{port}", PeerSource.MANUAL)

    assert len(node.known_peers()) == 2


async def test_what_happens_before_the_log_is_open_is_in_it(town: Town, tmp_path: Path) -> None:
    config = Config(
        node=NodeTable(state_dir=str(tmp_path / "state")),
        plugins=PluginsTable(paths=(str(tmp_path / "no-plugin"),)),
    )
    async with town.make(config=config):
        pass

    log = (tmp_path / "state" / "logs" / "events.jsonl").read_text()
    assert "TN-P010" in log.splitlines()[0]
