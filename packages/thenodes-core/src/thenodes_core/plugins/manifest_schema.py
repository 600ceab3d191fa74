"""The JSON Schema of manifests, for editors: `python -m thenodes_core.plugins.manifest_schema`."""

from __future__ import annotations

import inspect
import json
import re
import sys
from typing import Any

import msgspec

from thenodes_plugin_api import MANIFEST_NAME, Manifest

__all__ = ["manifest_schema"]


def manifest_schema() -> dict[str, Any]:
    """The JSON Schema of `thenodes-plugin.toml`, made of the model that reads it."""
    schema: dict[str, Any] = msgspec.json.schema(Manifest, schema_hook=_anything)
    for table in schema["$defs"].values():
        _describe(table)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": MANIFEST_NAME}
    return {**head, **_portable(schema)}


def _anything(kind: type) -> dict[str, Any]:
    """Values of `[config] defaults`, of which the model says `object`."""
    return {"description": "Any value that TOML has."}


def _describe(table: dict[str, Any]) -> None:
    """Give what a table's docstring says of each key to that key."""
    text, _, attributes = inspect.cleandoc(table["description"]).partition("\n\nAttributes:\n")
    table["description"] = " ".join(text.split())
    for name, told in re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", attributes, re.MULTILINE):
        table["properties"][name.replace("_", "-")]["description"] = " ".join(told.split())


def _portable(value: Any) -> Any:
    """Patterns as JSON Schema knows them, which has other anchors than Python."""
    if isinstance(value, dict):
        return {
            key: item.replace(r"\A", "^").replace(r"\Z", "$")
            if key == "pattern"
            else _portable(item)
            for key, item in value.items()
        }
    return [_portable(item) for item in value] if isinstance(value, list | tuple) else value


if __name__ == "__main__":
    sys.stdout.write(json.dumps(manifest_schema(), indent=2) + "\n")
