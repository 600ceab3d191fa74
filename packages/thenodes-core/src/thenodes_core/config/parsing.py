"""Settings that somebody gives as text, as in the environment."""

from __future__ import annotations

import tomllib
from typing import Any, get_origin

import msgspec

from .choices import with_choices

__all__ = ["parse_value", "toml_or_text"]


def parse_value(text: str, kind: Any) -> Any:
    """The value that a text stands for.

    Args:
        text: as people type it; of a list, parts that commas separate, or as in TOML.
        kind: the setting's type.

    Raises:
        ValueError: what was expected, and what came.
    """
    value: Any = text
    if get_origin(kind) is tuple or "tuple" in str(kind):
        value = _list(text)
    try:
        return msgspec.to_builtins(msgspec.convert(value, kind, strict=False))
    except msgspec.ValidationError as error:
        expected = with_choices(str(error), kind).partition(", got")[0]
        raise ValueError(f"{expected}, got {text!r}") from error
    except UnicodeEncodeError as error:
        raise ValueError(f"not text in UTF-8, got {text!r}") from error


def toml_or_text(text: str) -> Any:
    """A value as TOML writes it; where it is none, the text itself."""
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    # More than one key is text of several lines that happens to be TOML.
    return table["value"] if len(table) == 1 else text


def _list(text: str) -> list[Any]:
    if text.lstrip().startswith("["):
        value = toml_or_text(text)
        if isinstance(value, list):
            return value
    return [part.strip() for part in text.split(",") if part.strip()]
