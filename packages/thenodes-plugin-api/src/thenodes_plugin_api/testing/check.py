"""What every host expects of a plugin, tried out in one call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from ..errors import ManifestError
from ..messages import (
    Body,
    DataRequest,
    DataResponse,
    Extension,
    Reason,
    RelayNotify,
    Text,
)
from ..payload import Payload, PayloadForm
from ..plugin import Plugin
from .errors import NonConformance, PromptFailed, RegistrationError
from .loading import Registered, embed, load_manifest, register
from .mesh import Mesh
from .mesh_node import MeshNode
from .records import Fault
from .running import State
from .wall import describe

__all__ = ["check_plugin"]

_LINES = ("no such command", "x" * 2000, "'unclosed", "\u00fc \u202e \x00")
_HELD_SECONDS = 2.0

# Ten faults within a minute end a plugin; with this between them it goes on.
_BETWEEN_FAULTS_SECONDS = 10.0


async def check_plugin(project: Path | str, *, config: Mapping[str, object] | None = None) -> None:
    """Do to a plugin what peers, operators and hosts do, and raise where it cannot take it.

    It is registered twice, started on two nodes, sent every kind that it gets with
    payloads of every form, such as a stranger may send, asked every command at the prompt
    and some that there are not, left by its peers, and stopped. Nothing of that may raise
    out of a hook (but PayloadError and SendError, out of `on_message`), hold the event loop
    for two seconds, or outlive the stop.

    ```python
    async def test_the_plugin_conforms() -> None:
        await check_plugin(__file__)
    ```

    Args:
        project: a file or folder of the plugin's project.
        config: the operator's `[plugin.<id>]`, where the defaults do not suffice.

    Raises:
        NonConformance: says all that was found.
    """
    try:
        manifest = load_manifest(project)
        plugins = [register(project) for _ in range(2)]
    except (ManifestError, RegistrationError) as error:
        raise NonConformance(str(project), [str(error)]) from error
    check = _Check(plugins, {manifest.plugin.id: config or {}})
    faults = await check.run()
    if faults:
        raise NonConformance(manifest.plugin.id, faults)


class _Stranger(Plugin):
    """A peer that says nothing by itself."""

    abi = 1


class _Check:
    def __init__(
        self, plugins: list[Registered], config: Mapping[str, Mapping[str, object]]
    ) -> None:
        self._plugins = plugins
        self._manifest = plugins[0].manifest
        self._config = config
        self._found: dict[str, str] = {}
        self._seen: list[Fault] = []
        self._longest = 0.0

    async def run(self) -> list[str]:
        if self._plugins[0].plugin is self._plugins[1].plugin:
            self._find("registers one object each time: two nodes in one process would share it")
            self._plugins.pop()
        watch = asyncio.create_task(self._watch())
        try:
            async with Mesh() as mesh:
                await self._run(mesh)
        except RegistrationError as error:
            self._find(str(error))
        finally:
            watch.cancel()
        if self._longest >= _HELD_SECONDS:
            self._find(
                f"held the event loop for {self._longest:.1f} s: "
                "use asyncio.to_thread for what takes long"
            )
        return [f"{fault} {when}".rstrip() for fault, when in self._found.items()]

    async def _run(self, mesh: Mesh) -> None:
        stranger = await mesh.add("stranger", embed("stranger", _Stranger()))
        nodes = [
            await mesh.add(f"node{number}", plugin, config=self._config)
            for number, plugin in enumerate(self._plugins, 1)
        ]
        await self._look(mesh, nodes, "at the start")
        node = nodes[0]
        if node.running[0].state is State.LOADED:
            self._find(
                "on_start waits for the clock: return, and use ctx.spawn for what takes long"
            )
            await mesh.advance(60.0)
        for body, payload, what in self._messages():
            await stranger.send(node.id, body, payload)
            await self._look(mesh, nodes, f"for {what}")
        for line in self._lines():
            await self._ask(mesh, node, line)
            await self._look(mesh, nodes, f"for the line {line[:40]!r}")
        await mesh.disconnect(stranger, node)
        await mesh.connect(stranger, node)
        await mesh.advance(60.0)
        await self._look(mesh, nodes, "in the minute after that")
        for part in nodes:
            await mesh.remove(part)
        await self._look(mesh, nodes, "at the stop")
        self._look_back(nodes)

    def _messages(self) -> Iterator[tuple[Body, Payload | None, str]]:
        kinds = [claim.replace("*", "check") for claim in self._manifest.messages.handles]
        bodies: list[tuple[Body, str]] = [
            (Text("check"), "TEXT"),
            (DataRequest(), "DATA_REQUEST"),
            (DataResponse(), "DATA_RESPONSE"),
            (RelayNotify(Reason.UNKNOWN), "RELAY_NOTIFY"),
        ]
        for kind in kinds:
            bodies.append((Extension(kind), kind))
            bodies.append((Extension(kind, request_id="check"), f"the question {kind}"))
        for body, name in bodies:
            for payload, form in _payloads():
                yield body, payload, f"{name} with {form}"

    def _lines(self) -> Iterator[str]:
        if self._manifest.prompt.prefix is None:
            return
        for command in self._manifest.prompt.commands:
            yield command.name
            yield f"{command.name} \u00fc 'unclosed"
        yield from _LINES

    async def _ask(self, mesh: Mesh, node: MeshNode, line: str) -> None:
        asking = asyncio.ensure_future(node.prompt(line))
        await mesh.settle()
        if not asking.done():
            # It may ask its peers first, and they need not answer.
            await mesh.advance(31.0)
        try:
            await asking
        except PromptFailed as error:
            if isinstance(error.__cause__, TimeoutError) and not node.faults:
                self._find(f"on_prompt did not answer {line[:40]!r} within 30 s")

    async def _look(self, mesh: Mesh, nodes: list[MeshNode], when: str) -> None:
        await mesh.settle()
        for fault in [f for node in nodes for f in node.faults]:
            if fault not in self._seen:
                self._seen.append(fault)
                told = f"{fault.where} raised {describe(fault.error)}"
                self._found.setdefault(told, when)
                await mesh.advance(_BETWEEN_FAULTS_SECONDS)

    def _look_back(self, nodes: list[MeshNode]) -> None:
        for node in nodes:
            for body in node.context().refused:
                self._find(f"sends {body.token}, which belongs to the node")
            for event in node.events:
                if getattr(event, "action", "") == "slow_stop":
                    self._find("on_stop does not return within half a second")

    async def _watch(self) -> None:
        """Note the longest time between two turns of the event loop; it keeps turning."""
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            self._longest, last = max(self._longest, now - last), now

    def _find(self, fault: str) -> None:
        self._found.setdefault(fault, "")


def _payloads() -> Iterator[tuple[Payload | None, str]]:
    yield None, "no payload"
    yield Payload.text(""), "an empty text"
    yield Payload(PayloadForm.TEXT, b"\xff"), "a text that is not UTF-8"
    yield Payload.binary(b"\x00\xff"), "a binary payload"
    for data in (b"null", b"[]", b"{}", b'"check"', b"-1", b"{", b"[" * 5000):
        yield Payload(PayloadForm.JSON, data), f"the JSON {data[:10].decode()}"
    for number in (2**64, 1e300):
        yield Payload(PayloadForm.JSON, msgspec.json.encode({"n": number})), f"the number {number}"
