"""Sets and unsets one setting of a file: nothing is written that would not pass its checks."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from thenodes_core import Config, ConfigError, Settings
from thenodes_core.config import (
    Source,
    parse_file,
    parse_value,
    setting_types,
    settle,
    toml_or_text,
    validate,
)

from ..commands.target import DEFAULTS
from ..settings_reload import applied_and_kept
from .edit import NotEdited, same, with_value, without
from .file import rewrite
from .shown import unknown, value_text

__all__ = ["Change", "Judge", "parsed", "set_value", "unset_value"]

Judge = Callable[[Source], Settings]
"""What would apply with a file of that content; raises ConfigError where that is not allowed."""


class Change(msgspec.Struct, frozen=True):
    """What became of a file.

    Attributes:
        file: its path.
        key: the setting.
        before: its value in the file, None where it was not there.
        after: its value now, None where it is not there.
        applied: the settings that differ now, and that a running node takes over.
        restart: those that it takes over only when it is started again.
        overridden_by: where a value comes from that wins over the file's, if one does.
    """

    file: str
    key: str
    before: Any
    after: Any
    applied: Sequence[str] = ()
    restart: Sequence[str] = ()
    overridden_by: str | None = None

    @property
    def text(self) -> str:
        """For people, in one line."""
        if same(self.before, self.after):
            if self.after is None:
                return f"{self.file}: {self.key} was not set, and nothing is changed"
            return f"{self.file}: {self.key} = {value_text(self.after)} already"
        if self.after is None:
            return f"{self.file}: {self.key} is no longer set; it was {value_text(self.before)}"
        was = "" if self.before is None else f"; it was {value_text(self.before)}"
        return f"{self.file}: {self.key} = {value_text(self.after)}{was}"


def set_value(path: Path, key: str, text: str, judge: Judge | None = None) -> Change:
    """Set a setting in a file.

    Args:
        path: the file.
        key: its dotted key.
        text: its value, as people type it.
        judge: what else the file has to pass, and what applies with it.

    Raises:
        ConfigError: unknown key, wrong value, or a file that cannot be used; then it is as it was.
    """
    words, value = parsed(key, text)
    return _change(path, key, lambda old: with_value(old, words, value), judge)


def parsed(key: str, text: str) -> tuple[list[str], Any]:
    """The words of a dotted key, and the value that the text stands for.

    Raises:
        ConfigError: unknown key, or wrong value.
    """
    try:
        f"{key}{text}".encode()
    except UnicodeEncodeError as error:
        # The shell hands on any bytes; a file has UTF-8 alone.
        raise ConfigError(f"{key}: not text in UTF-8, got {text!r}") from error
    return _words(key), _value(key, text)


def unset_value(path: Path, key: str, judge: Judge | None = None) -> Change:
    """Take a setting out of a file; raises as `set_value`."""
    words = _words(key, known=False)

    def edit(old: str) -> str:
        if isinstance(_at(old.encode(), key), dict):
            # With it would go what nobody named, and each comment.
            _check_no_table(key)
        new = without(old, words)
        if new is None and not _is_known(key):
            raise unknown(key)
        return old if new is None else new

    return _change(path, key, edit, judge)


def _change(path: Path, key: str, edit: Callable[[str], str], judge: Judge | None) -> Change:
    changes: list[Change] = []

    def change(content: bytes) -> bytes:
        old = _text(path, content)
        try:
            new = edit(old).encode()
        except NotEdited as error:
            raise ConfigError(
                f"{path}: {key} stands there in a form that is not changed by itself; "
                "edit it by hand, and try thenodes config check"
            ) from error
        after = _judged(path, new, judge)
        try:
            before: Config | None = _judged(path, content, judge).config
        except ConfigError:
            before = None
        applied, kept = applied_and_kept(before or after.config, after.config)
        origin = after.origins.get(key)
        source = str(path)
        changes.append(
            Change(
                source,
                key,
                _at(content, key),
                _at(new, key),
                applied,
                kept,
                origin if origin not in (None, source, DEFAULTS.name) else None,
            )
        )
        return new

    rewrite(path, change)
    return changes[0]


def _text(path: Path, content: bytes) -> str:
    try:
        text = content.decode()
        tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    return text


def _judged(path: Path, content: bytes, judge: Judge | None) -> Settings:
    source = parse_file(path, content)
    # As `config check` has it, whatever wins over the file here.
    alone = settle([DEFAULTS, source])
    validate(alone.config, alone.origins)
    return alone if judge is None else judge(source)


def _at(content: bytes, key: str) -> Any:
    value: Any = tomllib.loads(content.decode())
    for word in key.split("."):
        value = value.get(word) if isinstance(value, dict) else None
    return value


def _is_known(key: str) -> bool:
    return key.startswith("plugin.") or key in dict(setting_types())


def _words(key: str, *, known: bool = True) -> list[str]:
    words = key.split(".")
    if words[0] == "plugin":
        if len(words) < 3 or not all(words):
            raise ConfigError(f"{key}: expected plugin.<id>.<key>")
    elif known and not _is_known(key):
        _check_no_table(key)
        raise unknown(key)
    return words


def _check_no_table(key: str) -> None:
    inner = [name for name in dict(setting_types()) if name.startswith(f"{key}.")]
    if inner:
        raise ConfigError(f"{key} is a table; name one of its keys: {', '.join(inner)}")


def _value(key: str, text: str) -> Any:
    if key.startswith("plugin."):
        return toml_or_text(text)
    try:
        value = parse_value(text, dict(setting_types())[key])
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from error
    if value is None:
        raise ConfigError(f"{key}: a file cannot say that; to take it out: config unset {key}")
    return list(value) if isinstance(value, tuple) else value
