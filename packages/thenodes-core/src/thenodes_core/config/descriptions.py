"""What is said of each setting: the docstrings of its table, read for files and for pages."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import structs

from .tables import Config

__all__ = ["Setting", "SettingTable", "setting_tables"]

_ATTRIBUTE = re.compile(r"^(\w+): ", re.MULTILINE)


class Setting(msgspec.Struct, frozen=True):
    """One setting.

    Attributes:
        key: its dotted name.
        text: what it means, in one line.
        default: what applies where nobody sets it.
        kind: its type.
    """

    key: str
    text: str
    default: Any
    kind: Any

    @property
    def name(self) -> str:
        """The last word of its key."""
        return self.key.rpartition(".")[2]


class SettingTable(msgspec.Struct, frozen=True):
    """One table of settings.

    Attributes:
        name: dotted; empty for the settings that are in no table.
        text: what it is for, in one line.
        settings: its own, without those of the tables in it.
    """

    name: str
    text: str
    settings: Sequence[Setting]


def setting_tables() -> Sequence[SettingTable]:
    """Every table that a file may have, in order, but those of plugins."""
    return list(_tables(Config, Config(), ""))


def _tables(kind: type[msgspec.Struct], defaults: Any, name: str) -> Iterator[SettingTable]:
    head, texts = _read(kind)
    prefix = f"{name}." if name else ""
    settings, below = [], []
    for field in structs.fields(kind):
        key, value = prefix + field.name, getattr(defaults, field.name)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            below.append((field.type, value, key))
        elif key != "plugin":
            settings.append(Setting(key, texts.get(field.name, ""), value, field.type))
    yield SettingTable(name, head, settings)
    for inner, value, key in below:
        yield from _tables(inner, value, key)


def _read(kind: type[msgspec.Struct]) -> tuple[str, dict[str, str]]:
    """What a docstring says of its table, and of each attribute."""
    head, _, rest = (inspect.getdoc(kind) or "").partition("\n\nAttributes:\n")
    head = re.sub(r"^`\[[\w.]+\]`[:.] ?", "", head.partition("\n\n")[0])
    parts = _ATTRIBUTE.split(inspect.cleandoc(rest))
    return " ".join(head.split()), {
        name: " ".join(text.split()) for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }
