"""Where settings come from, which of them wins, and what an embedding program fixes."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from ..errors import ConfigError
from .checks import check_table
from .paths import anchor
from .tables import Config

__all__ = [
    "Locks",
    "Settings",
    "Source",
    "given_keys",
    "keys_and_values",
    "load_config",
    "make_config",
    "parse_file",
    "read_file",
    "settle",
]

LOCKED = "fixed by the program"


class Source(msgspec.Struct, frozen=True):
    """One place that settings come from.

    Attributes:
        name: for people: a file's path, `environment`, `options`.
        table: nested like the file.
    """

    name: str
    table: Mapping[str, Any]


class Locks(msgspec.Struct, frozen=True):
    """Settings that an embedding program fixes, over which no source wins.

    Attributes:
        values: nested like the file.
        override: what becomes of a source that sets one of them otherwise:
            an error, or with True a warning, and the program's value applies.
    """

    values: Mapping[str, Any]
    override: bool = False


class Settings(msgspec.Struct, frozen=True):
    """A configuration, and how it came about.

    Attributes:
        config: the values.
        origins: where each dotted key that somebody set has its value from.
        warnings: what was overridden, for people.
    """

    config: Config
    origins: Mapping[str, str]
    warnings: tuple[str, ...] = ()

    @property
    def given(self) -> frozenset[str]:
        """The dotted keys that somebody set."""
        return frozenset(self.origins)

    @property
    def locked(self) -> frozenset[str]:
        """The dotted keys that the embedding program fixes."""
        return frozenset(key for key, origin in self.origins.items() if origin == LOCKED)


def load_config(
    path: Path, overrides: Mapping[str, Any] | None = None, *, locks: Locks | None = None
) -> Settings:
    """Read a configuration file and lay `overrides` over it.

    Args:
        path: a TOML file; relative paths in it are relative to its folder.
        overrides: values from elsewhere, such as options: nested like the file.
        locks: what nobody may change.

    Raises:
        ConfigError: unreadable, not TOML, unknown keys, a value of the wrong
            type, or one that the program has fixed.
    """
    return settle([read_file(path), Source("configuration", overrides or {})], locks=locks)


def make_config(table: Mapping[str, Any], *, locks: Locks | None = None) -> Settings:
    """Make a configuration of nested tables.

    Raises:
        ConfigError: as `load_config`.
    """
    return settle([Source("configuration", table)], locks=locks)


def settle(sources: Iterable[Source], *, locks: Locks | None = None) -> Settings:
    """Lay sources over each other, the later ones over the earlier.

    Raises:
        ConfigError: as `load_config`; names the source.
    """
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    warnings: list[str] = []
    locks = locks or Locks({})
    for source in sources:
        check_table(source.table, source.name)
        for key, value, fixed in _breaches(source.table, locks.values):
            text = f"{source.name}: {key} = {value!r}, but this program fixes it to {fixed!r}"
            if not locks.override:
                raise ConfigError(f"{text}; remove it there")
            warnings.append(f"{text}, which applies")
        merged = _merge(merged, source.table)
        origins |= {key: source.name for key, _ in keys_and_values(source.table)}
    check_table(locks.values, LOCKED)
    merged = _merge(merged, locks.values)
    origins |= {key: LOCKED for key, _ in keys_and_values(locks.values)}
    config = check_table(merged, "configuration")
    applied = {key: origins[key] for key, _ in keys_and_values(merged)}
    return Settings(config, applied, tuple(warnings))


def read_file(path: Path) -> Source:
    """Read a TOML file; relative paths in it become relative to its folder.

    Raises:
        ConfigError: unreadable, not TOML, unknown keys, or a value of the wrong type.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            # A pipe that nobody writes to would be waited for.
            raise ConfigError(f"{path}: cannot be read: expected a regular file")
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    return parse_file(path, content)


def parse_file(path: Path, content: bytes) -> Source:
    """As `read_file`, of what a file would hold.

    Raises:
        ConfigError: as `read_file`, but that it is unreadable.
    """
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        # Also what tomllib raises for a number of 5000 digits, or for endless nesting.
        raise ConfigError(f"{path}: not TOML: {error}") from error
    check_table(table, str(path))
    try:
        anchor(table, path.absolute().parent)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return Source(str(path), table)


def given_keys(config: Config) -> frozenset[str]:
    """The dotted keys whose values differ from the library's defaults."""
    return frozenset(_differing(config, Config()))


def keys_and_values(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested tables with its dotted key."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from keys_and_values(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _breaches(
    given: Mapping[str, Any], fixed: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Every dotted key that is given otherwise than it is fixed, with both values."""
    for name, value in given.items():
        if name not in fixed:
            continue
        locked = fixed[name]
        if isinstance(value, Mapping) and isinstance(locked, Mapping):
            yield from _breaches(value, locked, f"{prefix}{name}.")
        elif _plain(value) != _plain(locked):
            yield f"{prefix}{name}", value, locked


def _plain(value: Any) -> Any:
    """A tuple and a list are the same setting."""
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _differing(one: msgspec.Struct, other: msgspec.Struct, prefix: str = "") -> Iterator[str]:
    for field in structs.fields(one):
        mine, default = getattr(one, field.name), getattr(other, field.name)
        if isinstance(mine, msgspec.Struct):
            yield from _differing(mine, default, f"{prefix}{field.name}.")
        elif mine != default:
            yield f"{prefix}{field.name}"
