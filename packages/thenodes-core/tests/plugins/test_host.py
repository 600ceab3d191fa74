"""All plugins of one node: loading, routing, status."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from thenodes_core.clock import ManualClock, settle
from thenodes_core.errors import PluginLoadError
from thenodes_core.events.counters import Counters
from thenodes_core.events.dispatcher import Dispatcher
from thenodes_core.plugins.context import Services
from thenodes_core.plugins.host import PluginHost
from thenodes_core.plugins.policy import GatePolicy
from thenodes_core.plugins.runtime import PluginRuntime
from thenodes_plugin_api import (
    Body,
    ConfigDefaults,
    DataRequest,
    DataResponse,
    Direction,
    Event,
    Extension,
    Message,
    Payload,
    PeerGone,
    PeerInfo,
    PeerJoined,
    PeerLeft,
    PeerList,
    Plugin,
    PluginContext,
    PluginEvent,
    Reason,
    RelayNotify,
    Text,
)

WritePlugin = Callable[..., Path]
Run = Callable[[PluginRuntime], "asyncio.Task[None]"]
Begin = Callable[[], "asyncio.Future[None]"]

PEER = PeerInfo(node_id="b", address="b:1", direction=Direction.INBOUND, connected_at=0.0)


class Keeper(Plugin):
    """Keeps what it gets."""

    abi = 1

    def __init__(self, prefix: str | None = None, defaults: ConfigDefaults | None = None) -> None:
        self.prompt_prefix = prefix  # type: ignore[misc]
        self.bodies: list[Body] = []
        self.peers: list[PeerJoined | PeerLeft] = []
        self.defaults = defaults
        self.ctx: PluginContext

    def early_config_defaults(self) -> ConfigDefaults | None:
        return self.defaults

    async def on_start(self, ctx: PluginContext) -> None:
        self.ctx = ctx

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        self.bodies.append(message.body)

    async def on_peer(self, event: PeerJoined | PeerLeft, ctx: PluginContext) -> None:
        self.peers.append(event)

    async def on_prompt(self, line: str, ctx: PluginContext) -> str | None:
        return f"got {line}"


class BadDefaults(Keeper):
    def early_config_defaults(self) -> ConfigDefaults | None:
        raise SystemExit(3)


@pytest.fixture
def begin(host: PluginHost, services: Services, tmp_path: Path, run: Run) -> Begin:
    """Starts every plugin that was loaded, and waits until they have started."""

    def begin() -> asyncio.Future[None]:
        for runtime in host.prepare(services, {"one": {"b": 2}}, lambda name: tmp_path / name):
            run(runtime)
        return asyncio.ensure_future(host.wait_started())

    return begin


def states(host: PluginHost) -> list[tuple[str, str]]:
    return [(status.id, status.state) for status in host.status()]


def load(host: PluginHost, *trees: Path, directory: Path | None = None) -> None:
    host.load_all(trees, directory, ())


def details(events: list[Event], action: str) -> list[str]:
    return [e.detail for e in events if isinstance(e, PluginEvent) and e.action == action]


async def test_plugins_load_in_the_order_of_their_ids(
    host: PluginHost, write_plugin: WritePlugin
) -> None:
    load(host, write_plugin("c"), write_plugin("a"), write_plugin("b"))

    assert states(host) == [("a", "loaded"), ("b", "loaded"), ("c", "loaded")]


async def test_a_successful_load_is_announced(
    host: PluginHost, write_plugin: WritePlugin, events: list[Event]
) -> None:
    tree = write_plugin("my")

    load(host, tree)
    await settle()

    assert details(events, "loaded") == [f"🔌 Loaded plugin: my 0.1.0 ({tree})"]


async def test_every_folder_of_the_plugins_directory_is_loaded(
    host: PluginHost, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    write_plugin("b", under=tmp_path / "plugins")
    write_plugin("a", under=tmp_path / "plugins")

    load(host, directory=tmp_path / "plugins")

    assert states(host) == [("a", "loaded"), ("b", "loaded")]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"code": "raise RuntimeError"}, "TN-P060"),
        ({"code": "raise SystemExit"}, "TN-P060"),
        ({"register": "raise RuntimeError"}, "TN-P060"),
        ({"register": "raise SystemExit"}, "TN-P060"),
        ({"body": "abi = 2"}, "TN-P061"),
        ({"abi": "2"}, "TN-P011"),
        ({"abi": '"1"'}, "TN-P010"),
        ({"entry": "elsewhere:f"}, "TN-P010"),
    ],
    ids=str,
)
async def test_a_bad_plugin_is_rejected_and_the_others_load(
    host: PluginHost,
    write_plugin: WritePlugin,
    events: list[Event],
    counters: Counters,
    bad: dict[str, str],
    code: str,
) -> None:
    load(host, write_plugin("a"), write_plugin("m", **bad), write_plugin("z"))
    await settle()

    rejected = host.status()[-1]
    assert [state for _, state in states(host)] == ["loaded", "loaded", "rejected"]
    assert rejected.detail.startswith(f"{code}: ")
    assert counters.get("plugins_rejected", reason=code) == 1
    assert len(details(events, "rejected")) == 1


@pytest.mark.parametrize(("abi", "runs"), [("1", True), ("2", False), ("0", False)])
async def test_no_code_of_a_plugin_whose_abi_is_not_served_is_run(
    host: PluginHost, write_plugin: WritePlugin, tmp_path: Path, abi: str, runs: bool
) -> None:
    canary = tmp_path / "canary"
    tree = write_plugin("my", abi=abi, code=f"open({str(canary)!r}, 'w').close()")

    load(host, tree)

    assert canary.exists() is runs


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        ("", "", "the id 'my' is taken"),
        ('[prompt]\nprefix = "p"', '[prompt]\nprefix = "p"', "the prompt prefix 'p' is taken"),
        (
            '[messages]\nhandles = ["k.*"]',
            '[messages]\nhandles = ["x", "k.*"]',
            "the message claim 'k.*' is taken",
        ),
    ],
)
async def test_what_another_plugin_has_taken_is_refused_before_any_code_runs(
    host: PluginHost,
    write_plugin: WritePlugin,
    tmp_path: Path,
    first: str,
    second: str,
    what: str,
) -> None:
    canary = tmp_path / "canary"
    body = 'abi = 1\nprompt_prefix = "p"' if "prefix" in first else "abi = 1"
    load(
        host,
        write_plugin("my", extra=first, body=body),
        write_plugin(
            "my" if not first else "your",
            extra=second,
            body=body,
            code=f"open({str(canary)!r}, 'w').close()",
            under=tmp_path / "second",
        ),
    )

    assert [state for _, state in states(host)] == ["loaded", "rejected"]
    assert host.status()[-1].detail.startswith(f"TN-P030: {what}")
    assert not canary.exists()


async def test_an_id_that_is_loaded_already_is_refused_to_a_plugin_on_disk(
    host: PluginHost, write_plugin: WritePlugin
) -> None:
    host.load_embedded({"my": Keeper()})

    load(host, write_plugin("my"))

    assert states(host) == [("my", "loaded"), ("my", "rejected")]


async def test_a_plugin_that_is_not_there_is_listed_by_its_source(host: PluginHost) -> None:
    load(host, Path("/no/such/plugin"))

    assert states(host) == [("/no/such/plugin", "rejected")]


async def test_a_plugins_directory_that_is_not_there_is_reported_not_raised(
    host: PluginHost, tmp_path: Path
) -> None:
    load(host, directory=tmp_path / "none")

    assert states(host) == [(str(tmp_path / "none"), "rejected")]


async def test_a_plugin_that_is_not_installed_is_reported_not_raised(host: PluginHost) -> None:
    host.load_all((), None, ("no-such-plugin",))

    assert states(host) == [("no-such-plugin", "rejected")]


@pytest.mark.parametrize("plugin_id", ["", "My", "a b", "../a"])
async def test_an_embedded_plugin_needs_a_valid_id(host: PluginHost, plugin_id: str) -> None:
    with pytest.raises(PluginLoadError, match="TN-P010"):
        host.load_embedded({plugin_id: Keeper()})


async def test_presets_come_in_the_order_of_the_ids(host: PluginHost) -> None:
    host.load_embedded(
        {
            "b": Keeper(defaults=ConfigDefaults(port=2)),
            "a": Keeper(defaults=ConfigDefaults(port=1)),
            "c": Keeper(),
        }
    )

    assert host.config_defaults(lambda presets: None) == [
        ConfigDefaults(port=1),
        ConfigDefaults(port=2),
    ]


async def test_a_plugin_that_raises_when_asked_for_presets_harms_no_other(
    host: PluginHost, events: list[Event]
) -> None:
    host.load_embedded({"a": BadDefaults(), "b": Keeper(defaults=ConfigDefaults(port=2))})

    assert host.config_defaults(lambda presets: None) == [ConfigDefaults(port=2)]
    await settle()
    assert "early_config_defaults raised SystemExit" in details(events, "fault")[0]


async def test_a_plugins_table_is_its_defaults_overlaid_by_the_operators(
    host: PluginHost, write_plugin: WritePlugin, begin: Begin
) -> None:
    tree = write_plugin(
        "one",
        extra="[config]\ndefaults = { a = 1, b = 1 }",
        code="tables = []",
        body="abi = 1\nasync def on_start(self, ctx):\n    tables.append(dict(ctx.config))",
    )
    load(host, tree)

    await begin()

    (package,) = (tree / "src").iterdir()
    assert sys.modules[package.name].tables == [{"a": 1, "b": 2}]


async def test_a_kind_reaches_the_plugin_that_claims_it_and_no_other(
    host: PluginHost, begin: Begin
) -> None:
    one, other = Keeper(), Keeper()
    host.load_embedded({"one": one, "other": other})
    await begin()

    host.deliver([Message(Extension("one.x")), Message(Extension("other.y"))])
    await settle()

    assert (one.bodies, other.bodies) == ([Extension("one.x")], [Extension("other.y")])


@pytest.mark.parametrize(
    "body", [Text("x"), DataRequest(), DataResponse(), RelayNotify(Reason.OVERLOAD)]
)
async def test_a_kind_for_all_reaches_every_plugin(
    host: PluginHost, begin: Begin, body: Body
) -> None:
    one, other = Keeper(), Keeper()
    host.load_embedded({"one": one, "other": other})
    await begin()

    host.deliver([Message(body)])
    await settle()

    assert (one.bodies, other.bodies) == ([body], [body])


async def test_messages_of_mixed_kinds_keep_their_order(host: PluginHost, begin: Begin) -> None:
    one = Keeper()
    host.load_embedded({"one": one, "other": Keeper()})
    await begin()
    shared = Extension("one.a")
    bodies: list[Body] = [
        shared,
        shared,
        Text("1"),
        Extension("nobody.x"),
        shared,
        Extension("one.b"),
        shared,
    ]

    host.deliver([Message(body) for body in bodies])
    await settle()

    assert one.bodies == [body for body in bodies if body != Extension("nobody.x")]


async def test_a_kind_that_nobody_claims_is_counted_each_time(
    host: PluginHost, begin: Begin, counters: Counters
) -> None:
    one = Keeper()
    host.load_embedded({"one": one})
    await begin()
    body = Extension("nobody.x")

    host.deliver([Message(body), Message(body)])
    await settle()

    assert one.bodies == []
    assert counters.get("messages_dropped", reason="unclaimed_kind") == 2


async def test_a_kind_of_the_node_reaches_no_plugin(
    host: PluginHost, begin: Begin, counters: Counters
) -> None:
    one = Keeper()
    host.load_embedded({"one": one})
    await begin()

    host.deliver([Message(PeerList(()))])
    await settle()

    assert one.bodies == []
    assert counters.get("messages_dropped", reason="not_handled") == 1


async def test_a_reply_reaches_who_asked_and_no_hook(
    host: PluginHost, begin: Begin, sent: list[tuple[str, Body, Payload | None]]
) -> None:
    one = Keeper()
    host.load_embedded({"one": one})
    await begin()
    question = asyncio.ensure_future(one.ctx.request("b", "one.ask"))
    await settle()
    asked = sent[0][1]
    assert isinstance(asked, Extension)

    answer = Message(Extension("one.ask", reply_to=asked.request_id), sender="b")
    host.deliver([answer])

    assert await question == answer
    assert one.bodies == []


async def test_a_reply_that_nobody_waits_for_is_counted(
    host: PluginHost, begin: Begin, counters: Counters
) -> None:
    one = Keeper()
    host.load_embedded({"one": one})
    await begin()

    host.deliver([Message(Extension("one.ask", reply_to="1"), sender="b")])
    await settle()

    assert one.bodies == []
    assert counters.get("messages_dropped", reason="unexpected_reply") == 1


async def test_every_plugin_hears_of_peers(host: PluginHost, begin: Begin) -> None:
    one, other = Keeper(), Keeper()
    host.load_embedded({"one": one, "other": other})
    await begin()

    host.peer_changed(PeerJoined(PEER))
    host.peer_changed(PeerLeft(PEER))
    await settle()

    assert one.peers == other.peers == [PeerJoined(PEER), PeerLeft(PEER)]


async def test_who_asked_a_peer_that_leaves_is_told(host: PluginHost, begin: Begin) -> None:
    one = Keeper()
    host.load_embedded({"one": one})
    await begin()
    question = asyncio.ensure_future(one.ctx.request("b", "one.ask"))
    await settle()

    host.peer_changed(PeerLeft(PEER))

    with pytest.raises(PeerGone):
        await question


async def test_a_plugin_that_raises_at_start_harms_no_other(
    host: PluginHost, write_plugin: WritePlugin, begin: Begin
) -> None:
    one = Keeper()
    host.load_embedded({"one": one})
    load(host, write_plugin("bad", body="abi = 1\nasync def on_start(self, ctx):\n    exit(3)"))

    await begin()
    host.deliver([Message(Text("x"))])
    await settle()

    assert states(host) == [("one", "running"), ("bad", "failed")]
    assert one.bodies == [Text("x")]


async def test_the_status_tells_how_often_a_plugin_failed(
    host: PluginHost, write_plugin: WritePlugin, begin: Begin
) -> None:
    load(host, write_plugin("bad", body="abi = 1\nasync def on_message(self, m, ctx):\n    1 / 0"))
    await begin()

    host.deliver([Message(Text("x"))] * 3)
    await settle()

    assert [(s.state, s.detail) for s in host.status()] == [("running", "3 faults")]


async def test_a_start_that_never_returns_delays_the_others_by_its_time_alone(
    host: PluginHost, write_plugin: WritePlugin, begin: Begin, clock: ManualClock
) -> None:
    slow = "abi = 1\nasync def on_start(self, ctx):\n    await ctx.clock.sleep(1e9)"
    one = Keeper()
    host.load_embedded({"one": one})
    load(host, write_plugin("slow", body=slow))
    begun = begin()

    await clock.advance(5.0)

    await asyncio.wait_for(begun, 5)
    assert states(host) == [("one", "running"), ("slow", "loaded")]


async def test_a_plugin_with_a_prefix_has_a_shell(host: PluginHost, begin: Begin) -> None:
    host.load_embedded({"one": Keeper("p"), "other": Keeper()})
    await begin()

    (shell,) = host.shells()

    assert (shell.plugin_id, shell.prefix) == ("one", "p")
    assert await shell.run("hello") == "got hello"


async def test_stopping_stops_every_plugin(host: PluginHost, begin: Begin) -> None:
    host.load_embedded({"one": Keeper(), "other": Keeper()})
    await begin()

    host.stop()
    await settle()

    assert states(host) == [("one", "stopped"), ("other", "stopped")]


async def test_a_word_of_the_node_is_no_prefix_of_a_plugin(
    dispatcher: Dispatcher, counters: Counters, write_plugin: WritePlugin
) -> None:
    host = PluginHost(dispatcher, counters, reserved=("status",))

    load(
        host,
        write_plugin(
            "bad", extra='[prompt]\nprefix = "status"', body='abi = 1\nprompt_prefix = "status"'
        ),
        write_plugin("good"),
    )

    assert states(host) == [("good", "loaded"), ("bad", "rejected")]
    detail = host.status()[-1].detail
    assert detail.startswith("TN-P030: the prompt prefix 'status' is the node's own; expected")


@pytest.mark.parametrize(
    ("first", "second"),
    [("kv.*", "kv.put"), ("kv.put", "kv.*"), ("kv.*", "kv.deep.*"), ("kv.deep.*", "kv.*")],
)
async def test_claims_that_overlap_are_refused_to_the_second(
    host: PluginHost, write_plugin: WritePlugin, first: str, second: str
) -> None:
    load(
        host,
        write_plugin("a", extra=f'[messages]\nhandles = ["{first}"]'),
        write_plugin("b", extra=f'[messages]\nhandles = ["{second}"]'),
    )

    assert states(host) == [("a", "loaded"), ("b", "rejected")]
    detail = host.status()[-1].detail
    assert detail.startswith(f"TN-P030: the message claim '{second}' is taken by a;")


async def test_claims_that_only_look_alike_are_both_taken(
    host: PluginHost, write_plugin: WritePlugin
) -> None:
    load(
        host,
        write_plugin("a", extra='[messages]\nhandles = ["kv.*"]'),
        write_plugin("b", extra='[messages]\nhandles = ["kvs.*", "kv"]'),
    )

    assert states(host) == [("a", "loaded"), ("b", "loaded")]


class WithoutAbi(Plugin):
    """Names no ABI."""


class OfTheFuture(Plugin):
    abi = 99


@pytest.mark.parametrize("plugin", [WithoutAbi(), OfTheFuture()], ids=["none", "99"])
async def test_an_embedded_plugin_of_no_known_abi_is_refused(
    host: PluginHost, plugin: Plugin
) -> None:
    with pytest.raises(PluginLoadError, match="TN-P061: embedded plugin 'my'"):
        host.load_embedded({"my": plugin})


async def test_a_plugin_advertises_only_what_its_manifest_says(
    host: PluginHost, write_plugin: WritePlugin, events: list[Event]
) -> None:
    preset = (
        "abi = 1\ndef early_config_defaults(self):\n"
        '    return ConfigDefaults(port=7, capabilities=("{}",))'
    )
    advertises = '[network]\nadvertises = ["good/1"]'
    load(
        host,
        write_plugin("bad", extra=advertises, body=preset.format("more/1")),
        write_plugin("good", extra=advertises, body=preset.format("good/1")),
    )

    presets = host.config_defaults(lambda presets: None)
    await settle()

    assert presets == [ConfigDefaults(port=7, capabilities=("good/1",))]
    (fault,) = details(events, "fault")
    assert "['more/1'] are not in the manifest" in fault


@pytest.mark.parametrize("answer", ["5", "'x'", "{'port': 1}", "ConfigDefaults"])
async def test_presets_of_another_type_are_reported_and_left_out(
    host: PluginHost, write_plugin: WritePlugin, events: list[Event], answer: str
) -> None:
    body = f"abi = 1\ndef early_config_defaults(self):\n    return {answer}"
    load(host, write_plugin("bad", body=body))

    presets = host.config_defaults(lambda presets: None)
    await settle()

    assert presets == []
    assert "expected ConfigDefaults" in details(events, "fault")[0]


async def test_of_twenty_plugins_of_which_one_is_broken_nineteen_load(
    host: PluginHost, make_wheel: Callable[..., Path], tmp_path: Path, events: list[Event]
) -> None:
    for number in range(19):
        make_wheel(f"p{number}", under=tmp_path / "plugins")
    make_wheel("broken", abi="9", under=tmp_path / "plugins")

    host.load_all((), tmp_path / "plugins", (), policy=GatePolicy(cache=tmp_path / "cache"))
    await settle()

    assert [state for _, state in states(host)] == ["loaded"] * 19 + ["rejected"]
    assert len(details(events, "loaded")) == 19
    (told,) = details(events, "rejected")
    assert told.startswith("rejected broken 0.1.0 from ")
    assert told.endswith("none of its code was run")


async def test_a_value_that_does_not_fit_rejects_the_plugin_and_no_other(
    host: PluginHost, write_plugin: WritePlugin
) -> None:
    extra = "[config]\ndefaults = { size = 1 }"
    trees = [write_plugin(name, extra=extra) for name in ("a", "b")]
    config: dict[str, dict[str, object]] = {"a": {"size": "big"}, "b": {"size": 2}}

    host.load_all(trees, None, (), config=config, origins={"plugin.a.size": "node.toml"})

    assert states(host) == [("b", "loaded"), ("a", "rejected")]
    assert host.status()[-1].detail.startswith("TN-P061: node.toml: plugin.a.size: got a text")


async def test_a_type_of_the_class_says_what_its_table_is(
    host: PluginHost, write_plugin: WritePlugin
) -> None:
    code = "import msgspec\nclass Table(msgspec.Struct):\n    size: int"
    body = "abi = 1\nconfig_type = Table"
    trees = [write_plugin(name, code=code, body=body) for name in ("a", "b")]

    host.load_all(trees, None, (), config={"a": {"size": 1}})

    assert states(host) == [("a", "loaded"), ("b", "rejected")]
    assert "missing required field `size`" in host.status()[-1].detail


async def test_files_that_others_can_write_are_told_of_a_plugin_that_loads(
    host: PluginHost, write_plugin: WritePlugin, events: list[Event]
) -> None:
    tree = write_plugin("my")
    tree.chmod(0o777)

    load(host, tree)
    await settle()

    assert states(host) == [("my", "loaded")]
    assert details(events, "open_to_others") == [f"{tree}: others can write it (mode 0777)"]
