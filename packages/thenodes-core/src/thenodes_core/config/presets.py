"""What plugins preset, where nobody set anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import structs

from thenodes_plugin_api import Capabilities, ConfigDefaults

from ..address import parse_address
from ..errors import ConfigError
from .checks import check_table, validate
from .sources import keys_and_values
from .tables import Config

__all__ = ["with_defaults"]


def with_defaults(
    config: Config,
    given: Iterable[str],
    plugin_defaults: Sequence[ConfigDefaults],
    *,
    locked: Iterable[str] = (),
) -> Config:
    """Fill what nobody set from what plugins preset; the first plugin that does wins.

    `bootstrap_nodes_extend` is added to whatever list applies, unless that is fixed.

    Args:
        config: what is set so far.
        given: the dotted keys that somebody set.
        plugin_defaults: the presets, in the order of the plugins' ids.
        locked: the dotted keys that the embedding program fixes.

    Raises:
        ConfigError: a plugin presets a value that is not allowed.
    """
    given = frozenset(given)
    presets: dict[str, Any] = {}
    for defaults in plugin_defaults:
        _check(defaults)
        for key, value in keys_and_values(_drop_none(msgspec.to_builtins(defaults))):
            if key not in ("bootstrap_nodes_extend", "capabilities") and key not in given:
                presets.setdefault(key, tuple(value) if isinstance(value, list) else value)
    for key, value in presets.items():
        section, _, name = key.rpartition(".")
        if section:
            value = structs.replace(getattr(config, section), **{name: value})
        config = structs.replace(config, **{section or name: value})
    if "bootstrap_nodes" in locked:
        return config
    extra = [node for defaults in plugin_defaults for node in defaults.bootstrap_nodes_extend]
    nodes = tuple(dict.fromkeys([*config.bootstrap_nodes, *extra]))
    return structs.replace(config, bootstrap_nodes=nodes)


def _check(defaults: ConfigDefaults) -> None:
    table = _drop_none(msgspec.to_builtins(defaults))
    capabilities = table.pop("capabilities", ())
    extra = table.pop("bootstrap_nodes_extend", ())
    validate(check_table(table, "presets of a plugin"))
    try:
        msgspec.convert(capabilities, Capabilities)
        for address in extra:
            parse_address(address)
    except (msgspec.ValidationError, ValueError) as error:
        raise ConfigError(f"presets of a plugin: {error}") from error


def _drop_none(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _drop_none(value) if isinstance(value, Mapping) else value
        for key, value in table.items()
        if value is not None
    }
