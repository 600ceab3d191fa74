"""All plugins of one node: loading, routing, status."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import structs

from thenodes_plugin_api import (
    Body,
    ConfigDefaults,
    DataRequest,
    DataResponse,
    Extension,
    Level,
    Manifest,
    Message,
    MessagesSection,
    PeerJoined,
    PeerLeft,
    Plugin,
    PluginApiError,
    PluginEvent,
    PluginRegistrarApi,
    PluginSection,
    PromptCommand,
    PromptSection,
    RelayNotify,
    Text,
)

from ..errors import PluginLoadError
from ..events.counters import Counters
from ..events.dispatcher import Dispatcher
from .claims import Claims
from .containment import CONTAINED
from .context import Context, Services
from .find import candidates
from .gates import scan
from .loader import Loaded, load
from .names import Names
from .policy import GatePolicy
from .runtime import PluginRuntime, State
from .tables import make_table
from .verdict import Fault, Verdict

__all__ = ["PluginHost", "PluginShell", "PluginStatus"]

EMBEDDED = "embedded"
_FOR_ALL = frozenset({Text, DataRequest, DataResponse, RelayNotify})


class PluginStatus(msgspec.Struct, frozen=True):
    """What operators are told of a plugin.

    Attributes:
        id: from its manifest; of a rejected one, its source.
        version: from its manifest.
        state: `loaded`, `running`, `failed`, `stopped` or `rejected`.
        source: where it came from.
        prefix: the word that enters its shell.
        detail: why it was rejected or how often it failed.
    """

    id: str
    version: str
    state: str
    source: str
    prefix: str | None = None
    detail: str = ""


class PluginShell(msgspec.Struct, frozen=True):
    """A plugin's part of the prompt."""

    plugin_id: str
    prefix: str
    commands: tuple[PromptCommand, ...]
    runtime: PluginRuntime

    async def run(self, line: str) -> str | None:
        """Answer a line."""
        return await self.runtime.prompt(line)


class PluginHost:
    """Loads plugins and gives each what is for it; one bad plugin concerns no other.

    Args:
        events: told of loads, rejections and faults.
        counters: counts messages that nobody wants.
        reserved: words that no plugin may have as its prompt prefix.
    """

    def __init__(
        self, events: Dispatcher, counters: Counters, *, reserved: Iterable[str] = ()
    ) -> None:
        self._reserved = frozenset(reserved)
        self._events = events
        self._counters = counters
        self._loaded: list[Loaded] = []
        self._rejected: list[Verdict] = []
        self._runtimes: dict[str, PluginRuntime] = {}
        self._claims: Claims[PluginRuntime] = Claims()
        self._services: Services | None = None

    def load_embedded(self, plugins: Mapping[str, Plugin]) -> None:
        """Take plugins that the embedding program made; each claims `<id>.*`.

        Raises:
            PluginLoadError: an id is not valid, or given twice.
        """
        for plugin_id, plugin in sorted(plugins.items()):
            registered: list[Plugin] = []
            try:
                PluginRegistrarApi(registered.append).register_plugin(plugin)
            except PluginApiError as error:
                raise PluginLoadError(
                    "TN-P061", f"embedded plugin {plugin_id!r}: {error}"
                ) from error
            manifest = _embedded_manifest(plugin_id, plugin)
            for fault in Names(self._reserved, self._manifests()).manifest_faults(manifest):
                raise fault.error()
            self._add(Loaded(manifest, plugin, EMBEDDED))

    def load_all(
        self,
        paths: Iterable[Path],
        directory: Path | None,
        installed: Iterable[str],
        *,
        policy: GatePolicy | None = None,
        config: Mapping[str, Mapping[str, object]] | None = None,
        origins: Mapping[str, str] | None = None,
    ) -> None:
        """Find, check and load plugins, in the order of their ids; report each.

        Args:
            paths: wheels, source trees, or directories of both.
            directory: the plugins directory.
            installed: names of entry points.
            policy: what the gates measure them by, apart from what is taken already.
            config: `[plugin.<id>]`, by id.
            origins: where each dotted key has its value from, for errors.
        """
        policy = structs.replace(
            policy or GatePolicy(), reserved=self._reserved, taken=self._manifests()
        )
        found = scan(candidates(paths, directory, installed), policy)
        # Those that were accepted are the first of the verdicts, in the same order.
        for source, verdict in zip(found.accepted, found.verdicts, strict=False):
            try:
                loaded = load(source)
                _table_of(loaded, config or {}, origins)
            except PluginLoadError as error:
                self._reject(structs.replace(verdict, faults=(Fault.of(error),)))
                continue
            for warning in verdict.warnings:
                self._emit(source.manifest.plugin.id, "open_to_others", warning, Level.WARNING)
            self._add(loaded)
        for verdict in found.verdicts:
            if not verdict.accepted:
                self._reject(verdict)

    @property
    def rejected(self) -> Sequence[Verdict]:
        """What the gates, or its own first steps, kept out."""
        return self._rejected

    def config_defaults(self, check: Callable[[ConfigDefaults], None]) -> list[ConfigDefaults]:
        """Ask every plugin for its presets, in the order of their ids.

        Args:
            check: raises ConfigError for presets that cannot be used; such are
                reported and left out, all of that plugin's.
        """
        asked = []
        for loaded in self._loaded:
            plugin_id = loaded.manifest.plugin.id
            try:
                defaults = loaded.plugin.early_config_defaults()
                if defaults is None:
                    continue
                if not isinstance(defaults, ConfigDefaults):
                    raise TypeError(f"expected ConfigDefaults, got {type(defaults).__name__}")
                _check_advertised(defaults, loaded)
                check(defaults)
            except CONTAINED as error:
                self._emit(
                    plugin_id, "fault", f"early_config_defaults raised {error!r}", Level.ERROR
                )
                continue
            asked.append(defaults)
        return asked

    def prepare(
        self,
        services: Services,
        config: Mapping[str, Mapping[str, object]],
        data_dir: Callable[[str], Path],
    ) -> Sequence[PluginRuntime]:
        """Give every plugin its context; returns what is to be run."""
        self._services = services
        for loaded in self._loaded:
            manifest = loaded.manifest
            plugin_id = manifest.plugin.id
            table = _table_of(loaded, config)
            ctx = Context(plugin_id, table, data_dir(plugin_id), services)
            runtime = PluginRuntime(
                plugin_id, loaded.plugin, ctx, self._events, self._counters, services.clock
            )
            self._runtimes[plugin_id] = runtime
            for claim in manifest.messages.handles:
                self._claims.add(claim, runtime)
        return list(self._runtimes.values())

    async def wait_started(self) -> None:
        """Wait until every plugin's `on_start` has returned, or was given up on."""
        await asyncio.gather(*(runtime.wait_started() for runtime in self._runtimes.values()))

    def stop(self) -> None:
        """Ask every plugin to stop."""
        for runtime in self._runtimes.values():
            runtime.stop()

    def deliver(self, messages: Sequence[Message]) -> bool:
        """Give messages to the plugins they are for. True where an inbox is half full."""
        batches: dict[PluginRuntime, list[Message]] = {}
        targets: Sequence[list[Message]] = ()
        previous: Body | None = None
        for message in messages:
            body = message.body
            # Messages of one kind come in runs and share their decoded body.
            if body is not previous:
                previous = body
                targets = [batches.setdefault(r, []) for r in self._runtimes_for(message)]
            for batch in targets:
                batch.append(message)
            if not targets:
                previous = None
        crowded = [runtime.offer(batch) for runtime, batch in batches.items()]
        return any(crowded)

    def _runtimes_for(self, message: Message) -> Iterable[PluginRuntime]:
        body = message.body
        if type(body) is Extension:
            if body.reply_to is not None:
                self._answer(message)
                return ()
            runtime = self._claims.find(body.kind)
            if runtime is not None:
                return (runtime,)
            self._counters.add("messages_dropped", reason="unclaimed_kind")
        elif type(body) in _FOR_ALL:
            return self._runtimes.values()
        else:
            self._counters.add("messages_dropped", reason="not_handled")
        return ()

    def peer_changed(self, event: PeerJoined | PeerLeft) -> None:
        """Tell every plugin of a peer's coming or going."""
        if self._services is not None and isinstance(event, PeerLeft):
            self._services.questions.peer_gone(event.peer.node_id)
        for runtime in self._runtimes.values():
            runtime.offer([event])

    def shells(self) -> Iterator[PluginShell]:
        """Every plugin's part of the prompt."""
        for loaded in self._loaded:
            prompt = loaded.manifest.prompt
            runtime = self._runtimes.get(loaded.manifest.plugin.id)
            if prompt.prefix is not None and runtime is not None:
                yield PluginShell(runtime.plugin_id, prompt.prefix, prompt.commands, runtime)

    def status(self) -> list[PluginStatus]:
        """Every plugin, the rejected ones last."""
        rejected = [_rejected_status(verdict) for verdict in self._rejected]
        return [self._status_of(loaded) for loaded in self._loaded] + rejected

    def _status_of(self, loaded: Loaded) -> PluginStatus:
        plugin = loaded.manifest.plugin
        runtime = self._runtimes.get(plugin.id)
        faults = runtime.faults if runtime else 0
        return PluginStatus(
            id=plugin.id,
            version=plugin.version,
            state=runtime.state if runtime else State.LOADED,
            source=loaded.origin,
            prefix=loaded.manifest.prompt.prefix,
            detail=f"{faults} faults" if faults else "",
        )

    def _add(self, loaded: Loaded) -> None:
        self._loaded.append(loaded)
        plugin = loaded.manifest.plugin
        self._emit(
            plugin.id, "loaded", f"🔌 Loaded plugin: {plugin.id} {plugin.version} ({loaded.origin})"
        )

    def _manifests(self) -> list[Manifest]:
        return [loaded.manifest for loaded in self._loaded]

    def _reject(self, verdict: Verdict) -> None:
        self._rejected.append(verdict)
        for code in verdict.codes:
            self._counters.add("plugins_rejected", reason=code)
        self._emit(verdict.id or verdict.origin, "rejected", str(verdict), Level.ERROR)

    def _answer(self, message: Message) -> None:
        if self._services is None or not self._services.questions.answer(message):
            self._counters.add("messages_dropped", reason="unexpected_reply")

    def _emit(self, plugin_id: str, action: str, detail: str, level: Level = Level.INFO) -> None:
        self._events.emit(PluginEvent(plugin=plugin_id, action=action, detail=detail, level=level))


def _check_advertised(defaults: ConfigDefaults, loaded: Loaded) -> None:
    declared = loaded.manifest.network.advertises
    extra = [name for name in defaults.capabilities if name not in declared]
    if extra and loaded.origin != EMBEDDED:
        raise ValueError(f"capabilities {extra} are not in the manifest's [network] advertises")


def _table_of(
    loaded: Loaded,
    config: Mapping[str, Mapping[str, object]],
    origins: Mapping[str, str] | None = None,
) -> dict[str, object]:
    plugin_id = loaded.manifest.plugin.id
    defaults = loaded.manifest.config.defaults
    given = config.get(plugin_id, {})
    return make_table(plugin_id, defaults, given, loaded.plugin.config_type, origins=origins)


def _rejected_status(verdict: Verdict) -> PluginStatus:
    return PluginStatus(
        id=verdict.id or verdict.origin,
        version=verdict.version or "",
        state="rejected",
        source=verdict.origin,
        detail="; ".join(str(fault) for fault in verdict.faults),
    )


def _embedded_manifest(plugin_id: str, plugin: Plugin) -> Manifest:
    manifest = Manifest(
        manifest=1,
        plugin=PluginSection(
            id=plugin_id, version="embedded", entry="embedded:plugin", abi=plugin.abi
        ),
        prompt=PromptSection(prefix=plugin.prompt_prefix),
        messages=MessagesSection(handles=(f"{plugin_id}.*",)),
    )
    try:
        return msgspec.convert(msgspec.to_builtins(manifest), Manifest)
    except msgspec.ValidationError as error:
        raise PluginLoadError("TN-P010", f"embedded plugin {plugin_id!r}: {error}") from error
