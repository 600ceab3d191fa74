"""The commands `config …` of a running node, which changes the file it was started with."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from thenodes_core import Config, ConfigError, Settings
from thenodes_core.config import Source, setting_types, validate
from thenodes_core.control.commands import CommandTable, Reply
from thenodes_core.errors import CommandError, CommandFailed

from .change import Change, set_value, unset_value
from .shown import as_toml, value_at, value_text, values_of

__all__ = ["ReadSettings", "add_config_commands"]

_NO_FILE = (
    "this node was started without a file; thenodes config init node.toml makes one, and "
    "thenodes run --config node.toml takes it"
)


class ReadSettings(Protocol):
    """Reads what applies: options over the environment over the file."""

    def __call__(self, *, file: Source | None = None) -> Settings:
        """With `file`, as if that were in the file; raises ConfigError."""
        ...


class _Commands:
    def __init__(
        self,
        config: Callable[[], Config],
        file: Path | None,
        read: ReadSettings,
        reload: Callable[[], None],
    ) -> None:
        self._config = config
        self._file = None if file is None else file.absolute()
        self._read = read
        self._reload = reload

    async def show(self, words: Sequence[str]) -> Reply:
        """What applies now."""
        _expect(words, 0, "config show")
        values = values_of(self._config())
        file = f"# {self._file}\n" if self._file else ""
        return Reply(file + as_toml(values, None), values)

    async def get(self, words: Sequence[str]) -> Reply:
        """One of it."""
        _expect(words, 1, "config get <key>")
        try:
            value = value_at(values_of(self._config()), words[0])
        except ConfigError as error:
            raise CommandError(str(error)) from error
        return Reply(value_text(value) or "not set", {"key": words[0], "value": value})

    async def set(self, words: Sequence[str]) -> Reply:
        """Change the file, and take over what can be."""
        if len(words) < 2:
            raise CommandError("usage: config set <key> <value>")
        return self._change(functools.partial(set_value, key=words[0], text=" ".join(words[1:])))

    async def unset(self, words: Sequence[str]) -> Reply:
        """The same, with nothing in the place of the value."""
        _expect(words, 1, "config unset <key>")
        return self._change(functools.partial(unset_value, key=words[0]))

    def _change(self, change: Callable[..., Change]) -> Reply:
        if self._file is None:
            raise CommandFailed(_NO_FILE)
        judged: list[Config] = []

        def judge(source: Source) -> Settings:
            settings = self._read(file=source)
            validate(settings.config, settings.origins)
            judged.append(settings.config)
            return settings

        try:
            done = change(self._file, judge=judge)
        except ConfigError as error:
            raise CommandFailed(str(error)) from error
        if done.restart and self._runs_with(done.key, judged[0]):
            done = msgspec.structs.replace(done, restart=())
        if done.applied:
            self._reload()
        return Reply("\n".join(_told(done)), done)

    def _runs_with(self, key: str, after: Config) -> bool:
        """Whether a setting is now what the node was started with."""
        try:
            return bool(value_at(values_of(self._config()), key) == value_at(values_of(after), key))
        except ConfigError:
            return False


def _told(change: Change) -> list[str]:
    lines = [change.text]
    if change.applied:
        lines.append("it applies now")
    if change.restart:
        lines.append("it applies when the node is started again")
    if change.overridden_by:
        lines.append(f"the {change.overridden_by} it was started with win over the file")
    elif change.before != change.after and not change.applied and not change.restart:
        lines.append("the node runs with that")
    return lines


def _expect(words: Sequence[str], count: int, usage: str) -> None:
    if len(words) != count:
        raise CommandError(f"usage: {usage}")


def add_config_commands(
    table: CommandTable,
    config: Callable[[], Config],
    file: Path | None,
    read: ReadSettings,
    reload: Callable[[], None],
) -> None:
    """Add them to the table of a node.

    Args:
        table: the node's.
        config: what it runs with, now.
        file: what it was started with, None where there was none.
        read: what would apply with another content of the file.
        reload: takes over what a running node can.
    """
    commands = _Commands(config, file, read, reload)
    keys = sorted(key for key, _ in setting_types() if key != "plugin")
    table.define("config show", commands.show)
    for name, run in (
        ("config get", commands.get),
        ("config set", commands.set),
        ("config unset", commands.unset),
    ):
        table.define(name, run, complete=lambda: keys)
