"""`thenodes config`: makes, checks, shows and changes a configuration file."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from thenodes_core import ConfigError
from thenodes_core.config import (
    Settings,
    Source,
    keys_and_values,
    parse_file,
    read_file,
    settle,
    validate,
)

from ..nearest import NearestGroup
from ..output import emit, warn
from .target import DEFAULTS, config_option, read_settings

if TYPE_CHECKING:
    from ..settings.change import Change

__all__ = ["command"]

_AS_RELAY = ("network.relay.enabled=true", "network.relay.store_forward=true")
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(
    cls=NearestGroup,
    epilog="""\b
Examples:
  thenodes config init node.toml
  thenodes config set realm.name home --config node.toml
  thenodes config check node.toml
  thenodes config show --config node.toml --origin
  THENODES_PORT=50001 thenodes config show --json""",
)
def command() -> None:
    """Make, check and change a configuration file, or show what applies.

    Options win over environment variables, these over the file, the file over
    what plugins preset, and that over the defaults. THENODES_REALM__NAME sets
    realm.name; lists are separated by commas. THENODES_CONFIG names the file.
    """


@command.command(epilog="Example: thenodes config check node.toml")
@click.argument("file", type=_FILE)
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
    epilog="""\b
Examples:
  thenodes config init
  thenodes config init relay.toml --relay --set host=0.0.0.0"""
)
@click.argument("file", type=_FILE, default=Path("node.toml"))
@click.option("--force", is_flag=True, help="Replace the file where it is there already.")
@click.option("--relay", is_flag=True, help="Set what makes the node a relay that also stores.")
@click.option(
    "--set", "given", multiple=True, metavar="KEY=VALUE", help="Set this, too. Can be repeated."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def init(file: Path, force: bool, relay: bool, given: tuple[str, ...], as_json: bool) -> None:
    """Write a file with every table, and each setting explained.

    What nobody sets stands there as a comment, so that the file as it is written changes
    nothing. It is made 0600, and a file that is there stays as it is without --force.
    """
    # Imported here, as below: tomlkit takes 30 ms, which asking for help need not.
    from ..settings.file import create
    from ..settings.template import template

    text = _with_settings(file, template(), [*(_AS_RELAY if relay else ()), *given])
    create(file, text.encode(), force=force)
    start = f"thenodes run --config {shlex.quote(str(file))}"
    told = f"{file} is written; to start a node with it: {start}"
    emit(told, {"file": str(file)}, as_json=as_json)


def _with_settings(file: Path, text: str, given: Sequence[str]) -> str:
    from ..settings.change import parsed
    from ..settings.edit import NotEdited, with_value

    for setting in given:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set: expected KEY=VALUE, got {setting!r}")
        try:
            text = with_value(text, *parsed(key.strip(), value.strip()))
        except NotEdited as error:
            raise ConfigError(f"--set: {key.strip()} does not fit another --set") from error
    settings = settle([DEFAULTS, parse_file(file, text.encode())])
    validate(settings.config, settings.origins)
    return text


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
    from ..settings.shown import as_data, as_toml, values_of

    settings = read_settings(config_file, {})
    validate(settings.config, settings.origins)
    table = values_of(settings.config)
    origins = settings.origins if origin else None
    if as_json:
        emit("", as_data(table, origins), as_json=True)
    else:
        click.echo(as_toml(table, origins))


@command.command(epilog="Example: thenodes config get realm.name --config node.toml")
@click.argument("key")
@config_option("A TOML file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def get(key: str, config_file: Path | None, as_json: bool) -> None:
    """Show one setting, or one table, that a node started now would have.

    Nothing is printed where it has no value.
    """
    from ..settings.shown import value_at, value_text, values_of

    settings = read_settings(config_file, {})
    value = value_at(values_of(settings.config), key)
    data = {"key": key, "value": value, "origin": settings.origins.get(key, "default")}
    emit(value_text(value), data, as_json=as_json)


@command.command(
    "set",
    context_settings={"ignore_unknown_options": True},
    epilog="""\b
Examples:
  thenodes config set realm.name home --config node.toml
  thenodes config set bootstrap_nodes 10.0.0.1:50000,10.0.0.2:50000 --config node.toml
  thenodes config set plugin.kvstore.max_entries 500 --config node.toml""",
)
@click.argument("key")
@click.argument("value")
@config_option("The TOML file to change.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def set_(key: str, value: str, config_file: Path | None, as_json: bool) -> None:
    """Set one setting in a file; its comments, order and form stay.

    Lists are separated by commas, or written as in TOML. The file has to pass its checks
    with the new value, or it stays as it is. What a running node takes over is told.
    """
    from ..settings.change import set_value

    change = set_value(_file(config_file, f"set {key} VALUE"), key, value, _judge)
    _tell(change, as_json=as_json)


@command.command(epilog="Example: thenodes config unset realm.code --config node.toml")
@click.argument("key")
@config_option("The TOML file to change.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def unset(key: str, config_file: Path | None, as_json: bool) -> None:
    """Take one setting out of a file, so that its default applies again."""
    from ..settings.change import unset_value

    _tell(unset_value(_file(config_file, f"unset {key}"), key, _judge), as_json=as_json)


def _file(config_file: Path | None, words: str) -> Path:
    if config_file is None:
        raise ConfigError(
            "no file is named; make one with: thenodes config init node.toml, and then: "
            f"thenodes config {words} --config node.toml"
        )
    return config_file


def _judge(source: Source) -> Settings:
    # Only to tell what wins over the file: the environment here may not be the node's.
    try:
        return read_settings(None, {}, file=source)
    except ConfigError as error:
        warn(str(error))
        return settle([DEFAULTS, source])


def _tell(change: Change, *, as_json: bool) -> None:
    lines = [change.text]
    if change.applied:
        lines.append("a running node takes it over with kill -HUP")
    if change.restart:
        lines.append("a running node takes it over when it is started again")
    if change.overridden_by:
        lines.append(f"here the {change.overridden_by} sets it otherwise, and wins")
    emit("\n".join(lines), change, as_json=as_json)
