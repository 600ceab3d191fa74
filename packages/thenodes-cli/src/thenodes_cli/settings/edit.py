"""Changes one setting in the text of a TOML file; comments, order and form stay."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

__all__ = ["NotEdited", "same", "with_value", "without"]


class NotEdited(Exception):
    """The text has a form in which the setting cannot be changed without harm to the rest."""


def with_value(text: str, key: Sequence[str], value: Any) -> str:
    """The text with a setting: in its place, in that of its comment, or at the end of its table.

    Args:
        text: a TOML document.
        key: the words of its dotted name.
        value: what it is to be.

    Raises:
        NotEdited: it has to be edited by hand.
    """
    wanted = _put(tomllib.loads(text), key, value)
    for edit in (_in_place_of_comment, _with_tomlkit):
        edited = edit(text, key, value)
        if edited is not None and _means(edited := _ended_as(text, edited), wanted):
            return edited
    raise NotEdited


def without(text: str, key: Sequence[str]) -> str | None:
    """The text without a setting, or None where it is not there.

    Raises:
        NotEdited: it has to be edited by hand.
    """
    wanted = tomllib.loads(text)
    table: Any = wanted
    for word in key[:-1]:
        table = table.get(word) if isinstance(table, Mapping) else None
    if not isinstance(table, dict) or key[-1] not in table:
        return None
    del table[key[-1]]
    try:
        document = tomlkit.parse(text)
        inner: Any = document
        for word in key[:-1]:
            inner = inner[word]
        del inner[key[-1]]
        edited = _ended_as(text, tomlkit.dumps(document))
    except (TOMLKitError, KeyError, TypeError, ValueError) as error:
        raise NotEdited from error
    # A table that held nothing else may go with it: it means the same.
    if not _means(edited, wanted, ignoring_empty=True):
        raise NotEdited
    return edited


def _with_tomlkit(text: str, key: Sequence[str], value: Any) -> str | None:
    try:
        document = tomlkit.parse(text)
        table: MutableMapping[str, Any] = document
        for word in key[:-1]:
            if word not in table:
                table[word] = tomlkit.table(is_super_table=word != key[-2])
            table = table[word]
        old = table.get(key[-1])
        item = tomlkit.item(value)
        if old is not None and hasattr(old, "trivia"):
            item.trivia.comment_ws = old.trivia.comment_ws
            item.trivia.comment = old.trivia.comment
        table[key[-1]] = item
        return tomlkit.dumps(document)
    except (TOMLKitError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _in_place_of_comment(text: str, key: Sequence[str], value: Any) -> str | None:
    """Where the setting stands as a comment in its table, as `config init` writes it."""
    *tables, name = key
    header, commented = ".".join(tables), re.compile(rf"#\s?{re.escape(name)}\s*=")
    at, lines = "", text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        if found := re.match(r"\s*\[\s*([\w.-]+)\s*\]", line):
            at = found[1]
        elif at == header and commented.match(line):
            ending = line[len(line.rstrip("\r\n")) :]
            lines[number] = f"{name} = {tomlkit.item(value).as_string()}{ending}"
            return "".join(lines)
    return None


def _put(table: dict[str, Any], key: Sequence[str], value: Any) -> dict[str, Any]:
    inner = table
    for word in key[:-1]:
        inner = inner.setdefault(word, {})
        if not isinstance(inner, dict):
            raise NotEdited
    inner[key[-1]] = value
    return table


def _ended_as(text: str, edited: str) -> str:
    """With the line endings that the text had, where it had those of one kind."""
    if text.count("\r\n") == text.count("\n") > 0:
        return re.sub(r"\r?\n", "\r\n", edited)
    return edited


def _means(text: str, wanted: Mapping[str, Any], *, ignoring_empty: bool = False) -> bool:
    try:
        got = tomllib.loads(text)
    except (ValueError, RecursionError):
        return False
    if ignoring_empty:
        return same(_pruned(got), _pruned(wanted))
    return same(got, wanted)


def same(one: Any, other: Any) -> bool:
    """Whether two values of TOML mean the same: 1 is not true, nor 1.0, and nan is nan."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other or (one != one and other != other))


def _pruned(table: Mapping[str, Any]) -> dict[str, Any]:
    kept = {k: _pruned(v) if isinstance(v, Mapping) else v for k, v in table.items()}
    return {k: v for k, v in kept.items() if v != {}}
