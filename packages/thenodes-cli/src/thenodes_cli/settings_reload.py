"""What SIGHUP does: what a running node can take over is taken from the configuration again."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from thenodes_core import Config, ConfigError, Node, Settings
from thenodes_core.config import keys_and_values, validate
from thenodes_core.text import printable
from thenodes_plugin_api import Level, SystemEvent

from .settings.edit import same

__all__ = ["SettingsReload", "applied_and_kept"]

_POLICY = "encryption.trust_policy."
_APPLIED = (_POLICY, "bootstrap_nodes", "discovery.")
# Of these, what is fixed when a node starts: folders, what its handshakes ask for, and
# whether there is discovery.
_KEPT = (f"{_POLICY}paths.", f"{_POLICY}require_identity", "discovery.enabled")
_VALUE_CHARACTERS = 200


class SettingsReload:
    """Reads the settings of a running node again, and applies what can be applied.

    Args:
        node: the node.
        settings: what it was started with.
        source: people's name of the file, None where there is none.
        read: reads the settings.
    """

    def __init__(
        self, node: Node, settings: Settings, source: str | None, read: Callable[[], Settings]
    ) -> None:
        self._node = node
        self._started_with = settings.config
        self._config = settings.config
        self._source = source
        self._read = read

    def run(self) -> None:
        """Take over what can be, and the keys on disk; what cannot be used is told."""
        try:
            settings = self._read()
            config = settings.config
            validate(config, settings.origins)
            self._node.reload_trust(config.encryption.trust_policy)
            self._take_network(config)
        except ConfigError as error:
            text = f"nothing is reloaded, the node goes on as it was: {error}"
            self._tell("reload_failed", text, Level.ERROR)
            return
        applied, _ = applied_and_kept(self._config, settings.config)
        _, kept = applied_and_kept(self._started_with, settings.config)
        self._config = settings.config
        what = "; ".join(applied) or "nothing changed that applies at once"
        source = f"{self._source}: {what}; " if self._source else ""
        self._tell("reloaded", f"{source}the keys on disk are read again", Level.INFO)
        if kept:
            text = f"changed, but in use only after a restart: {', '.join(kept)}"
            self._tell("restart_needed", text, Level.WARNING)

    def _take_network(self, new: Config) -> None:
        """Take over what the operator changed; what plugins preset beside it stays."""
        old, in_use = self._config, self._node.config
        if (new.bootstrap_nodes, new.discovery) == (old.bootstrap_nodes, old.discovery):
            return
        preset = [text for text in in_use.bootstrap_nodes if text not in old.bootstrap_nodes]
        self._node.reload_network([*dict.fromkeys([*new.bootstrap_nodes, *preset])], new.discovery)

    def _tell(self, action: str, detail: str, level: Level) -> None:
        at = self._node.clock.time()
        event = SystemEvent(action=action, detail=detail, level=level, at=at)
        self._node.events.emit(event)


def applied_and_kept(old: Config, new: Config) -> tuple[Sequence[str], Sequence[str]]:
    """What differs: settings with their new value that a node takes over, keys that it does not."""
    before, after = _values(old), _values(new)
    applied, kept = [], []
    for key in sorted(before.keys() | after.keys()):
        if same(before.get(key), after.get(key)):
            continue
        if key.startswith(_APPLIED) and not key.startswith(_KEPT):
            value = json.dumps(after.get(key), ensure_ascii=False)
            applied.append(f"{key} = {printable(value, most=_VALUE_CHARACTERS)}")
        else:
            kept.append(key)
    return applied, kept


def _values(config: Config) -> dict[str, Any]:
    return dict(keys_and_values(msgspec.to_builtins(config)))
