"""A plugin's own table of the configuration: its defaults, the operator's values, its types."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

import msgspec

from ..errors import PluginLoadError

__all__ = ["make_table"]

_AT = re.compile(r" - at `\$\.?(.*)`$")


class _Unfit(Exception):
    """A value that the plugin's table cannot have."""

    def __init__(self, key: str, expected: str, got: str) -> None:
        super().__init__(key)
        self.key = key
        self.expected = expected
        self.got = got


def make_table(
    plugin_id: str,
    defaults: Mapping[str, object],
    given: Mapping[str, object],
    config_type: type[msgspec.Struct] | None,
    *,
    origins: Mapping[str, str] | None = None,
) -> dict[str, object]:
    """The table that a plugin gets: the operator's values over its defaults.

    Typed by `config_type`, else by the types of the defaults; a plugin that has neither
    takes every table.

    Args:
        plugin_id: whose it is.
        defaults: from its manifest.
        given: `[plugin.<id>]`.
        config_type: from its class.
        origins: where each dotted key has its value from, for the error.

    Raises:
        PluginLoadError: TN-P061: a key is unknown, or a value of another type.
    """
    key = f"plugin.{plugin_id}"
    try:
        if config_type is not None:
            return _convert({**defaults, **given}, config_type, key)
        return _merge(defaults, given, key) if defaults else dict(given)
    except _Unfit as error:
        origin = _origin(error.key, origins or {})
        raise PluginLoadError(
            "TN-P061",
            f"{origin}{error.key}: got {error.got}",
            expected=error.expected,
            fix="mend the node's configuration",
        ) from error


def _convert(
    table: dict[str, object], config_type: type[msgspec.Struct], key: str
) -> dict[str, object]:
    known = [field.encode_name for field in msgspec.structs.fields(config_type)]
    for name in table:
        if name not in known:
            raise _unknown(key, name, known)
    try:
        settled = msgspec.convert(table, config_type)
    except msgspec.ValidationError as error:
        text = str(error)
        at = _AT.search(text)
        name, told = (f"{key}.{at[1]}", text[: at.start()]) if at else (key, text)
        raise _Unfit(name, "what the plugin's config_type says", told) from error
    return {
        field.encode_name: getattr(settled, field.name)
        for field in msgspec.structs.fields(config_type)
    }


def _merge(
    defaults: Mapping[str, object], given: Mapping[str, object], key: str
) -> dict[str, object]:
    merged = dict(defaults)
    for name, value in given.items():
        if name not in defaults:
            raise _unknown(key, name, list(defaults))
        merged[name] = _settle(defaults[name], value, f"{key}.{name}")
    return merged


def _settle(default: object, value: object, key: str) -> object:
    if isinstance(default, dict):
        if not isinstance(value, Mapping):
            raise _wrong_type(key, default, value)
        return _merge(default, value, key) if default else dict(value)
    if type(default) is float and type(value) is int:
        return float(value)
    if type(value) is not type(default):
        raise _wrong_type(key, default, value)
    if isinstance(default, list) and isinstance(value, list):
        kinds = {type(item) for item in default}
        for number, item in enumerate(value if len(kinds) == 1 else ()):
            _settle(default[0], item, f"{key}[{number}]")
    return value


def _wrong_type(key: str, default: object, value: object) -> _Unfit:
    expected = f"{_NAMES.get(type(default), type(default).__name__)}, such as {default!r}"
    got = f"{_NAMES.get(type(value), type(value).__name__)}, {value!r}"
    return _Unfit(key, expected, got)


def _unknown(key: str, name: str, known: list[str]) -> _Unfit:
    close = difflib.get_close_matches(name, known, n=1)
    expected = f"{key}.{close[0]}" if close else f"one of {', '.join(known)}"
    return _Unfit(f"{key}.{name}", expected, "an unknown key")


def _origin(key: str, origins: Mapping[str, str]) -> str:
    """Where a key, or the table around it, has its value from."""
    while key:
        if key in origins:
            return f"{origins[key]}: "
        key = key.rpartition(".")[0]
    return ""


_NAMES: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "a table",
}
