"""Plugins that are loaded anew, disabled and enabled while the others run."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from thenodes_core.clock import ManualClock, settle
from thenodes_core.errors import CommandFailed
from thenodes_core.events.counters import Counters
from thenodes_core.events.dispatcher import Dispatcher
from thenodes_core.plugins.context import Services
from thenodes_core.plugins.host import PluginHost
from thenodes_core.plugins.policy import GatePolicy
from thenodes_core.plugins.tracked import Fate, Tracked
from thenodes_core.supervisor import Supervisor
from thenodes_plugin_api import Event, Extension, Message, Plugin, PluginEvent, Text

WritePlugin = Callable[..., Path]
Begin = Callable[..., "asyncio.Future[None]"]

CLAIM = '[messages]\nhandles = ["my.*"]\n'
# Notes what it gets in a list that outlives it.
NOTE = """import builtins
VERSION = 1
notes = builtins.__dict__.setdefault("thenodes_test_notes", [])
"""
BODY = """abi = 1
async def on_start(self, ctx):
    notes.append(f"start {VERSION}")
async def on_stop(self, ctx):
    notes.append(f"stop {VERSION}")
async def on_message(self, message, ctx):
    notes.append(message.body.kind)
"""


class Patient(Plugin):
    """Waits in its hook until it is let go."""

    abi = 1

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.kinds: list[str] = []

    async def on_message(self, message: Message, ctx: object) -> None:
        assert isinstance(message.body, Extension)
        self.kinds.append(message.body.kind)
        await self.go_on.wait()


@pytest.fixture
async def begin(
    host: PluginHost, services: Services, counters: Counters, tmp_path: Path, clock: ManualClock
) -> AsyncIterator[Begin]:
    """Runs every plugin that was loaded, until the test ends."""

    def begin(**config: dict[str, object]) -> asyncio.Future[None]:
        host.prepare(services, config, lambda name: tmp_path / name)
        host.run(Supervisor(services.events, counters, clock).supervise)
        return asyncio.ensure_future(host.wait_started())

    yield begin
    host.stop()
    tasks = [slot.task for slot in host.roster if slot.task is not None]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def notes() -> list[str]:
    """What plugins made of `NOTE` and `BODY` have noted."""
    import builtins

    kept: list[str] = []
    builtins.__dict__["thenodes_test_notes"] = kept
    return kept


@pytest.fixture
def tree(write_plugin: WritePlugin) -> Path:
    """A plugin `my` that notes what it gets."""
    return write_plugin("my", code=NOTE, body=BODY, extra=CLAIM)


def edit(tree: Path, old: str, new: str) -> None:
    """Change a plugin's code; its file gets another size, so that no old bytecode fits it."""
    (file,) = tree.glob("src/*/__init__.py")
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new) + "\n# changed")


def edit_manifest(tree: Path, old: str, new: str) -> None:
    (file,) = tree.glob("src/*/thenodes-plugin.toml")
    file.write_text(file.read_text().replace(old, new))


def kinds(*numbers: int) -> list[Message]:
    return [Message(Extension(f"my.{number}"), sender="b") for number in numbers]


def states(host: PluginHost) -> list[tuple[str, str]]:
    return [(status.id, status.state) for status in host.status()]


def details(events: list[Event], action: str) -> list[str]:
    return [e.detail for e in events if isinstance(e, PluginEvent) and e.action == action]


async def test_a_reload_runs_the_code_that_is_there_now(
    host: PluginHost, tree: Path, begin: Begin, notes: list[str], events: list[Event]
) -> None:
    host.load_all([tree], None, ())
    await begin()
    edit(tree, "VERSION = 1", "VERSION = 22")

    text = await host.changes.reload("my")
    await settle()

    assert notes == ["start 1", "stop 1", "start 22"]
    assert states(host) == [("my", "running")]
    assert text == "plugin my 0.1.0 runs anew"
    assert details(events, "reloaded") == ["🔌 Reloaded plugin: my 0.1.0 runs anew"]


async def test_modules_below_the_package_are_fresh_too(
    host: PluginHost, write_plugin: WritePlugin, begin: Begin, notes: list[str]
) -> None:
    code = NOTE + "from .inner import VERSION\n"
    tree = write_plugin("my", code="", body="abi = 1")
    (package,) = (tree / "src").iterdir()
    (package / "inner.py").write_text("VERSION = 1\n")
    edit(tree, "class Made", code + "class Made")
    edit(tree, "    abi = 1\n", "".join(f"    {line}\n" for line in BODY.splitlines()))
    host.load_all([tree], None, ())
    await begin()
    (package / "inner.py").write_text("VERSION = 22\n")

    await host.changes.reload("my")

    assert notes == ["start 1", "stop 1", "start 22"]


async def test_what_waited_and_what_comes_meanwhile_is_given_to_the_new_one_in_order(
    host: PluginHost, tree: Path, begin: Begin, notes: list[str], counters: Counters
) -> None:
    host.load_all([tree], None, ())
    await begin()

    host.deliver(kinds(1, 2))
    reload = asyncio.ensure_future(host.changes.reload("my"))
    number = 3
    while not reload.done():
        host.deliver(kinds(number))
        number += 1
        await asyncio.sleep(0)
    host.deliver(kinds(number))
    await settle()

    assert [note for note in notes if note.startswith("my.")] == [
        f"my.{n}" for n in range(1, number + 1)
    ]
    assert counters.snapshot().get("messages_dropped.plugin_not_running", 0) == 0


async def test_what_is_held_is_bounded(
    host: PluginHost, tree: Path, begin: Begin, counters: Counters, notes: list[str]
) -> None:
    host.load_all([tree], None, ())
    await begin()
    slot = host.roster.find("my")

    await slot.end(hold=True)
    host.deliver(kinds(*range(9000)))

    assert len(slot.inbox.items) == 8192
    assert counters.get("messages_dropped", reason="plugin_inbox_full") == 808
    assert states(host) == [("my", "reloading")]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("VERSION = 1", "VERSION = 1 / 0", "TN-P060.*ZeroDivisionError"),
        ("VERSION = 1", "VERSION = ", "TN-P060.*SyntaxError"),
        ("abi = 1", "abi = 2  # no", "TN-P061"),
        ('notes.append(f"start {VERSION}")', "raise SystemExit(3)", "on_start raised SystemExit"),
    ],
)
async def test_where_the_new_one_cannot_be_loaded_or_started_the_old_one_runs_on(
    host: PluginHost,
    tree: Path,
    begin: Begin,
    notes: list[str],
    events: list[Event],
    old: str,
    new: str,
    why: str,
) -> None:
    host.load_all([tree], None, ())
    await begin()
    (package,) = (tree / "src").iterdir()
    before = sys.modules[package.name]
    host.deliver(kinds(1))
    await settle()
    edit(tree, old, new)

    with pytest.raises(CommandFailed, match=f"the one from before runs again: .*{why}"):
        await host.changes.reload("my")
    host.deliver(kinds(2))
    await settle()

    assert notes == ["start 1", "my.1", "stop 1", "start 1", "my.2"]
    assert states(host) == [("my", "running")]
    assert sys.modules[package.name] is before
    assert len(details(events, "reload_failed")) == 1


async def test_a_plugin_that_the_gates_refuse_now_is_not_even_stopped(
    host: PluginHost, tree: Path, begin: Begin, notes: list[str]
) -> None:
    host.load_all([tree], None, ())
    await begin()
    edit_manifest(tree, "abi = 1", "abi = 9")

    with pytest.raises(CommandFailed, match="it is running as before: TN-P011"):
        await host.changes.reload("my")

    assert notes == ["start 1"]


async def test_a_plugin_that_is_gone_is_not_even_stopped(
    host: PluginHost, tree: Path, begin: Begin, notes: list[str]
) -> None:
    host.load_all([tree], None, ())
    await begin()
    tree.rename(tree.with_name("elsewhere"))

    with pytest.raises(CommandFailed, match=r"TN-P010.*not there"):
        await host.changes.reload("my")

    assert notes == ["start 1"]


async def test_claims_prefix_and_table_follow_the_new_manifest(
    host: PluginHost, tree: Path, begin: Begin, notes: list[str]
) -> None:
    host.load_all([tree], None, ())
    await begin(my={"size": 2})
    edit_manifest(
        tree,
        CLAIM,
        '[messages]\nhandles = ["mine.*"]\n[prompt]\nprefix = "p"\n'
        "[config]\ndefaults = { size = 1, more = 3 }",
    )
    edit(tree, "abi = 1", 'abi = 1\n    prompt_prefix = "p"')
    edit(tree, 'notes.append(f"start {VERSION}")', "notes.append(str(dict(ctx.config)))")

    await host.changes.reload("my")
    host.deliver([Message(Extension("my.1")), Message(Extension("mine.1"))])
    await settle()

    assert notes == ["start 1", "stop 1", "{'size': 2, 'more': 3}", "mine.1"]
    assert [shell.prefix for shell in host.shells()] == ["p"]


async def test_capabilities_follow_the_plugins_that_run(
    host: PluginHost, write_plugin: WritePlugin, begin: Begin
) -> None:
    tree = write_plugin(
        "my",
        body="abi = 1\ndef early_config_defaults(self):\n"
        "    return ConfigDefaults(capabilities=('my/1',))",
        extra='[network]\nadvertises = ["my/1", "my/2"]',
    )
    host.load_all([tree], None, ())
    host.config_defaults(lambda presets: None)
    await begin()
    first = host.roster.capabilities()
    edit(tree, "my/1", "my/2")

    await host.changes.reload("my")
    second = host.roster.capabilities()
    await host.changes.disable("my")

    assert (first, second, host.roster.capabilities()) == (("my/1",), ("my/2",), ())


async def test_a_newer_wheel_in_the_place_of_the_old_one_is_taken(
    host: PluginHost,
    make_wheel: Callable[..., Path],
    begin: Begin,
    notes: list[str],
    tmp_path: Path,
) -> None:
    policy, wheels = GatePolicy(cache=tmp_path / "cache"), tmp_path / "wheels"
    options: dict[str, str] = {"package": "thenodes_test_newer", "body": BODY, "extra": CLAIM}
    first = make_wheel("my", version="0.1.0", code=NOTE, **options)
    host.load_all([], wheels, (), policy=policy)
    await begin()
    first.unlink()
    make_wheel("my", version="0.2.0", code=NOTE.replace("VERSION = 1", "VERSION = 2"), **options)

    text = await host.changes.reload("my")

    assert text == "plugin my 0.2.0 runs anew"
    assert notes == ["start 1", "stop 1", "start 2"]


async def test_a_plugin_whose_package_somebody_else_uses_is_not_reloaded(
    host: PluginHost, tree: Path, begin: Begin, notes: list[str]
) -> None:
    host.load_all([tree], None, ())
    await begin()
    (package,) = (tree / "src").iterdir()
    other = type(sys)("thenodes_test_user")
    vars(other)["imported"] = sys.modules[package.name]
    sys.modules["thenodes_test_user"] = other

    try:
        with pytest.raises(CommandFailed, match="thenodes_test_user uses its package"):
            await host.changes.reload("my")
    finally:
        del sys.modules["thenodes_test_user"]

    assert notes == ["start 1"]


async def test_an_instance_that_does_not_end_is_left_behind_and_told(
    host: PluginHost, begin: Begin, write_plugin: WritePlugin, clock: ManualClock, notes: list[str]
) -> None:
    stubborn = (
        "async def on_message(self, message, ctx):\n"
        "    while VERSION == 1 and 'go' not in notes:\n"
        "        try:\n            await asyncio.sleep(0)\n"
        "        except BaseException:\n            notes.append('swallowed')\n"
        "    notes.append(message.body.kind)\n"
    )
    tree = write_plugin(
        "my", code="import asyncio\n" + NOTE, body="abi = 1\n" + stubborn, extra=CLAIM
    )
    host.load_all([tree], None, ())
    await begin()
    host.deliver(kinds(1))
    await settle()
    edit(tree, "VERSION = 1", "VERSION = 22")

    reload = asyncio.ensure_future(host.changes.reload("my"))
    while not reload.done():
        await clock.advance(1.0)
    host.deliver(kinds(2))
    await settle()

    assert "left behind: it does not end" in await reload
    assert notes == ["swallowed", "my.2"]
    assert states(host) == [("my", "running")]
    notes.append("go")
    await settle()


async def test_a_start_that_never_returns_lets_the_old_one_run_again(
    host: PluginHost, tree: Path, begin: Begin, clock: ManualClock, notes: list[str]
) -> None:
    host.load_all([tree], None, ())
    await begin()
    edit(tree, 'notes.append(f"start {VERSION}")', "await ctx.clock.sleep(1e9)")

    reload = asyncio.ensure_future(host.changes.reload("my"))
    while not reload.done():
        await clock.advance(1.0)

    with pytest.raises(CommandFailed, match="on_start has not returned within 5 s"):
        await reload
    assert notes == ["start 1", "stop 1", "start 1"]


async def test_a_disabled_plugin_gets_nothing_until_it_is_enabled(
    host: PluginHost, tree: Path, begin: Begin, notes: list[str], counters: Counters
) -> None:
    host.load_all([tree], None, ())
    await begin()

    told = await host.changes.disable("my")
    host.deliver(kinds(1))
    during = states(host)
    await host.changes.enable("my")
    host.deliver(kinds(2))
    await settle()

    assert "plugin enable my brings it back" in told
    assert during == [("my", "disabled")]
    assert states(host) == [("my", "running")]
    assert notes == ["start 1", "stop 1", "start 1", "my.2"]
    assert counters.get("messages_dropped", reason="plugin_not_running") == 1


async def test_a_plugin_that_does_not_start_again_holds_nothing_back(
    host: PluginHost, tree: Path, begin: Begin, clock: ManualClock
) -> None:
    host.load_all([tree], None, ())
    await begin()
    await host.changes.disable("my")
    edit(tree, 'notes.append(f"start {VERSION}")', "await ctx.clock.sleep(1e9)")
    fates: list[Fate] = []

    enable = asyncio.ensure_future(host.changes.enable("my"))
    while not enable.done():
        await clock.advance(1.0)
    host.deliver_tracked([Tracked(message, fates.append) for message in kinds(1)])

    with pytest.raises(CommandFailed, match="on_start has not returned within 5 s"):
        await enable
    assert fates == [Fate.DROPPED]


@pytest.mark.parametrize("change", ["enable", "reload"])
async def test_a_plugin_comes_back_from_quarantine(
    host: PluginHost, tree: Path, begin: Begin, notes: list[str], change: str
) -> None:
    host.load_all([tree], None, ())
    await begin()
    edit(tree, "VERSION = 1", "VERSION = 22")
    host.deliver([Message(Text("no kind"))] * 10)
    await settle()
    during = host.status()[0]

    await getattr(host.changes, change)("my")
    host.deliver(kinds(1))
    await settle()

    assert during.state == "quarantined"
    assert "10 faults within 60 s" in during.detail
    assert states(host) == [("my", "running")]
    assert notes == ["start 1", "start 22", "my.1"]


async def test_an_embedded_plugin_is_stopped_and_started_again(
    host: PluginHost, begin: Begin
) -> None:
    plugin = Patient()
    plugin.go_on.set()
    host.load_embedded({"my": plugin})
    await begin()

    await host.changes.reload("my")
    host.deliver(kinds(1))
    await settle()

    assert plugin.kinds == ["my.1"]


@pytest.mark.parametrize(
    ("change", "plugin_id", "why"),
    [
        ("reload", "none", "no plugin 'none' is loaded; loaded: my"),
        ("enable", "my", "plugin my is running already"),
    ],
)
async def test_a_change_that_makes_no_sense_is_refused(
    host: PluginHost, tree: Path, begin: Begin, change: str, plugin_id: str, why: str
) -> None:
    host.load_all([tree], None, ())
    await begin()

    with pytest.raises(CommandFailed, match=why):
        await getattr(host.changes, change)(plugin_id)


async def test_two_changes_at_once_come_one_after_the_other(
    host: PluginHost, tree: Path, begin: Begin, notes: list[str]
) -> None:
    host.load_all([tree], None, ())
    await begin()

    await asyncio.gather(host.changes.reload("my"), host.changes.reload("my"))

    assert notes == ["start 1", *["stop 1", "start 1"] * 2]


async def test_a_change_goes_on_where_whoever_asked_for_it_leaves(
    host: PluginHost, tree: Path, begin: Begin, notes: list[str]
) -> None:
    host.load_all([tree], None, ())
    await begin()
    asked = asyncio.ensure_future(host.changes.reload("my"))
    await asyncio.sleep(0)

    asked.cancel()
    await host.changes.reload("my")

    assert notes == ["start 1", *["stop 1", "start 1"] * 2]


async def test_reloads_lose_no_message_and_keep_no_memory(
    host: PluginHost,
    tree: Path,
    begin: Begin,
    notes: list[str],
    events: list[Event],
    clock: ManualClock,
    dispatcher: Dispatcher,
) -> None:
    rounds = int(os.environ.get("THENODES_TEST_RELOADS", "50"))
    host.load_all([tree], None, ())
    await begin()

    async def reload_often(count: int, first: int) -> None:
        for number in range(first, first + count):
            host.deliver(kinds(2 * number))
            reload = asyncio.ensure_future(host.changes.reload("my"))
            await asyncio.sleep(0)
            host.deliver(kinds(2 * number + 1))
            await reload
        await settle()

    async def measure() -> tuple[int, int]:
        # Neither timers that were cancelled nor what the test keeps is the plugins'.
        await clock.advance(60.0)
        notes.clear()
        events.clear()
        gc.collect()
        return tracemalloc.get_traced_memory()[0], len(gc.get_objects())

    dispatcher.forget_first()
    tracemalloc.start()
    grown = []
    try:
        await reload_often(10, 0)
        for first in (10, 10 + rounds):
            before = await measure()
            await reload_often(rounds, first)
            got = [int(note[3:]) for note in notes if note.startswith("my.")]
            assert got == list(range(2 * first, 2 * (first + rounds)))
            after = await measure()
            grown.append((after[0] - before[0], after[1] - before[1]))
    finally:
        tracemalloc.stop()

    # A module, class or task that was kept would be several KB and dozens of objects a round,
    # each time. What a thread that another test left allocates meanwhile, comes once.
    assert min(size for size, _ in grown) < 30_000 + rounds * 200
    assert min(objects for _, objects in grown) < 100 + rounds
