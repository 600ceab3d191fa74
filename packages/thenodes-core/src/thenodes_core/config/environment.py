"""Settings from environment variables: `THENODES_REALM__NAME` is `realm.name`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from .parsing import parse_value, toml_or_text
from .sources import Source
from .tables import setting_types

__all__ = ["CONFIG_VARIABLE", "read_environment", "variable"]

_PREFIX = "THENODES_"
CONFIG_VARIABLE = "THENODES_CONFIG"
"""Names the configuration file of the command; not a setting itself."""


def variable(key: str) -> str:
    """The variable of a dotted key."""
    return _PREFIX + key.upper().replace(".", "__")


def read_environment(environ: Mapping[str, str]) -> Source:
    """Read every `THENODES_*` variable.

    Lists are separated by commas, or written as in TOML. `THENODES_PLUGIN__<ID>__<KEY>`
    sets a key of a plugin's table, as TOML or else as text.

    Args:
        environ: such as `os.environ`, which this library reads nowhere by itself.

    Raises:
        ConfigError: an unknown variable, or a value of the wrong type; names the variable.
    """
    types = {variable(key): (key, kind) for key, kind in setting_types() if key != "plugin"}
    table: dict[str, Any] = {}
    for name, text in sorted(environ.items()):
        if not name.startswith(_PREFIX) or name == CONFIG_VARIABLE:
            continue
        if name in types:
            key, kind = types[name]
            _put(table, key.split("."), _parsed(name, text, kind))
        elif (
            name.startswith(f"{_PREFIX}PLUGIN__") and len(names := _names(name)) > 2 and all(names)
        ):
            _put(table, names, toml_or_text(text))
        else:
            close = difflib.get_close_matches(name, [*types, CONFIG_VARIABLE], n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise ConfigError(f"environment: unknown variable {name}{hint}")
    return Source("environment", table)


def _names(variable_name: str) -> list[str]:
    return variable_name.removeprefix(_PREFIX).lower().split("__")


def _put(table: dict[str, Any], names: list[str], value: Any) -> None:
    *sections, name = names
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigError(f"environment: {variable('.'.join(names))} is below another value")
    table[name] = value


def _parsed(name: str, text: str, kind: Any) -> Any:
    try:
        return parse_value(text, kind)
    except ValueError as error:
        raise ConfigError(f"environment: {name}: {error}") from error
