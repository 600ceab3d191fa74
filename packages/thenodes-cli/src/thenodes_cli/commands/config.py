"""`thenodes config check` and `thenodes config show`."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec
import tomlkit
from tomlkit.items import Table

from thenodes_core.config import keys_and_values, read_file, settle, validate
from thenodes_core.text import printable

from ..output import emit
from .target import DEFAULTS, config_option, read_settings

__all__ = ["command"]

_DEFAULT = "default"
_TOML_TYPES = (datetime.datetime, datetime.date, datetime.time)


@click.group(
    epilog="""\b
Examples:
  thenodes config check node.toml
  thenodes config show --config node.toml --origin
  THENODES_PORT=50001 thenodes config show --json"""
)
def command() -> None:
    """Check a configuration file, or show what applies.

    Options win over environment variables, these over the file, the file over
    what plugins preset, and that over the defaults. THENODES_REALM__NAME sets
    realm.name; lists are separated by commas. THENODES_CONFIG names the file.
    """


@command.command(epilog="Example: thenodes config check node.toml")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(file: Path, as_json: bool) -> None:
    """Check a configuration file without starting anything.

    What is wrong is told with its key and the way out, and the exit code is 2.
    No plugin is loaded: tables of plugins are taken as they stand.
    """
    source = read_file(file)
    settings = settle([DEFAULTS, source])
    validate(settings.config, settings.origins)
    count = len(list(keys_and_values(source.table)))
    noun = "setting" if count == 1 else "settings"
    emit(f"{file}: fine, {count} {noun}", {"file": str(file), "settings": count}, as_json=as_json)


@command.command(
    epilog="\b\nExamples:\n  thenodes config show --origin\n  thenodes config show --config a.toml"
)
@config_option("A TOML file.")
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(config_file: Path | None, origin: bool, as_json: bool) -> None:
    """Show the settings that a node started now would have, as TOML.

    A setting without a value is shown as a comment. What plugins preset is not
    known before they are loaded, so it is not shown.
    """
    settings = read_settings(config_file, {})
    validate(settings.config, settings.origins)
    table = msgspec.to_builtins(settings.config, builtin_types=_TOML_TYPES)
    origins = settings.origins if origin else None
    document = tomlkit.document()
    _fill(document, table, "", origins)
    if as_json:
        emit("", _data(table, origins), as_json=True)
    else:
        click.echo(_escaped(tomlkit.dumps(document).rstrip()))


def _escaped(toml: str) -> str:
    """Escape what a terminal might obey; strings, which alone have it, mean the same."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\U{ord(c):08x}" for c in toml)


def _data(table: Mapping[str, Any], origins: Mapping[str, str] | None) -> object:
    if origins is None:
        return table
    return {
        key: {"value": value, "origin": origins.get(key, _DEFAULT)}
        for key, value in keys_and_values(table)
    }


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
