"""Configuration files, plugins on disk, and what surrounds a running plugin."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import random
import sys
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from thenodes_core.clock import ManualClock, settle
from thenodes_core.events.counters import Counters
from thenodes_core.events.dispatcher import Dispatcher
from thenodes_core.peers.store import KnownPeers
from thenodes_core.plugins.context import Context, Services
from thenodes_core.plugins.host import PluginHost
from thenodes_core.plugins.questions import Questions
from thenodes_core.plugins.runtime import PluginRuntime
from thenodes_plugin_api import (
    Body,
    Event,
    NotConnected,
    OutboxFull,
    Payload,
    PeerInfo,
    Plugin,
    Realm,
)

Sent = list[tuple[str, Body, Payload | None]]

MakeWheel = Callable[..., Path]
WriteWheel = Callable[[Path, Mapping[str, bytes]], Path]

_numbers = itertools.count()


class Network:
    """Remembers what was sent; `nobody` is not connected, and `full` takes nothing."""

    def __init__(self, sent: Sent) -> None:
        self._sent = sent

    def all(self) -> Sequence[PeerInfo]:
        return []

    def get(self, node_id: str) -> PeerInfo | None:
        return None

    async def send(
        self, to: str, body: Body, payload: Payload | None = None, *, timeout_seconds: float = 5.0
    ) -> None:
        if to == "nobody":
            raise NotConnected("no session with nobody")
        if to == "full":
            raise OutboxFull("full takes nothing")
        self._sent.append((to, body, payload))

    def broadcast(self, body: Body, payload: Payload | None = None) -> int:
        self._sent.append(("*", body, payload))
        return 1


class Sink:
    """Keeps events."""

    def __init__(self, events: list[Event]) -> None:
        self._events = events

    async def handle(self, event: Event) -> None:
        self._events.append(event)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a configuration file and returns its path."""

    def write(text: str) -> Path:
        path = tmp_path / "node.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def events() -> list[Event]:
    """Every event so far."""
    return []


@pytest.fixture
async def dispatcher(counters: Counters, events: list[Event]) -> AsyncIterator[Dispatcher]:
    """Fills `events`."""
    async with Dispatcher(counters) as dispatcher:
        dispatcher.add_sink(Sink(events))
        yield dispatcher


@pytest.fixture
def sent() -> Sent:
    """What plugins sent: to whom (`*` for all), body and payload."""
    return []


@pytest.fixture
def services(clock: ManualClock, dispatcher: Dispatcher, sent: Sent) -> Services:
    return Services(
        node_id="here",
        realm=Realm(),
        clock=clock,
        network=Network(sent),
        peer_store=KnownPeers(clock),
        events=dispatcher,
        questions=Questions(random.Random(0).randbytes),
    )


@pytest.fixture
async def run() -> AsyncIterator[Callable[[PluginRuntime], asyncio.Task[None]]]:
    """Runs a plugin in the background until the test ends."""
    tasks: list[asyncio.Task[None]] = []

    def run(runtime: PluginRuntime) -> asyncio.Task[None]:
        tasks.append(asyncio.get_running_loop().create_task(runtime.run()))
        return tasks[-1]

    yield run
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def start(
    services: Services,
    counters: Counters,
    tmp_path: Path,
    run: Callable[[PluginRuntime], asyncio.Task[None]],
) -> Callable[..., object]:
    """Starts one plugin: `await start(plugin, plugin_id="my")` returns its runtime."""

    async def start(plugin: Plugin, plugin_id: str = "my") -> PluginRuntime:
        ctx = Context(plugin_id, {}, tmp_path, services)
        runtime = PluginRuntime(plugin_id, plugin, ctx, services.events, counters, services.clock)
        run(runtime)
        await settle()
        return runtime

    return start


@pytest.fixture
def host(dispatcher: Dispatcher, counters: Counters) -> PluginHost:
    return PluginHost(dispatcher, counters)


@pytest.fixture
def write_plugin(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Writes a plugin's source tree and returns its folder.

    `write_plugin("my", code=…, extra=…)`: `code` comes before the class, `body`
    into it, `register` instead of the registration; `{package}` in `entry`
    stands for the import package, whose name no other test uses.
    """
    packages: list[str] = []

    def write_plugin(
        plugin_id: str = "my",
        *,
        code: str = "",
        body: str = "abi = 1",
        register: str = "api.register_plugin(Made())",
        abi: str = "1",
        entry: str = "{package}:register_plugin",
        extra: str = "",
        package: str | None = None,
        under: Path | None = None,
    ) -> Path:
        package = package or f"thenodes_test_{next(_numbers)}"
        packages.append(package)
        tree = (under or tmp_path / "trees") / plugin_id
        folder = tree / "src" / package
        folder.mkdir(parents=True)
        (folder / "thenodes-plugin.toml").write_text(
            f'manifest = 1\n[plugin]\nid = "{plugin_id}"\nversion = "0.1.0"\n'
            f'entry = "{entry.format(package=package)}"\nabi = {abi}\n{extra}\n'
        )
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        (folder / "__init__.py").write_text(
            f"from thenodes_plugin_api import *\n{code}\n"
            f"class Made(Plugin):\n{lines}\n"
            f"def register_plugin(api):\n    {register}\n"
        )
        return tree

    yield write_plugin
    for name in list(sys.modules):
        if name.partition(".")[0] in packages:
            del sys.modules[name]


def record(files: Mapping[str, bytes], name: str) -> bytes:
    """RECORD of these files."""
    rows = []
    for file, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{file},sha256={digest},{len(content)}\n")
    return "".join([*rows, f"{name},,\n"]).encode()


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """What the body of every module that `make_wheel` writes creates when it runs."""
    return tmp_path / "canary"


@pytest.fixture
def write_wheel() -> WriteWheel:
    """Writes a wheel of exactly these members, in this order."""

    def write_wheel(path: Path, files: Mapping[str, bytes]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        path.chmod(0o644)
        return path

    return write_wheel


@pytest.fixture
def make_wheel(tmp_path: Path, canary: Path, write_wheel: WriteWheel) -> Iterator[MakeWheel]:
    """Writes the wheel of a plugin and returns its path.

    `change` gets the wheel's files by name before RECORD is made of them, `spoil` after;
    both may change them in place.
    """
    packages: list[str] = []

    def make_wheel(
        plugin_id: str = "my",
        *,
        version: str = "0.1.0",
        package: str | None = None,
        code: str = "",
        body: str = "abi = 1",
        abi: str = "1",
        extra: str = "",
        requires: tuple[str, ...] = ("thenodes-plugin-api>=1.0,<2",),
        requires_python: str = ">=3.11",
        tag: str = "py3-none-any",
        file_name: str | None = None,
        change: Callable[[dict[str, bytes]], object] | None = None,
        spoil: Callable[[dict[str, bytes]], object] | None = None,
        under: Path | None = None,
    ) -> Path:
        package = package or f"thenodes_wheel_{next(_numbers)}"
        packages.append(package)
        project = f"thenodes_{plugin_id}"
        info = f"{project}-{version}.dist-info"
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
        files = {
            f"{package}/__init__.py": (
                f"from thenodes_plugin_api import *\nopen({str(canary)!r}, 'w').close()\n{code}\n"
                f"class Made(Plugin):\n{lines}\n"
                "def register_plugin(api):\n    api.register_plugin(Made())\n"
            ).encode(),
            f"{package}/thenodes-plugin.toml": (
                f'manifest = 1\n[plugin]\nid = "{plugin_id}"\nversion = "{version}"\n'
                f'entry = "{package}:register_plugin"\nabi = {abi}\n{extra}\n'
            ).encode(),
            f"{info}/METADATA": (
                f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n"
                f"Requires-Python: {requires_python}\n{needs}\nA plugin.\n"
            ).encode(),
            f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
            f"{info}/entry_points.txt": (
                f"[thenodes.plugins]\n{plugin_id} = {package}:register_plugin\n"
            ).encode(),
        }
        if change is not None:
            change(files)
        files[f"{info}/RECORD"] = record(files, f"{info}/RECORD")
        if spoil is not None:
            spoil(files)
        name = file_name or f"{project}-{version}-{tag}.whl"
        return write_wheel((under or tmp_path / "wheels") / name, files)

    yield make_wheel
    for name in list(sys.modules):
        if name.partition(".")[0] in packages:
            del sys.modules[name]
