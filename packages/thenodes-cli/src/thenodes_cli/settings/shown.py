"""Settings as people and machines are shown them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import msgspec
import tomlkit
from tomlkit.items import Table

from thenodes_core import Config, ConfigError
from thenodes_core.config import keys_and_values
from thenodes_core.config.checks import nearest_key
from thenodes_core.text import printable

__all__ = ["as_data", "as_toml", "escaped", "unknown", "value_at", "value_text", "values_of"]

_DEFAULT = "default"
_TOML_TYPES = (datetime.datetime, datetime.date, datetime.time)


def values_of(config: Config) -> dict[str, Any]:
    """All settings, nested like the file."""
    values: dict[str, Any] = msgspec.to_builtins(config, builtin_types=_TOML_TYPES)
    return values


def value_at(table: Mapping[str, Any], key: str) -> Any:
    """One setting, or a table of them, by its dotted key.

    Raises:
        ConfigError: there is none; names the nearest.
    """
    value: Any = table
    for word in key.split("."):
        if not isinstance(value, Mapping) or word not in value:
            raise unknown(key)
        value = value[word]
    return value


def unknown(key: str) -> ConfigError:
    """The error for a key that there is not."""
    if key.startswith("plugin."):
        return ConfigError(f"{key} is not set; what may be is in the plugin's manifest")
    if not key:
        return ConfigError(f"expected a key, got an empty one{nearest_key(key)}")
    return ConfigError(f"unknown key {printable(key, most=200)}{nearest_key(key)}")


def value_text(value: Any) -> str:
    """A value as TOML writes it; nothing where it is not set."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return as_toml(value, None)
    return escaped(tomlkit.item(value).as_string())


def as_toml(table: Mapping[str, Any], origins: Mapping[str, str] | None) -> str:
    """Nested settings as TOML; what is not set is a comment, as where each comes from is."""
    document = tomlkit.document()
    _fill(document, table, "", origins)
    return escaped(tomlkit.dumps(document).rstrip())


def as_data(table: Mapping[str, Any], origins: Mapping[str, str] | None) -> object:
    """The same for machines."""
    if origins is None:
        return table
    return {
        key: {"value": value, "origin": origins.get(key, _DEFAULT)}
        for key, value in keys_and_values(table)
    }


def escaped(toml: str) -> str:
    """Escape what a terminal might obey; strings, which alone have it, mean the same."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\U{ord(c):08x}" for c in toml)


def _fill(
    container: tomlkit.TOMLDocument | Table,
    table: Mapping[str, Any],
    prefix: str,
    origins: Mapping[str, str] | None,
) -> None:
    tables = {name: value for name, value in table.items() if isinstance(value, Mapping)}
    for name, value in table.items():
        if name in tables:
            continue
        origin = "" if origins is None else origins.get(prefix + name, _DEFAULT)
        if value is None:
            container.add(tomlkit.comment(f"{name} =" + (f"  # {origin}" if origin else "")))
        else:
            item = tomlkit.item(value)
            container.add(name, item.comment(printable(origin)) if origin else item)
    for name, value in tables.items():
        inner = tomlkit.table()
        _fill(inner, value, f"{prefix}{name}.", origins)
        container.add(name, inner)
