"""The help of every command, as a page."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import click

__all__ = ["with_commands"]

_MARK = "<!-- site: help of "
_COLUMNS = 86  # as wide as the column of text


def with_commands(text: str) -> str:
    """The page, with what its line `<!-- site: help of NAME, MODULE:OBJECT -->` asks for."""
    before, found, rest = text.partition(_MARK)
    if not found:
        return text
    asked, _, after = rest.partition(" -->")
    name, _, place = asked.partition(", ")
    module, _, attribute = place.partition(":")
    app: click.Command = getattr(importlib.import_module(module), attribute)
    context = click.Context(app, info_name=name, **app.context_settings)
    return before + "\n\n".join(_sections(app, context, 2)) + after


def _sections(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    context.max_content_width = context.terminal_width = _COLUMNS
    yield f"{'#' * level} {context.command_path}"
    yield f"```text\n{command.get_help(context)}\n```"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None and not found.hidden:
                inner = click.Context(found, info_name=name, parent=context)
                yield from _sections(found, inner, min(level + 1, 4))
