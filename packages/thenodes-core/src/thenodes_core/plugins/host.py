"""All plugins of one node: loading, routing, status."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import structs

from thenodes_plugin_api import (
    ConfigDefaults,
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
    PromptSection,
)

from ..errors import PluginLoadError
from ..events.counters import Counters
from ..events.dispatcher import Dispatcher
from .containment import CONTAINED, describe
from .context import Context, Services
from .find import candidates
from .gates import Scan, scan
from .hook_times import HookTimes
from .inbox import Inbox
from .listing import PluginShell, PluginStatus, rejected_status, status_of
from .loader import Loaded, load
from .names import Names
from .policy import GatePolicy
from .reload import PluginChanges
from .roster import Roster
from .runtime import PluginRuntime, State
from .slot import Slot, Supervise
from .source import Source
from .tables import make_table
from .tracked import Tracked
from .verdict import Fault, Verdict

__all__ = ["PluginHost", "PluginShell", "PluginStatus"]

EMBEDDED = "embedded"


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
        self._sources: dict[str, Source] = {}
        self._capabilities: dict[str, tuple[str, ...]] = {}
        self._config: Mapping[str, Mapping[str, object]] = {}
        self._origins: Mapping[str, str] | None = None
        self._rescan: Callable[[Sequence[Manifest]], Scan] = _nothing
        self._data_dir: Callable[[str], Path]
        self._services: Services
        self._roster = Roster(events, counters)
        self._changes = PluginChanges(self._roster, self._reread, self._load, self._advertised)

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
        defaults: Iterable[str] = (),
        policy: GatePolicy | None = None,
        config: Mapping[str, Mapping[str, object]] | None = None,
        origins: Mapping[str, str] | None = None,
        read_policy: Callable[[], GatePolicy] | None = None,
    ) -> None:
        """Find, check and load plugins, in the order of their ids; report each.

        Args:
            paths: wheels, source trees, or directories of both.
            directory: the plugins directory.
            installed: names of entry points.
            defaults: names of entry points that are loaded too, where no other plugin
                has their id.
            policy: what the gates measure them by, apart from what is taken already.
            config: `[plugin.<id>]`, by id.
            origins: where each dotted key has its value from, for errors.
            read_policy: reads the policy again when a plugin is loaded anew.
        """
        first = policy or GatePolicy()
        self._config, self._origins = config or {}, origins
        embedded = {loaded.manifest.plugin.id for loaded in self._loaded}
        defaults = [name for name in defaults if name not in embedded]
        where = tuple(paths), directory, tuple(installed), defaults

        def judge(policy: GatePolicy, taken: Sequence[Manifest]) -> Scan:
            policy = structs.replace(policy, reserved=self._reserved, taken=taken)
            return scan(candidates(*where), policy)

        self._rescan = lambda taken: judge(read_policy() if read_policy else first, taken)
        found = judge(first, self._manifests())
        # Those that were accepted are the first of the verdicts, in the same order.
        for source, verdict in zip(found.accepted, found.verdicts, strict=False):
            try:
                loaded = self._load(source)
            except PluginLoadError as error:
                self._reject(structs.replace(verdict, faults=(Fault.of(error),)))
                continue
            for warning in verdict.warnings:
                self._emit(source.manifest.plugin.id, "open_to_others", warning, Level.WARNING)
            self._sources[source.manifest.plugin.id] = source
            self._add(loaded)
        for verdict in found.verdicts:
            if not verdict.accepted:
                self._reject(verdict)

    @property
    def rejected(self) -> Sequence[Verdict]:
        """What the gates, or its own first steps, kept out."""
        return self._rejected

    def serves(self, table: str) -> bool:
        """Whether a service was loaded that is given that table of the configuration."""
        services = [loaded.manifest.service for loaded in self._loaded]
        return any(service is not None and service.table == table for service in services)

    def config_defaults(self, check: Callable[[ConfigDefaults], None]) -> list[ConfigDefaults]:
        """Ask every plugin for its presets, in the order of their ids.

        Args:
            check: raises ConfigError for presets that cannot be used; such are
                reported and left out, all of that plugin's.
        """
        asked = []
        for loaded in self._loaded:
            defaults = self._presets(loaded, check)
            if defaults is not None:
                asked.append(defaults)
                self._capabilities[loaded.manifest.plugin.id] = defaults.capabilities
        return asked

    def _presets(
        self, loaded: Loaded, check: Callable[[ConfigDefaults], None]
    ) -> ConfigDefaults | None:
        try:
            defaults = loaded.plugin.early_config_defaults()
            if defaults is None:
                return None
            if not isinstance(defaults, ConfigDefaults):
                raise TypeError(f"expected ConfigDefaults, got {type(defaults).__name__}")
            _check_advertised(defaults, loaded)
            check(defaults)
            return defaults
        except CONTAINED as error:
            plugin_id = loaded.manifest.plugin.id
            told = f"early_config_defaults raised {describe(error)}"
            self._emit(plugin_id, "fault", told, Level.ERROR)
            return None

    def prepare(
        self,
        services: Services,
        config: Mapping[str, Mapping[str, object]],
        data_dir: Callable[[str], Path],
    ) -> Sequence[PluginRuntime]:
        """Give every plugin its context; returns what `run` will run."""
        self._services, self._config, self._data_dir = services, config, data_dir
        for loaded in self._loaded:
            plugin_id = loaded.manifest.plugin.id
            slot = Slot(loaded, self._sources.get(plugin_id), self._make, services.clock)
            slot.capabilities = self._capabilities.get(plugin_id, ())
            self._roster.add(slot)
        self._changes.hold_modules()
        return [slot.runtime for slot in self._roster]

    def _make(self, loaded: Loaded, inbox: Inbox, hook_times: HookTimes) -> PluginRuntime:
        plugin_id, services = loaded.manifest.plugin.id, self._services
        ctx = Context(
            plugin_id,
            _table_of(loaded, self._config),
            self._data_dir(plugin_id),
            services,
            manifest=loaded.manifest,
            changed=self._roster.changed,
        )
        return PluginRuntime(
            plugin_id,
            loaded.plugin,
            ctx,
            self._events,
            self._counters,
            services.clock,
            inbox=inbox,
            hook_times=hook_times,
            on_change=self._roster.changed,
        )

    @property
    def roster(self) -> Roster:
        """The plugins that were loaded, as they run."""
        return self._roster

    @property
    def changes(self) -> PluginChanges:
        """Reloads, enables and disables them."""
        return self._changes

    def run(self, supervise: Supervise) -> None:
        """Begin to run every plugin.

        Args:
            supervise: reports a defect of ours that ends one.
        """
        self._roster.run(supervise)

    async def wait_started(self) -> None:
        """Wait until every plugin's `on_start` has returned, or was given up on."""
        await asyncio.gather(*(slot.runtime.wait_started() for slot in self._roster))

    def stop(self) -> None:
        """Ask every plugin to stop."""
        self._changes.close()
        for slot in self._roster:
            slot.runtime.stop()

    def deliver(self, messages: Sequence[Message]) -> bool:
        """Give messages to the plugins they are for; see `Roster.deliver`."""
        return self._roster.deliver(messages, self._services.questions)

    def deliver_tracked(self, items: Sequence[Tracked]) -> bool:
        """As `deliver`, of messages whose fate somebody wants to know."""
        return self._roster.deliver_tracked(items, self._services.questions)

    def peer_changed(self, event: PeerJoined | PeerLeft) -> None:
        """Tell every plugin of a peer's coming or going."""
        if isinstance(event, PeerLeft):
            self._services.questions.peer_gone(event.peer.node_id)
        self._roster.offer_all([event])

    def shells(self) -> Iterator[PluginShell]:
        """Every plugin's part of the prompt."""
        for slot in self._roster:
            prompt = slot.loaded.manifest.prompt
            if prompt.prefix is not None:
                yield PluginShell(slot.plugin_id, prompt.prefix, prompt.commands, slot)

    def status(self) -> list[PluginStatus]:
        """Every plugin, the rejected ones last."""
        rejected = [rejected_status(verdict) for verdict in self._rejected]
        if self._loaded and not list(self._roster):
            return [_status_before(loaded) for loaded in self._loaded] + rejected
        return [status_of(slot) for slot in self._roster] + rejected

    def _load(self, source: Source) -> Loaded:
        loaded = load(source)
        _table_of(loaded, self._config, self._origins)
        return loaded

    def _reread(self, source: Source) -> Source:
        """Judge a plugin again, wherever the operator has put it now."""
        plugin_id = source.manifest.plugin.id
        loaded = [slot.loaded.manifest for slot in self._roster]
        found = self._rescan([m for m in loaded if m.plugin.id != plugin_id])
        for accepted in found.accepted:
            if accepted.manifest.plugin.id == plugin_id:
                return accepted
        for verdict in found.verdicts:
            if verdict.id == plugin_id or verdict.origin == source.origin:
                raise verdict.faults[0].error()
        raise PluginLoadError(
            "TN-P010",
            f"{plugin_id} is no longer where plugins are looked for",
            expected=f"a plugin of that id, as there was in {source.origin}",
            fix="put it back, or restart the node without it",
        )

    def _advertised(self, loaded: Loaded) -> tuple[str, ...]:
        defaults = self._presets(loaded, lambda _: None)
        return () if defaults is None else defaults.capabilities

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


def _status_before(loaded: Loaded) -> PluginStatus:
    """How a plugin stands before it is given its place."""
    plugin = loaded.manifest.plugin
    return PluginStatus(
        plugin.id,
        plugin.version,
        State.LOADED,
        loaded.origin,
        loaded.manifest.prompt.prefix,
        abi=plugin.abi,
        abi_revision=plugin.abi_revision,
    )


def _nothing(taken: Sequence[Manifest]) -> Scan:
    return scan((), GatePolicy())


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
