"""What a node loads before it starts: its plugins, and what they preset of its configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from thenodes_plugin_api import ConfigDefaults, Plugin

from .config import Config, Settings, expand, validate, with_defaults
from .errors import PluginsRejected
from .plugins.cache import cache_directory
from .plugins.host import PluginHost
from .plugins.policy import GatePolicy, make_policy
from .relayed.plugin import check_relay, relay_plugins

__all__ = ["Prepared", "load_plugins"]


class Prepared(msgspec.Struct, frozen=True):
    """A node's configuration with its plugins' presets.

    Attributes:
        config: the values.
        capabilities: what its plugins advertise.
        unused: ids with a table `[plugin.<id>]` of which no plugin was loaded.
    """

    config: Config
    capabilities: tuple[str, ...]
    unused: Sequence[str]


def load_plugins(settings: Settings, embedded: Mapping[str, Plugin], host: PluginHost) -> Prepared:
    """Load all plugins that the settings name, and let them preset what nobody set.

    Args:
        settings: the node's.
        embedded: plugins of the embedding program, by id.
        host: takes them.

    Raises:
        PluginLoadError: an embedded plugin's id is not valid or taken.
        PluginsRejected: a plugin was rejected, and `plugins.strict` is set.
        StartError: what `[network.relay]` asks for is missing.
        StateDirError: `plugins.lock` cannot be read.
    """
    config = settings.config
    table, policy = config.plugins, _policy_of(config)
    host.load_embedded(embedded)
    host.load_all(
        [expand(path) for path in table.paths],
        _path(table.directory),
        table.installed,
        defaults=relay_plugins(config.network.relay),
        policy=policy(),
        config=config.plugin,
        origins=settings.origins,
        read_policy=policy,
    )
    _refuse_rejected(config, host)
    check_relay(config.network.relay, host)

    def preset(presets: Sequence[ConfigDefaults]) -> Config:
        return with_defaults(config, settings.given, presets, locked=settings.locked)

    presets = host.config_defaults(lambda one: validate(preset([one])))
    loaded = {plugin.id for plugin in host.status()}
    return Prepared(
        preset(presets),
        tuple(dict.fromkeys(c for one in presets for c in one.capabilities)),
        sorted(set(config.plugin) - loaded),
    )


def _policy_of(config: Config) -> Callable[[], GatePolicy]:
    state_dir = _path(config.node.state_dir)

    def read() -> GatePolicy:
        return make_policy(config.plugins, state_dir=state_dir, cache=cache_directory(state_dir))

    return read


def _refuse_rejected(config: Config, host: PluginHost) -> None:
    if host.rejected and config.plugins.strict:
        listed = "\n".join(str(verdict) for verdict in host.rejected)
        raise PluginsRejected(f"plugins.strict is set, and plugins were rejected:\n{listed}")


def _path(text: str | None) -> Path | None:
    return None if text is None else expand(text)
