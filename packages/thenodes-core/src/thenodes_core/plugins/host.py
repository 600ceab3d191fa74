"""All plugins of one node: loading, routing, status."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

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
from .claims import Claims, overlap
from .containment import CONTAINED
from .context import Context, Services
from .loader import Loaded, load
from .runtime import PluginRuntime, State
from .source import find_in_directory, find_installed, read_source

__all__ = ["PluginHost", "PluginShell", "PluginStatus"]

# Codes of the gates from here on are found only by running the plugin.
_FIRST_CODE_AFTER_IMPORT = "TN-P060"

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
        self._rejected: list[PluginStatus] = []
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
            self._add(Loaded(_embedded_manifest(plugin_id, plugin), plugin, EMBEDDED))

    def load_all(
        self, paths: Iterable[Path], directory: Path | None, installed: Iterable[str]
    ) -> None:
        """Find, check and load plugins, in the order of their ids; report each."""
        origins = [(str(path), path) for path in paths]
        for name in installed:
            try:
                origins.append((name, find_installed(name)))
            except PluginLoadError as error:
                self._reject(name, error)
        if directory is not None:
            try:
                origins += [(str(path), path) for path in find_in_directory(directory)]
            except PluginLoadError as error:
                self._reject(str(directory), error)
        sources = []
        for origin, path in origins:
            try:
                sources.append(read_source(path, origin=origin))
            except PluginLoadError as error:
                self._reject(origin, error)
        for source in sorted(sources, key=lambda source: source.manifest.plugin.id):
            try:
                self._check_free(source.manifest)
                self._add(load(source))
            except PluginLoadError as error:
                self._reject(source.origin, error, source.manifest)

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
            table = {**manifest.config.defaults, **config.get(plugin_id, {})}
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
        return [self._status_of(loaded) for loaded in self._loaded] + self._rejected

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
        self._check_free(loaded.manifest)
        self._loaded.append(loaded)
        plugin = loaded.manifest.plugin
        self._emit(
            plugin.id, "loaded", f"🔌 Loaded plugin: {plugin.id} {plugin.version} ({loaded.origin})"
        )

    def _check_free(self, manifest: Manifest) -> None:
        prefix = manifest.prompt.prefix
        if prefix in self._reserved:
            raise PluginLoadError("TN-P030", f"the prompt prefix {prefix!r} is the node's own")
        for other in (loaded.manifest for loaded in self._loaded):
            if other.plugin.id == manifest.plugin.id:
                raise PluginLoadError("TN-P030", f"the id {other.plugin.id!r} is taken")
            if prefix is not None and other.prompt.prefix == prefix:
                raise PluginLoadError(
                    "TN-P030", f"the prompt prefix {prefix!r} is taken by {other.plugin.id}"
                )
            for claim in manifest.messages.handles:
                if any(overlap(claim, taken) for taken in other.messages.handles):
                    raise PluginLoadError(
                        "TN-P030", f"the message claim {claim!r} is taken by {other.plugin.id}"
                    )

    def _reject(
        self, origin: str, error: PluginLoadError, manifest: Manifest | None = None
    ) -> None:
        plugin_id = manifest.plugin.id if manifest else origin
        version = manifest.plugin.version if manifest else ""
        self._rejected.append(
            PluginStatus(plugin_id, version, "rejected", origin, detail=str(error))
        )
        self._counters.add("plugins_rejected", reason=error.code)
        where = f" ({origin})" if manifest else ""
        unrun = "; none of its code was run" if error.code < _FIRST_CODE_AFTER_IMPORT else ""
        self._emit(plugin_id, "rejected", f"rejected{where}: {error}{unrun}", Level.ERROR)

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
