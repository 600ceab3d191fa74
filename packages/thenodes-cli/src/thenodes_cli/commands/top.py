"""`thenodes top`: on a terminal it draws in place; else it prints what the node answers."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from pathlib import Path

from thenodes_core.control.catalogue import CATALOGUE
from thenodes_core.control.client import answers

from ..asking import ask_and_show
from ..fitting import fitted
from ..screen import Screen, can_draw, terminal_size
from .target import resolve_state_dir
from .words import words_command

__all__ = ["command"]

_NAME = "top"
_WAITING = "the first second is measured …"


def _ask(config_file: Path | None, state_dir: Path | None, line: str, as_json: bool) -> None:
    directory = resolve_state_dir(config_file, state_dir)
    if as_json or line != _NAME or not can_draw():
        ask_and_show(directory, line, as_json=as_json)
        return
    with suppress(KeyboardInterrupt), Screen() as screen:
        asyncio.run(_watch(directory, screen))


async def _watch(directory: Path, screen: Screen) -> None:
    drawing = asyncio.ensure_future(_draw(directory, screen))
    with screen.ended_by(drawing.cancel):
        await asyncio.wait({drawing})
    if not drawing.cancelled():
        drawing.result()


async def _draw(directory: Path, screen: Screen) -> None:
    screen.draw([_WAITING])
    async with aclosing(answers(directory, _NAME)) as given:
        async for reply in given:
            screen.draw(fitted(reply.text, reply.data, *terminal_size()))


command = words_command(_NAME, CATALOGUE[_NAME], _ask)
